import { absent, type Compare, type KvEntry, type TxnOperation, unchanged } from '@causeway/etcd';
import type { Address } from '@causeway/ip';
import { encode } from './codec.ts';
import type { Resource } from './kinds.ts';
import type { NodePort } from './service-ports.ts';
import { objectName } from './validate.ts';

/** One record per cluster IP in use: the address in the key, its Service in the value. */
export const SERVICE_IP_CLAIMS = 'causeway/allocations/service-ips/';

/** One record per port of the nodes in use: protocol and number in the key, its Service in the value. */
export const NODE_PORT_CLAIMS = 'causeway/allocations/node-ports/';

/** etcd's default `--max-txn-ops`; it counts compares and operations each. */
export const MAX_TXN_OPS = 128;
/** etcd refuses requests over 1.5 MiB; keys and framing need room too. */
const MAX_TXN_BYTES = 1_200_000;

/** Of the guard of address ranges; its operation is one. */
const GUARD_COMPARES = 2;

/** An object that is about to be written, over what is stored of it. */
export interface NextObject {
  readonly next: Resource;
  readonly stored: Resource | undefined;
}

/** What one object changes in the store, and what must still hold when it does. */
export interface Write {
  readonly compare: readonly Compare[];
  readonly operations: readonly TxnOperation[];
}

export const claimKey = (address: Address): string => SERVICE_IP_CLAIMS + address;

export const portClaimKey = ({ protocol, port }: NodePort): string =>
  `${NODE_PORT_CLAIMS}${protocol.toLowerCase()}/${port}`;

export const claimValue = ({ kind, metadata }: Resource): string =>
  JSON.stringify({ owner: objectName(kind, metadata.namespace, metadata.name), uid: metadata.uid });

/** Who holds an address or a port, for a person. */
export function claimOwner(entry: KvEntry): string {
  try {
    const { owner } = JSON.parse(entry.text) as { owner?: unknown };
    if (typeof owner === 'string') return owner;
  } catch {
    // Said below.
  }
  return 'an unreadable record';
}

/** Keys that an object's write creates or gives back. */
export interface Claims {
  readonly taken: readonly string[];
  readonly released: readonly string[];
}

/**
 * Writes an object over what was read, with its claims. A claim is won by creating its key, so two
 * services can never hold one address or port; the object's own key is compared, so nobody's write is lost.
 */
export function writeOf(
  key: string,
  object: Resource,
  current: KvEntry | undefined,
  claims: Claims,
): Write {
  return {
    compare: [
      current === undefined ? absent(key) : unchanged(current),
      ...claims.taken.map((each) => absent(each)),
    ],
    operations: [
      { type: 'put', key, value: encode(object) },
      ...claims.taken.map(
        (each): TxnOperation => ({ type: 'put', key: each, value: claimValue(object) }),
      ),
      ...claims.released.map((each): TxnOperation => ({ type: 'delete', key: each })),
    ],
  };
}

/** Writes in as few transactions as the store's bounds allow; the writes of one object stay together. */
export function transactionsOf<W extends Write>(writes: readonly W[]): W[][] {
  const groups: W[][] = [];
  let group: W[] = [];
  // What guards the whole transaction has room.
  let compares = GUARD_COMPARES;
  let operations = 1;
  let bytes = 0;
  for (const write of writes) {
    const size = write.operations.reduce(
      (sum, each) =>
        sum + (each.type === 'put' ? Buffer.byteLength(each.value) + each.key.length : 64),
      0,
    );
    const full =
      compares + write.compare.length > MAX_TXN_OPS ||
      operations + write.operations.length > MAX_TXN_OPS ||
      bytes + size > MAX_TXN_BYTES;
    if (full && group.length > 0) {
      groups.push(group);
      group = [];
      compares = GUARD_COMPARES;
      operations = 1;
      bytes = 0;
    }
    group.push(write);
    compares += write.compare.length;
    operations += write.operations.length;
    bytes += size;
  }
  if (group.length > 0) groups.push(group);
  return groups;
}
