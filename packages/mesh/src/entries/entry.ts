import type { NumericIdentity } from '@causeway/identity';
import type { Address, Prefix } from '@causeway/ip';
import type { NamedPort } from '../codec/ip.ts';
import type { Place } from './columns.ts';

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

/** What a store says of a place; one object may serve for all that are read. */
export interface RawEntry extends Place {
  identity: number;
  host: Address | undefined;
  encryptionKey: number;
  ports: readonly NamedPort[];
  pod: string | undefined;
}
