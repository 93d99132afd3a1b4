import * as z from 'zod';
import { maybe, open } from './build.ts';
import { annotations, dnsSubdomain, k8sSelector, labels, metadata } from './common.ts';

/** OpenKruise's AdvancedStatefulSet is taken for what it is here: an owner with ordinals. */
export const STATEFUL_SET_ALIASES = ['apps.kruise.io/v1beta1', 'apps.kruise.io/v1alpha1'] as const;

export const statefulSet = open({
  apiVersion: z.enum(['apps/v1', ...STATEFUL_SET_ALIASES]),
  kind: z.literal('StatefulSet'),
  metadata: metadata(dnsSubdomain, true),
  spec: open({
    replicas: maybe(z.int().min(0).max(1_000_000)),
    serviceName: maybe(z.string()),
    selector: maybe(k8sSelector),
    ordinals: maybe(open({ start: maybe(z.int().min(0)) })),
    template: maybe(
      open({ metadata: maybe(open({ labels: maybe(labels), annotations: maybe(annotations) })) }),
    ),
  }).default({}),
  status: maybe(open({})),
}).meta({
  description:
    'The parts of a StatefulSet that say who owns pods and what they ask for. Causeway starts none.',
});

export type StatefulSet = z.infer<typeof statefulSet>;
