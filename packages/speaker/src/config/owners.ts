import { checkConfig } from '@causeway/daemon';
import { mergeOwners, sourceOf } from './merge.ts';
import { type OwnerConfig, speakerConfigSchema } from './schema.ts';
import type { Settings } from './settings.ts';

/** A configuration of one owner: as it was sent, and as it was read. */
export interface Owned {
  readonly raw: unknown;
  readonly config: OwnerConfig;
}

/** @throws DaemonError `bad-config` naming the field. */
export const readOwner = (owner: string, raw: unknown): Owned => ({
  raw,
  config: checkConfig(raw, speakerConfigSchema, sourceOf(owner)),
});

/** @throws DaemonError `bad-config`, SpeakerError `conflict`. */
export const settingsOf = (owners: ReadonlyMap<string, Owned>): Settings | undefined =>
  mergeOwners(new Map(Array.from(owners, ([name, { config }]) => [name, config])));
