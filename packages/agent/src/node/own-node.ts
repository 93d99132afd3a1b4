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
const schema = z.strictObject({
  name: z.string(),
  addresses: z.array(z.strictObject({ type: z.string(), address })),
  podCIDRs: z.array(prefix),
  labels: z.record(z.string(), z.string()),
});

/** What the store says of the node that this agent runs on. */
export type OwnNode = z.infer<typeof schema>;

/** The copy in the run directory: with it pods get addresses while the store is away. */
export const ownNodeRecord: RecordKind<OwnNode> = {
  format: 'causeway-own-node',
  version: 1,
  parse: (payload) => schema.parse(payload),
};

export type OwnNodeTable = Table<OwnNode>;

export const ownNodeTable = (database: Database, name: string): OwnNodeTable =>
  database.table({ name, key: (row: OwnNode) => row.name });

/** @throws Error naming the pod CIDR that cannot be used. */
export function ownNodeOf(node: CiliumNode, families: readonly Family[]): OwnNode {
  const podCIDRs = (node.spec.ipam?.podCIDRs ?? []).map((text) =>
    Prefix.parse(text, { hostBits: 'clear' }),
  );
  for (const cidr of podCIDRs) layout(cidr);
  return {
    name: node.metadata.name,
    addresses: (node.spec.addresses ?? []).flatMap(({ type, ip }) => {
      const parsed = Address.tryParse(ip);
      return parsed === undefined ? [] : [{ type, address: parsed }];
    }),
    podCIDRs: podCIDRs.filter((cidr) => families.includes(Prefix.family(cidr))),
    labels: node.metadata.labels ?? {},
  };
}

/** Addresses by which other nodes reach this one, best first: internal ones, then external ones. */
export function reachableAddresses(node: OwnNode): Address[] {
  const of = (type: string) =>
    node.addresses.filter((each) => each.type === type).map((each) => each.address);
  return [...of('InternalIP'), ...of('ExternalIP')];
}

/**
 * Keeps the last known own node: what the store says now, or what it said last, also in an earlier
 * run. A resource that is gone changes nothing, for pods live in its CIDRs.
 */
export class OwnNodeKeeper implements Disposable {
  readonly #undo: () => void;

  constructor(options: {
    readonly name: string;
    /** What the store says, at most this node's row. */
    readonly stored: OwnNodeTable;
    readonly kept: OwnNodeTable;
    readonly cache: StateDirectory<OwnNode>;
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
