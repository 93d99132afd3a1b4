import type { Log } from '@causeway/daemon';
import type { Family } from '@causeway/ip';
import type { ResourceStore } from '@causeway/resources';
import type { Clock } from '@causeway/tables';
import type { StoredNodeTable } from '../node/own-node.ts';
import { NodeDemand } from './node-demand.ts';
import { NodeWriter } from './node-writer.ts';
import type { AddressTables } from './sources.ts';

export interface FirstCidrsOptions {
  readonly store: ResourceStore;
  readonly node: string;
  readonly families: readonly Family[];
  readonly known: StoredNodeTable;
  readonly tables: AddressTables;
  readonly clock: Clock;
  readonly log: Log;
}

/**
 * A node that has no CIDR at all asks for its first ones before anything else is done, and waits until it is given them
 * or the signal aborts: what follows is then made for them at once.
 */
export async function askForFirstCidrs(
  options: FirstCidrsOptions,
  signal: AbortSignal,
): Promise<void> {
  const { store, node, families, known, tables, clock, log } = options;
  const own = known.get(node);
  if (own === undefined || own.podCIDRs.length > 0 || hasCidrs(known, node)) return;
  await Promise.all([tables.pools, tables.options].map((table) => table.whenInitialized(signal)));
  const demand = new NodeDemand({
    families,
    tables,
    waiting: () => new Map(),
    recent: () => 0,
    now: () => performance.now(),
  });
  const look = demand.look([], own);
  if (look === undefined || look.requested.length === 0 || tables.pools.size === 0) return;
  await using writer = new NodeWriter({ store, node, clock, log });
  writer.want({ requested: look.requested, returned: new Set(), named: [] });
  while (!hasCidrs(known, node) && !signal.aborted) {
    const done = new AbortController();
    const undo = known.onCommit(() => done.abort());
    await clock.sleep(1_000, AbortSignal.any([signal, done.signal]));
    undo();
  }
}

const hasCidrs = (known: StoredNodeTable, node: string): boolean =>
  (known.get(node)?.pools?.allocated.length ?? 0) > 0;
