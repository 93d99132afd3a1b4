import type { NumericIdentity } from '@causeway/identity';
import type { Address, Prefix } from '@causeway/ip';
import type { NamedPort } from '../codec/ip.ts';

/** What one cluster says of an address. */
export interface IpEntry {
  readonly cluster: string;
  /** An address, or a prefix for an entry with a mask. */
  readonly address: Address | Prefix;
  readonly identity: NumericIdentity;
  readonly hostIP: Address | undefined;
  /** 0 none, IPsec key index, 255 WireGuard. */
  readonly encryptionKey: number;
  readonly namedPorts: readonly NamedPort[];
  /** `namespace/name` of the pod; only the own cluster's are kept, for there are many others. */
  readonly pod: string | undefined;
}

export type PutResult = 'new' | 'changed' | 'same';

/** An entry as a person is shown it. */
export interface PrintedIpEntry extends IpEntry {
  /** Another cluster, or another entry of the own one, has the address: what this one says has no effect. */
  readonly yieldsTo: string | undefined;
}

/**
 * The compact store of all clusters' IP entries, as the rooms above it see it. Of several clusters that
 * claim an address the own one wins, then whoever held it first; the others wait behind it.
 */
export interface IpEntriesView {
  readonly size: number;
  /** True if every registered source has delivered. */
  readonly initialized: boolean;
  whenInitialized(signal?: AbortSignal): Promise<void>;
  /** Called after each round of changes, and when it becomes initialized. Returns its undoing. */
  onCommit(listener: () => void): () => void;
  get(cluster: string, address: string): IpEntry | undefined;
  /** Who has the address or prefix. */
  winner(address: string): IpEntry | undefined;
  /** The winner first, then those that wait. */
  claims(address: string): IpEntry[];
  count(cluster: string): number;
  entries(): IterableIterator<IpEntry>;
  entriesOf(cluster: string): IterableIterator<IpEntry>;
  printed(limit: number): PrintedIpEntry[];
}
