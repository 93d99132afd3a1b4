import { Address, type Family, type Prefix } from '@causeway/ip';
import type { PoolSet } from './cidrs.ts';
import type { Held, Holdings } from './holdings.ts';
import { type Owner, ownerKey } from './owner.ts';
import type { LeaseRecord, RestoreConflict } from './types.ts';

const FAMILIES = ['ipv4', 'ipv6'] as const;

/** An address in use, in the pool that can hold it if there is one. */
export function adopt(pools: PoolSet, address: Address, prefix?: Prefix): Held {
  const at = pools.find(address, prefix);
  return { address, at: at?.pool.take(at.offset) ? at : undefined };
}

/** Takes over one owner's addresses; returns what does not fit, each with its reason. */
export function restoreRecord(
  { owner, ...addresses }: LeaseRecord,
  pools: PoolSet,
  holdings: Holdings,
): RestoreConflict[] {
  let key: string;
  try {
    key = ownerKey(owner);
  } catch (cause) {
    return [{ type: 'owner-invalid', owner, cause }];
  }
  return FAMILIES.flatMap((family) => {
    const address = addresses[family];
    if (address === undefined) return [];
    const conflict = restoreOne(key, owner, family, address, pools, holdings);
    return conflict === undefined ? [] : [conflict];
  });
}

function restoreOne(
  key: string,
  owner: Owner,
  family: Family,
  address: Address,
  pools: PoolSet,
  holdings: Holdings,
): RestoreConflict | undefined {
  if (!Address.is(address) || Address.family(address) !== family) {
    return { type: 'address-invalid', owner, family, address };
  }
  const holder = holdings.at(address);
  if (holder !== undefined) {
    const same = ownerKey(holder.owner) === key;
    return same ? undefined : { type: 'taken', owner, family, address, holder: holder.owner };
  }
  const other = holdings.of(key)?.held.get(family);
  if (other !== undefined) {
    return { type: 'owner-has-other', owner, family, address, held: other.address };
  }
  const held = adopt(pools, address);
  holdings.add(key, owner, family, held);
  if (held.at !== undefined) return undefined;
  const at = pools.find(address);
  return at === undefined
    ? { type: 'outside', owner, family, address }
    : { type: 'reserved', owner, family, address, prefix: at.pool.layout.prefix };
}
