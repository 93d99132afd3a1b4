import { Address, type Family, Prefix } from '@causeway/ip';
import { IpamError } from './errors.ts';
import { type Owner, ownerKey } from './owner.ts';

/** An address with the CIDR that it came from; null for one that no CIDR held. */
export interface SnapshotAddress {
  readonly address: Address;
  readonly prefix: Prefix | null;
}

/**
 * The whole state as plain JSON. Quarantine is kept as time left, so that it means the same under another
 * clock. Whoever stores it adds a checksum.
 */
export interface IpamSnapshot {
  readonly version: 1;
  readonly cidrs: readonly {
    readonly prefix: Prefix;
    readonly state: 'active' | 'draining' | 'leaving';
    readonly pool?: string;
  }[];
  readonly leases: readonly {
    readonly owner: Owner;
    readonly ipv4?: SnapshotAddress;
    readonly ipv6?: SnapshotAddress;
  }[];
  readonly quarantine: readonly {
    readonly address: Address;
    readonly prefix: Prefix;
    readonly remainingMs: number;
  }[];
}

/**
 * Reads a snapshot from parsed JSON of any origin. Throws IpamError `snapshot-version` for another version and
 * `snapshot-invalid`, with the field, for anything else that is wrong.
 */
export function parseSnapshot(value: unknown): IpamSnapshot {
  const root = object('snapshot', value);
  if (root.version !== 1) {
    throw new IpamError('snapshot-version', 'the snapshot is of another version', {
      field: 'version',
      value: root.version,
      hint: 'this program reads version 1; restore from what is in use instead',
    });
  }
  const cidrs = list('cidrs', root.cidrs).map((item, i) => {
    const field = `cidrs[${i}]`;
    const { prefix, state, pool } = object(field, item);
    if (pool !== undefined && typeof pool !== 'string') throw invalid(`${field}.pool`, pool);
    if (state !== 'active' && state !== 'draining' && state !== 'leaving') {
      throw invalid(`${field}.state`, state);
    }
    const named = pool === undefined ? {} : { pool };
    return { prefix: prefixOf(`${field}.prefix`, prefix), state, ...named } as const;
  });
  const seen = new Set<string>();
  const leases = list('leases', root.leases).map((item, i) => {
    const field = `leases[${i}]`;
    const entry = object(field, item);
    const owner = ownerOf(`${field}.owner`, entry.owner);
    const ipv4 = leased(`${field}.ipv4`, 'ipv4', entry.ipv4);
    const ipv6 = leased(`${field}.ipv6`, 'ipv6', entry.ipv6);
    once(seen, `${field}.owner`, ownerKey(owner));
    if (ipv4 !== undefined) once(seen, `${field}.ipv4`, ipv4.address);
    if (ipv6 !== undefined) once(seen, `${field}.ipv6`, ipv6.address);
    return { owner, ...(ipv4 && { ipv4 }), ...(ipv6 && { ipv6 }) };
  });
  const quarantine = list('quarantine', root.quarantine).map((item, i) => {
    const field = `quarantine[${i}]`;
    const entry = object(field, item);
    const address = addressOf(`${field}.address`, entry.address);
    const { remainingMs } = entry;
    if (typeof remainingMs !== 'number' || !Number.isFinite(remainingMs) || remainingMs < 0) {
      throw invalid(`${field}.remainingMs`, remainingMs);
    }
    once(seen, `${field}.address`, address);
    return { address, prefix: prefixOf(`${field}.prefix`, entry.prefix), remainingMs };
  });
  return { version: 1, cidrs, leases, quarantine };
}

function leased(field: string, family: Family, value: unknown): SnapshotAddress | undefined {
  if (value === undefined) return undefined;
  const entry = object(field, value);
  const address = addressOf(`${field}.address`, entry.address);
  if (Address.family(address) !== family) throw invalid(`${field}.address`, address);
  const prefix = entry.prefix === null ? null : prefixOf(`${field}.prefix`, entry.prefix);
  return { address, prefix };
}

function ownerOf(field: string, value: unknown): Owner {
  const { containerId, ifname } = object(field, value);
  const owner = { containerId, ifname } as Owner;
  try {
    ownerKey(owner);
  } catch (cause) {
    throw invalid(field, value, cause);
  }
  return owner;
}

function addressOf(field: string, value: unknown): Address {
  if (typeof value === 'string' && Address.is(value)) return value;
  throw invalid(field, value);
}

function prefixOf(field: string, value: unknown): Prefix {
  if (typeof value === 'string' && Prefix.is(value)) return value;
  throw invalid(field, value);
}

function once(seen: Set<string>, field: string, key: string): void {
  if (seen.has(key)) throw invalid(field, key);
  seen.add(key);
}

function object(field: string, value: unknown): Record<string, unknown> {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) {
    return value as Record<string, unknown>;
  }
  throw invalid(field, value);
}

function list(field: string, value: unknown): unknown[] {
  if (Array.isArray(value)) return value;
  throw invalid(field, value);
}

function invalid(field: string, value: unknown, cause?: unknown): IpamError {
  return new IpamError('snapshot-invalid', `${field} of the snapshot is missing, wrong or twice`, {
    field,
    value,
    hint: 'drop the snapshot and restore from what is in use',
    ...(cause === undefined ? {} : { cause }),
  });
}
