import { same } from '../same.ts';
import type { BmpStation, DynamicNeighbor, ListenAddress, Neighbor, Settings } from './settings.ts';

export interface Difference<T> {
  readonly added: readonly T[];
  readonly changed: readonly T[];
  readonly removed: readonly T[];
}

/**
 * What a new configuration touches. Nothing else is touched: a neighbour that is not named here is not even
 * looked at, unless the speaker's own settings changed, of which the core knows whom they concern.
 */
export interface SettingsDiff {
  /** AS, router id, cluster id, multipath, decision, restart settings or limits. */
  readonly speaker: boolean;
  readonly library: boolean;
  readonly neighbors: Difference<Neighbor>;
  readonly dynamicNeighbors: Difference<DynamicNeighbor>;
  readonly listen: {
    readonly added: readonly ListenAddress[];
    readonly removed: readonly ListenAddress[];
  };
  readonly kernel: boolean;
  readonly bmp: Difference<BmpStation>;
  readonly bfdSocket: boolean;
}

const SPEAKER_KEYS = [
  'asn',
  'routerId',
  'clusterId',
  'gracefulRestart',
  'multipath',
  'decision',
  'attributeBytes',
] as const;

export function diffSettings(
  before: Settings | undefined,
  after: Settings | undefined,
): SettingsDiff {
  const listenKey = ({ address, port }: ListenAddress) => `${address} ${port}`;
  const had = new Set(before?.listen.map(listenKey));
  const has = new Set(after?.listen.map(listenKey));
  return {
    speaker: SPEAKER_KEYS.some((key) => !same(before?.[key], after?.[key])),
    library: !same(before?.library, after?.library),
    neighbors: difference(before?.neighbors, after?.neighbors),
    dynamicNeighbors: difference(before?.dynamicNeighbors, after?.dynamicNeighbors),
    listen: {
      added: after?.listen.filter((each) => !had.has(listenKey(each))) ?? [],
      removed: before?.listen.filter((each) => !has.has(listenKey(each))) ?? [],
    },
    kernel: !same(before?.kernel, after?.kernel),
    bmp: difference(before?.bmp, after?.bmp),
    bfdSocket: before?.bfdSocket !== after?.bfdSocket,
  };
}

function difference<T>(
  before: ReadonlyMap<string, T> = new Map(),
  after: ReadonlyMap<string, T> = new Map(),
): Difference<T> {
  const added: T[] = [];
  const changed: T[] = [];
  for (const [name, value] of after) {
    const old = before.get(name);
    if (old === undefined) added.push(value);
    else if (!same(old, value)) changed.push(value);
  }
  const removed = Array.from(before).flatMap(([name, value]) => (after.has(name) ? [] : [value]));
  return { added, changed, removed };
}
