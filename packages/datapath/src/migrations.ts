import { maps } from './maps/all.ts';
import { IpcacheFlag } from './maps/ipcache.ts';
import type { ObjectSet } from './objects.ts';
import { TypedMap } from './typed-map.ts';

/** remote-node and kube-apiserver. */
const NODES_OF_LAYOUT_1: readonly number[] = [6, 7];

/**
 * Layout 1 told a node by its reserved identity, or by being its own tunnel's end. From 2 on a flag tells it. Programs
 * of layout 1 pass over the flag, so both can run while one takes the other's place.
 */
function flagNodes(objects: ObjectSet): void {
  const ipcache = new TypedMap(maps.ipcache, objects.map(maps.ipcache.name));
  for (const [key, entry] of ipcache.entries()) {
    const { identity, flags, tunnelEndpoint } = entry;
    const isNode =
      NODES_OF_LAYOUT_1.includes(identity) ||
      ((flags & IpcacheFlag.noMasquerade) !== 0 && tunnelEndpoint === key.address);
    if (isNode) ipcache.set(key, { ...entry, flags: flags | IpcacheFlag.node });
  }
}

/** What brings maps of an older layout to the next one, by the number they have. */
const STEPS: ReadonlyMap<number, (objects: ObjectSet) => void> = new Map([[1, flagNodes]]);

/** Whether maps of a layout can become those of another. */
export function canMigrate(from: number, to: number): boolean {
  for (let layout = from; layout < to; layout++) if (!STEPS.has(layout)) return false;
  return from <= to;
}

/** Before programs of the new layout see a packet. Cut off half-way it begins again: each step may be done twice. */
export function migrate(objects: ObjectSet, from: number, to: number): void {
  for (let layout = from; layout < to; layout++) STEPS.get(layout)!(objects);
}
