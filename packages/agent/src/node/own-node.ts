import {
  type Log,
  messageWithCauses,
  type RecordKind,
  type StateDirectory,
} from '@causeway/daemon';
import { Address, type Family, Prefix } from '@causeway/ip';
import { layout } from '@causeway/ipam';
import type { CiliumNode } from '@causeway/resources';
import type { Database, Table } from '@causeway/tables';
import { z } from 'zod';

const address = z.custom<Address>((value) => typeof value === 'string' && Address.is(value));
const prefix = z.custom<Prefix>((value) => typeof value === 'string' && Prefix.is(value));
const identified = {
  name: z.string(),
  addresses: z.array(z.strictObject({ type: z.string(), address })),
  labels: z.record(z.string(), z.string()),
};
const schema = z.strictObject({
  ...identified,
  /** `spec.ipam.podCIDRs`, which nobody takes away. */
  podCIDRs: z.array(prefix),
  /** `spec.ipam.pools`; undefined: the node takes no part in pools. */
  pools: z
    .strictObject({
      requested: z.array(z.strictObject({ pool: z.string(), ipv4: z.int(), ipv6: z.int() })),
      allocated: z.array(z.strictObject({ pool: z.string(), cidr: prefix })),
    })
    .optional(),
  /** Why the operator does not give what is asked for. */
  operatorError: z.string().optional(),
});

/** What the store says of the node that this agent runs on. */
export type StoredNode = z.infer<typeof schema>;

/** The copy in the run directory: with it pods get addresses while the store is away. */
export const storedNodeRecord: RecordKind<StoredNode> = {
  format: 'causeway-own-node',
  version: 1,
  parse: (payload) => schema.parse(payload),
};

/** The node as its parts see it: `podCIDRs` are those that the others are told of, whatever the store says. */
export interface OwnNode extends Omit<StoredNode, 'podCIDRs' | 'pools' | 'operatorError'> {
  readonly podCIDRs: readonly Prefix[];
  /** Which of them are of which pool. */
  readonly pools: readonly { readonly cidr: Prefix; readonly pool: string }[];
}

export type StoredNodeTable = Table<StoredNode>;
export type OwnNodeTable = Table<OwnNode>;

export const storedNodeTable = (database: Database, name: string): StoredNodeTable =>
  database.table({ name, key: (row: StoredNode) => row.name });

export const ownNodeTable = (database: Database): OwnNodeTable =>
  database.table({ name: 'own-node', key: (row: OwnNode) => row.name });

/** @throws Error naming the pod CIDR that cannot be used. */
export function storedNodeOf(node: CiliumNode, families: readonly Family[]): StoredNode {
  const usable = (text: string): Prefix[] => {
    const cidr = Prefix.parse(text, { hostBits: 'clear' });
    layout(cidr);
    return families.includes(Prefix.family(cidr)) ? [cidr] : [];
  };
  const { podCIDRs = [], pools } = node.spec.ipam ?? {};
  const operatorError = node.status?.ipam?.['operator-status']?.error;
  return {
    name: node.metadata.name,
    addresses: (node.spec.addresses ?? []).flatMap(({ type, ip }) => {
      const parsed = Address.tryParse(ip);
      return parsed === undefined ? [] : [{ type, address: parsed }];
    }),
    podCIDRs: podCIDRs.flatMap(usable),
    labels: node.metadata.labels ?? {},
    ...(operatorError ? { operatorError } : {}),
    ...(pools === undefined
      ? {}
      : {
          pools: {
            requested: (pools.requested ?? []).map(({ pool, needed }) => ({
              pool,
              ipv4: needed?.['ipv4-addrs'] ?? 0,
              ipv6: needed?.['ipv6-addrs'] ?? 0,
            })),
            allocated: (pools.allocated ?? []).flatMap(({ pool, cidrs = [] }) =>
              cidrs.flatMap(usable).map((cidr) => ({ pool, cidr })),
            ),
          },
        }),
  };
}

/** Addresses by which other nodes reach this one, best first: internal ones, then external ones. */
export function reachableAddresses(node: Pick<OwnNode, 'addresses'>): Address[] {
  const of = (type: string) =>
    node.addresses.filter((each) => each.type === type).map((each) => each.address);
  return [...of('InternalIP'), ...of('ExternalIP')];
}

/**
 * Keeps what was last known of the own node: what the store says now, or what it said last, also in an earlier
 * run. A resource that is gone changes nothing, for pods live in its CIDRs.
 */
export class OwnNodeKeeper implements Disposable {
  readonly #undo: () => void;

  constructor(options: {
    readonly name: string;
    /** What the store says, at most this node's row. */
    readonly stored: StoredNodeTable;
    readonly kept: StoredNodeTable;
    readonly cache: StateDirectory<StoredNode>;
    readonly log: Log;
  }) {
    const { name, stored, kept, cache, log } = options;
    const { records, refused } = cache.load();
    for (const { error } of refused)
      log.warn({ error: error.message }, 'the remembered node cannot be used');
    const remembered = records.get('own-node');
    if (remembered?.name === name) kept.put(remembered);
    this.#undo = stored.onCommit(() => {
      const row = stored.get(name);
      if (row === undefined || !kept.put(row)) return;
      cache.write('own-node', row).catch((error) => {
        log.error({ error: messageWithCauses(error) }, 'the own node cannot be remembered');
      });
    });
  }

  [Symbol.dispose](): void {
    this.#undo();
  }
}
