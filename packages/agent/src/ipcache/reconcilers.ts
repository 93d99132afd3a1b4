import { setImmediate as nextTurn } from 'node:timers/promises';
import type { IpcacheBatch } from '@causeway/datapath';
import type { Prefix } from '@causeway/ip';
import { Prefix as Prefixes } from '@causeway/ip';
import {
  type Clock,
  type Operations,
  Reconciler,
  type ReconcilerMetrics,
  type RowStatus,
  type Table,
  type TableKey,
  type Target,
} from '@causeway/tables';
import type { ClusterTables, NodeRow } from '../cluster/tables.ts';
import type { CidrIdentityTable } from '../policy/cidr-identities.ts';
import type { StoreTrust } from '../sources/trust.ts';
import { EntryReconciler } from './entry-reconciler.ts';
import type { ProtectedTable } from './protected.ts';
import { type IpcacheResolver, type IpcacheValue, prefixesOfNode } from './resolve.ts';

/** The kernel's two maps behind one face: single addresses and prefixes. */
export interface IpcacheMaps {
  /** One result per row: undefined, or why it could not be written. */
  putAll(rows: readonly (readonly [Prefix, IpcacheValue])[]): readonly (Error | undefined)[];
  /** As `putAll`, for single addresses in the kernel's form; undefined if all were written. */
  putHosts(batch: IpcacheBatch): readonly (Error | undefined)[] | undefined;
  deleteAll(prefixes: readonly Prefix[]): void;
  /** @param known single addresses, as 16 bytes, that are to be passed over. */
  prefixes(known?: (address: Uint8Array) => boolean): Iterable<Prefix>;
  /** Identities of the scopes of this node alone that an earlier run gave, by prefix. */
  localIdentities(): Iterable<readonly [Prefix, number]>;
}

export interface IpcacheOptions {
  readonly tables: ClusterTables;
  readonly cidrs: CidrIdentityTable;
  readonly protectedSockets: ProtectedTable;
  readonly resolver: IpcacheResolver;
  readonly maps: IpcacheMaps;
  /** Whether nodes may be behind tunnels. */
  readonly tunnels: boolean;
  readonly trust: StoreTrust;
  readonly clock: Clock;
  readonly random: () => number;
}

/** Rows of the kernel's that are compared in one turn of the event loop. */
const TURN = 16_384;

interface AnyReconciler extends AsyncDisposable {
  readonly name: string;
  readonly done: boolean;
  metrics(): ReconcilerMetrics;
  failures(): Iterable<{ readonly key: unknown; readonly status: RowStatus }>;
}

/**
 * One reconciler for each table, and for the entries, that has something to say of prefixes. All of them ask the resolver
 * what a prefix shall be and write that, so that their order does not matter.
 */
export function ipcacheReconcilers(options: IpcacheOptions): {
  readonly reconcilers: readonly AnyReconciler[];
  /** Writes again what depends on the ways to these nodes. Throws what the kernel refuses. */
  readonly rewriteNodes: (nodes: readonly NodeRow[]) => Promise<void>;
} {
  const { tables, cidrs, protectedSockets, resolver, maps, tunnels, trust, clock, random } =
    options;
  const sources = [tables.ipEntries, tables.nodes, cidrs, protectedSockets];

  // A protected address hides the trie from itself and repeats what the trie says of it.
  const protectedIn = (prefix: Prefix): Prefix[] =>
    Array.from(protectedSockets.rows(), ({ address }) => Prefixes.host(address)).filter((each) =>
      Prefixes.covers(prefix, each),
    );

  /** Brings prefixes to what they shall be. Errors by prefix. */
  const sync = (prefixes: Iterable<Prefix>): Map<Prefix, Error> => {
    const puts: (readonly [Prefix, IpcacheValue])[] = [];
    const deletes: Prefix[] = [];
    for (const prefix of new Set(prefixes)) {
      const value = resolver.resolve(prefix);
      if (value === undefined) deletes.push(prefix);
      else puts.push([prefix, value]);
    }
    const errors = new Map<Prefix, Error>();
    maps.putAll(puts).forEach((error, index) => {
      if (error !== undefined) errors.set(puts[index]![0], error);
    });
    maps.deleteAll(deletes);
    return errors;
  };

  const prune = async (): Promise<void> => {
    // The last of the tables to be read does it for all.
    if (!sources.every((table) => table.initialized)) return;
    believe(trust);
    let looked = 0;
    const gone: Prefix[] = [];
    const known = (address: Uint8Array) => {
      looked++;
      return tables.ipEntries.hasBytes(address);
    };
    for (const prefix of maps.prefixes(known)) {
      if (resolver.resolve(prefix) === undefined) gone.push(prefix);
      if (++looked < TURN) continue;
      looked = 0;
      await nextTurn();
    }
    // Some may have come while we looked.
    maps.deleteAll(gone.filter((prefix) => resolver.resolve(prefix) === undefined));
  };

  function operations<Row, K>(prefixesOf: (row: Row) => readonly Prefix[]): Operations<Row, K> {
    // A row may have said more before; what it no longer says must go too.
    const before = new Map<K, readonly Prefix[]>();
    const work = async (batch: readonly Target<Row, K>[], deleted: boolean) => {
      const wanted: Prefix[] = [];
      for (const { key, row } of batch) {
        const now = prefixesOf(row);
        wanted.push(...now);
        const single = now.length === 1 && !before.has(key);
        if (!single) wanted.push(...(before.get(key) ?? []));
        if (deleted) before.delete(key);
        // One prefix that is the key itself needs no memory.
        else if (now.length !== 1) before.set(key, now);
      }
      const errors = sync(wanted);
      if (errors.size === 0) return undefined;
      return batch.map(({ row }) =>
        prefixesOf(row)
          .map((prefix) => errors.get(prefix))
          .find((error) => error !== undefined),
      );
    };
    return {
      update: (batch) => work(batch, false),
      delete: (batch) => {
        believe(trust);
        return work(batch, true);
      },
      prune,
    };
  }

  const make = <Row, K extends TableKey>(
    name: string,
    table: Table<Row, K, never> | Table<Row, K>,
    ops: Operations<Row, K>,
  ) =>
    new Reconciler<Row, K>({ name, table: table as Table<Row, K>, operations: ops, clock, random });

  const entries = new EntryReconciler({ ...options, sync, prune });
  const others = [
    make(
      'ipcache-nodes',
      tables.nodes as Table<NodeRow, string, never>,
      operations((row: NodeRow) => prefixesOfNode(row, tunnels)),
    ),
    make(
      'ipcache-cidrs',
      cidrs as never,
      operations((row: { prefix: Prefix }) => [row.prefix, ...protectedIn(row.prefix)]),
    ),
    make(
      'ipcache-protected',
      protectedSockets as never,
      operations((row: { address: Parameters<typeof Prefixes.host>[0] }) => [
        Prefixes.host(row.address),
      ]),
    ),
  ] as unknown as AnyReconciler[];

  const rewriteNodes = async (nodes: readonly NodeRow[]): Promise<void> => {
    resolver.forgetWays(nodes);
    const [error] = sync(nodes.flatMap((node) => prefixesOfNode(node, true))).values();
    entries.flush();
    const [failure] = entries.failures();
    if (error !== undefined) throw error;
    if (failure !== undefined && failure.status.type === 'error') {
      throw new Error(`${failure.key}: ${failure.status.message}`);
    }
  };
  return { reconcilers: [entries, ...others], rewriteNodes };
}

/** Throws while absence from the store proves nothing: the reconciler asks again after a while. */
function believe(trust: StoreTrust): void {
  if (!trust.settled) throw new Error('kept for a while, for the store has only just come back');
}
