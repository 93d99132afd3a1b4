import type { ResourceStore } from '@causeway/resources';
import { z } from 'zod';
import type { Source, SourceContext } from '../source.ts';
import { fileSource } from './file/config.ts';
import { FileSource } from './file/source.ts';
import { kubernetesSource } from './kubernetes/config.ts';
import { KubernetesSource } from './kubernetes/source.ts';
import { objectsSource } from './objects/config.ts';
import { ObjectsSource } from './objects/source.ts';
import { openstackSource } from './openstack/config.ts';
import { OpenStackSource } from './openstack/source.ts';

/** Every type of source there is. A new one adds its settings here and its making below. */
export const sourceConfig = z.discriminatedUnion('type', [
  fileSource,
  kubernetesSource,
  objectsSource,
  openstackSource,
]);

export type SourceConfig = z.infer<typeof sourceConfig>;

export interface SourceParts {
  readonly context: SourceContext;
  /** The inventory's own registry. */
  readonly store: ResourceStore;
}

export function makeSource(config: SourceConfig, { context, store }: SourceParts): Source {
  switch (config.type) {
    case 'file':
      return new FileSource(config, context);
    case 'kubernetes':
      return new KubernetesSource(config, context);
    case 'objects':
      return new ObjectsSource(config, context, store);
    case 'openstack':
      return new OpenStackSource(config, context);
    default:
      return config satisfies never;
  }
}
