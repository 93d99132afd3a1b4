import type { Prefix } from '@causeway/ip';
import { Prefix as Prefixes } from '@causeway/ip';
import type { IpEntryRow } from '@causeway/mesh';
import {
  type Clock,
  type Operations,
  Reconciler,
  type Table,
  type TableKey,
  type Target,
} from '@causeway/tables';
import type { ClusterTables, NodeRow } from '../cluster/tables.ts';
import type { CidrIdentityTable } from '../policy/cidr-identities.ts';
import type { StoreTrust } from '../sources/trust.ts';
import type { ProtectedTable } from './protected.ts';
import {
  type IpcacheResolver,
  type IpcacheValue,
  prefixesOfNode,
  prefixOfEntry,
} from './resolve.ts';

/** The kernel's two maps behind one face: single addresses and prefixes. */
export interface IpcacheMaps {
  /** One result per row: undefined, or why it could not be written. */
  putAll(rows: readonly (readonly [Prefix, IpcacheValue])[]): readonly (Error | undefined)[];
  deleteAll(prefixes: readonly Prefix[]): void;
  prefixes(): Iterable<Prefix>;
  /** Identities of the node-local scope that an earlier run gave, by prefix. */
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

type AnyReconciler = Pick<Reconciler<never, never>, 'name' | 'metrics' | 'failures' | 'done'> &
  AsyncDisposable;

/**
 * One reconciler for each table that has something to say of prefixes. All of them ask the resolver
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

  const rewriteNodes = async (nodes: readonly NodeRow[]): Promise<void> => {
    const [error] = sync(resolver.behind(nodes)).values();
    if (error !== undefined) throw error;
  };

  const prune = async (): Promise<void> => {
    // The last of the tables to be read does it for all.
    if (!sources.every((table) => table.initialized)) return;
    believe(trust);
    const gone: Prefix[] = [];
    for (const prefix of maps.prefixes())
      if (resolver.resolve(prefix) === undefined) gone.push(prefix);
    maps.deleteAll(gone);
  };

  function operations<Row, K>(
    prefixesOf: (row: Row) => readonly Prefix[],
    /** What else changes with a batch of rows. */
    besides: (rows: Row[]) => Iterable<Prefix> = () => [],
  ): Operations<Row, K> {
    // A row may have said more before; what it no longer says must go too.
    const before = new Map<K, readonly Prefix[]>();
    const work = async (batch: readonly Target<Row, K>[], deleted: boolean) => {
      const wanted: Prefix[] = [...besides(batch.map(({ row }) => row))];
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

  const reconcilers = [
    make(
      'ipcache',
      tables.ipEntries as never,
      operations((row: IpEntryRow) => [prefixOfEntry(row)]),
    ),
    make(
      'ipcache-nodes',
      tables.nodes as Table<NodeRow, string, never>,
      operations(
        (row: NodeRow) => prefixesOfNode(row, tunnels),
        (rows) => resolver.behind(rows),
      ),
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
  return { reconcilers, rewriteNodes };
}

/** Throws while absence from the store proves nothing: the reconciler asks again after a while. */
function believe(trust: StoreTrust): void {
  if (!trust.settled) throw new Error('kept for a while, for the store has only just come back');
}
