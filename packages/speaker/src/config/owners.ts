import { checkConfig } from '@causeway/daemon';
import { Slices } from '../slices.ts';
import { mergeOwners, sourceOf } from './merge.ts';
import { type NeighborConfig, neighborSchema } from './neighbor-schema.ts';
import { MOST_NEIGHBORS, type OwnerConfig, speakerConfigSchema } from './schema.ts';
import type { Settings } from './settings.ts';

/** A configuration of one owner: as it was sent, and as it was read. */
export interface Owned {
  readonly raw: unknown;
  readonly config: OwnerConfig;
}

/**
 * Thousands of neighbours are looked at in slices, and all at once only to say what is wrong with them.
 * @throws DaemonError `bad-config` naming the field.
 */
export async function readOwner(owner: string, raw: unknown): Promise<Owned> {
  const neighbors = (raw as { neighbors?: unknown } | null)?.neighbors;
  const read = Array.isArray(neighbors) ? await readNeighbors(neighbors) : undefined;
  const rest = read === undefined ? raw : { ...(raw as object), neighbors: [] };
  const config = checkConfig(rest, speakerConfigSchema, sourceOf(owner));
  return { raw, config: read === undefined ? config : { ...config, neighbors: read } };
}

async function readNeighbors(list: readonly unknown[]): Promise<NeighborConfig[] | undefined> {
  if (list.length > MOST_NEIGHBORS) return undefined;
  const slices = new Slices();
  const read: NeighborConfig[] = [];
  for (const each of list) {
    const result = neighborSchema.safeParse(each);
    if (!result.success) return undefined;
    read.push(result.data);
    await slices.pause();
  }
  return read;
}

/** @throws DaemonError `bad-config`, SpeakerError `conflict`. */
export const settingsOf = (owners: ReadonlyMap<string, Owned>): Settings | undefined =>
  mergeOwners(new Map(Array.from(owners, ([name, { config }]) => [name, config])));
