import { Address } from '@causeway/ip';
import { IpamError } from '../errors.ts';
import type { Claim, ClaimOwner } from './types.ts';

/** Where claims stand in the cluster's store: one key an address. */
export const CLAIMS = 'causeway/allocations/addresses/';

export const claimKey = (address: Address): string => CLAIMS + address;

export const encodeClaim = (claim: Claim): string => JSON.stringify(claim);

/** Reads a claim as it stands in the store. Throws IpamError `claim-invalid` as `parseClaim` does. */
export function decodeClaim(text: string): Claim {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw invalid('claim', text);
  }
  return parseClaim(value);
}

/** Reads a claim from parsed JSON of any origin. Throws IpamError `claim-invalid` with the field. */
export function parseClaim(value: unknown): Claim {
  const root = object('claim', value);
  return {
    address: address('address', root.address),
    owner: owner(root.owner),
    partner: orNull('partner', root.partner, address),
    home: orNull('home', root.home, name),
    at: orNull('at', root.at, name),
    holder: orNull('holder', root.holder, name),
    epoch: count('epoch', root.epoch),
    announced: flag('announced', root.announced),
    from: orNull('from', root.from, name),
    behind: names('behind', root.behind),
    standby: orNull('standby', root.standby, (field, given) => {
      const { node, holder } = object(field, given);
      return { node: name(`${field}.node`, node), holder: name(`${field}.holder`, holder) };
    }),
    releasedAt: orNull('releasedAt', root.releasedAt, count),
    ttlSeconds: orNull('ttlSeconds', root.ttlSeconds, count),
    reservation: orNull('reservation', root.reservation, name),
  };
}

function owner(value: unknown): ClaimOwner {
  const given = object('owner', value);
  const namespace = name('owner.namespace', given.namespace);
  switch (given.type) {
    case 'pod':
      return { type: 'pod', namespace, pod: name('owner.pod', given.pod) };
    case 'workload':
      return {
        type: 'workload',
        namespace,
        kind: name('owner.kind', given.kind),
        name: name('owner.name', given.name),
        ordinal: count('owner.ordinal', given.ordinal),
      };
    default:
      throw invalid('owner.type', given.type);
  }
}

function orNull<T>(field: string, value: unknown, read: (field: string, value: unknown) => T) {
  return value === null || value === undefined ? null : read(field, value);
}

function address(field: string, value: unknown): Address {
  if (typeof value === 'string' && Address.is(value)) return value;
  throw invalid(field, value);
}

function name(field: string, value: unknown): string {
  if (typeof value === 'string' && value.length > 0 && value.length <= 512) return value;
  throw invalid(field, value);
}

function names(field: string, value: unknown): string[] {
  if (!Array.isArray(value)) throw invalid(field, value);
  return value.map((one, index) => name(`${field}[${index}]`, one));
}

function count(field: string, value: unknown): number {
  if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0) return value;
  throw invalid(field, value);
}

function flag(field: string, value: unknown): boolean {
  if (typeof value === 'boolean') return value;
  throw invalid(field, value);
}

function object(field: string, value: unknown): Record<string, unknown> {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) {
    return value as Record<string, unknown>;
  }
  throw invalid(field, value);
}

function invalid(field: string, value: unknown): IpamError {
  return new IpamError('claim-invalid', `${field} of the claim is missing or wrong`, {
    field,
    value,
    hint: 'delete the record if nobody knows who wrote it; its owner claims the address anew',
  });
}
