import { Address, Prefix } from '@causeway/ip';
import { DatapathError } from './errors.ts';
import type { IpcacheBatch } from './ipcache-batch.ts';
import {
  type IpcacheEntry,
  IpcacheFlag,
  type ipcache,
  type ipcacheCidr,
  type TriePrefix,
} from './maps/ipcache.ts';
import { fromTrie, IPV4_SPACE, toTrie } from './prefixes.ts';
import type { MapOf } from './typed-map.ts';

/** Who is behind a prefix. Identity 0 counts as the world of its family. */
export interface IpcacheValue {
  readonly identity: number;
  readonly tunnelEndpoint: Address | undefined;
  readonly noMasquerade: boolean;
  readonly isProtected: boolean;
  /** A node's own address, whatever its identity: some things only a node may do. */
  readonly isNode: boolean;
}

/** Above this many rows at once, comparing each with what is there costs more than asking policy anew. */
const COMPARE_LIMIT = 64;

const NOBODY: IpcacheEntry = { identity: 0, flags: 0, tunnelEndpoint: null };

const isGuard = (key: TriePrefix, entry: IpcacheEntry): boolean =>
  key.length === IPV4_SPACE.length &&
  entry.identity === 0 &&
  entry.flags === 0 &&
  entry.tunnelEndpoint === null;

const encode = (value: IpcacheValue): IpcacheEntry => ({
  identity: value.identity,
  flags:
    (value.isProtected ? IpcacheFlag.protected : 0) |
    (value.noMasquerade ? IpcacheFlag.noMasquerade : 0) |
    (value.isNode ? IpcacheFlag.node : 0),
  tunnelEndpoint: value.tunnelEndpoint ?? null,
});

const decode = (entry: IpcacheEntry): IpcacheValue => ({
  identity: entry.identity,
  tunnelEndpoint: entry.tunnelEndpoint ?? undefined,
  noMasquerade: (entry.flags & IpcacheFlag.noMasquerade) !== 0,
  isProtected: (entry.flags & IpcacheFlag.protected) !== 0,
  isNode: (entry.flags & IpcacheFlag.node) !== 0,
});

const sameVerdict = (a: IpcacheEntry | undefined, b: IpcacheEntry): boolean =>
  a !== undefined && a.identity === b.identity && a.flags === b.flags;

/** Addresses and prefixes with their identities: single addresses in a hash, the rest in a trie. */
export class IpcacheMaps {
  readonly #exact: MapOf<typeof ipcache>;
  readonly #cidr: MapOf<typeof ipcacheCidr>;
  readonly #onIdentityChange: () => void;

  /** `onIdentityChange`: verdicts that connections keep may be out of date now. */
  constructor(
    exact: MapOf<typeof ipcache>,
    cidr: MapOf<typeof ipcacheCidr>,
    onIdentityChange: () => void,
  ) {
    this.#exact = exact;
    this.#cidr = cidr;
    this.#onIdentityChange = onIdentityChange;
    if (cidr.get(IPV4_SPACE) === undefined) cidr.set(IPV4_SPACE, NOBODY);
  }

  /** One result per row: undefined, or why it could not be written; the others stand. */
  putAll(rows: readonly (readonly [Prefix, IpcacheValue])[]): readonly (Error | undefined)[] {
    const errors: (Error | undefined)[] = rows.map(() => undefined);
    const hosts: number[] = [];
    let changed = rows.length > COMPARE_LIMIT;
    rows.forEach(([prefix, value], index) => {
      const entry = encode(value);
      if (Prefix.isHost(prefix)) {
        hosts.push(index);
        changed ||= !sameVerdict(this.#exact.get({ address: Prefix.address(prefix) }), entry);
        return;
      }
      const key = toTrie(prefix);
      changed ||= !sameVerdict(this.#cidr.get(key), entry);
      errors[index] = attempt(() => this.#cidr.set(key, entry));
    });
    const pairs = hosts.map((index) => {
      const [prefix, value] = rows[index]!;
      return [{ address: Prefix.address(prefix) }, encode(value)] as const;
    });
    if (attempt(() => this.#exact.setAll(pairs)) !== undefined) {
      // Some of the batch did not go in: find out which, by their own answers.
      pairs.forEach(([key, value], at) => {
        errors[hosts[at]!] = attempt(() => this.#exact.set(key, value));
      });
    }
    if (changed) this.#onIdentityChange();
    return errors;
  }

  /** As `putAll`, for single addresses in the kernel's form; undefined if all were written. */
  putHosts(batch: IpcacheBatch): readonly (Error | undefined)[] | undefined {
    const { count } = batch;
    if (count === 0) return undefined;
    const { map } = this.#exact;
    let changed = count > COMPARE_LIMIT;
    for (let row = 0; row < count && !changed; row++) {
      const before = map.get(batch.keyBytes(row, 1));
      // Identity and flags; by which tunnel an address is reached is no matter of policy.
      changed = before === undefined || !sameBytes(before, batch.valueBytes(row, 1), 8);
    }
    let errors: (Error | undefined)[] | undefined;
    if (attempt(() => map.updateBatch(batch.keyBytes(), batch.valueBytes())) !== undefined) {
      errors = Array.from({ length: count }, (_, row) =>
        attempt(() => this.#exact.setBytes(batch.keyBytes(row, 1), batch.valueBytes(row, 1))),
      );
    }
    if (changed) this.#onIdentityChange();
    return errors;
  }

  put(prefix: Prefix, value: IpcacheValue): void {
    const [error] = this.putAll([[prefix, value]]);
    if (error !== undefined) throw error;
  }

  deleteAll(prefixes: readonly Prefix[]): void {
    const hosts = prefixes.filter((prefix) => Prefix.isHost(prefix));
    let deleted = this.#exact.deleteAll(
      hosts.map((prefix) => ({ address: Prefix.address(prefix) })),
    );
    for (const prefix of prefixes) {
      if (Prefix.isHost(prefix)) continue;
      if (prefix === '0.0.0.0/0') {
        this.#cidr.set(IPV4_SPACE, NOBODY);
        deleted++;
      } else if (this.#cidr.delete(toTrie(prefix))) {
        deleted++;
      }
    }
    if (deleted > 0) this.#onIdentityChange();
  }

  get(prefix: Prefix): IpcacheValue | undefined {
    const entry = Prefix.isHost(prefix)
      ? this.#exact.get({ address: Prefix.address(prefix) })
      : this.#cidr.get(toTrie(prefix));
    return entry && decode(entry);
  }

  /** @param wanted identities whose rows are given. */
  *entries(
    wanted: (identity: number) => boolean = () => true,
  ): IterableIterator<[Prefix, IpcacheValue]> {
    const { value } = this.#exact.declaration;
    for (const [key, bytes] of this.#exact.map.entries()) {
      const identity = new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true);
      if (!wanted(identity)) continue;
      yield [Prefix.host(Address.fromBytes(key)), decode(value.decode(bytes))];
    }
    for (const [key, entry] of this.#cidr.entries()) {
      if (!isGuard(key, entry) && wanted(entry.identity)) yield [fromTrie(key), decode(entry)];
    }
  }

  /** @param known single addresses, as 16 bytes, that are to be passed over. */
  *prefixes(known: (address: Uint8Array) => boolean = () => false): IterableIterator<Prefix> {
    for (const key of this.#exact.map.keys()) {
      if (!known(key)) yield Prefix.host(Address.fromBytes(key));
    }
    for (const [key, entry] of this.#cidr.entries()) {
      if (!isGuard(key, entry)) yield fromTrie(key);
    }
  }
}

function sameBytes(a: Uint8Array, b: Uint8Array, length: number): boolean {
  for (let i = 0; i < length; i++) if (a[i] !== b[i]) return false;
  return true;
}

function attempt(work: () => void): Error | undefined {
  try {
    work();
    return undefined;
  } catch (error) {
    return error instanceof Error
      ? error
      : new DatapathError('bad-config', 'the write failed', { cause: error });
  }
}
