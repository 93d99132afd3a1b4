import { maps } from './maps/all.ts';
import { IpcacheFlag } from './maps/ipcache.ts';
import type { ObjectSet } from './objects.ts';
import { TypedMap } from './typed-map.ts';

/** remote-node and kube-apiserver. */
const FORMER_NODES: readonly number[] = [6, 7];

/**
 * Earlier versions told a node by its reserved identity, or by being its own tunnel's end; now a flag of its row tells
 * it. They pass over the flag, so that either can take the other's place, and back, with all maps as they are. Before
 * programs that look for the flag see a packet. Cut off half-way it is done again: it may be done twice.
 */
export function flagNodes(objects: ObjectSet): void {
  const ipcache = new TypedMap(maps.ipcache, objects.map(maps.ipcache.name));
  for (const [key, entry] of ipcache.entries()) {
    const { identity, flags, tunnelEndpoint } = entry;
    const isNode =
      FORMER_NODES.includes(identity) ||
      ((flags & IpcacheFlag.noMasquerade) !== 0 && tunnelEndpoint === key.address);
    if (isNode) ipcache.set(key, { ...entry, flags: flags | IpcacheFlag.node });
  }
}
