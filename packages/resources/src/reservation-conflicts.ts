import type { CallOptions, Kv } from '@causeway/etcd';
import type { Address } from '@causeway/ip';
import { claimKey, decodeClaim, ownerText, reserveClaim } from '@causeway/ipam';
import { ResourceError } from './errors.ts';
import type { Resource } from './kinds.ts';
import { listAll, readAll } from './reads.ts';
import { type ReservedAddress, reservedAddresses } from './reserved-addresses.ts';
import { nameOf } from './validate.ts';
import type { NextObject } from './writes.ts';

const MAX_TOLD = 20;

const namedBy = (object: Resource | undefined): ReservedAddress[] =>
  object?.kind === 'AddressReservation' ? reservedAddresses(object) : [];

/**
 * Refuses reservations of addresses that another reservation names, or a claim keeps for another owner; what a
 * reservation has named before is not asked again. Two that come in the same moment may miss each other: the operator
 * then keeps the address for one of them, and says so in the status of the other. Throws ResourceError `address-taken`
 * with every address and who has it, KvError.
 */
export async function assertAddressesFree(
  kv: Kv,
  objects: readonly NextObject[],
  options: CallOptions,
): Promise<void> {
  const wanted = objects.flatMap(({ next, stored }) => {
    const before = new Map(namedBy(stored).map((each) => [each.address, ownerText(each.owner)]));
    return namedBy(next)
      .filter(({ address, owner }) => before.get(address) !== ownerText(owner))
      .map((wish) => ({ wish, object: nameOf(next) }));
  });
  if (wanted.length === 0) return;
  const named = await namedByAll(kv, objects, options);
  const claims = await readAll(
    kv,
    wanted.map(({ wish }) => claimKey(wish.address)),
    options,
  );
  const problems = wanted.flatMap(({ wish, object }, index) => {
    const other = named.get(wish.address)?.find((each) => each.reservation !== wish.reservation);
    const problem =
      other === undefined
        ? claimed(wish, claims[index]?.text)
        : `${wish.address} is named by AddressReservation ${other.reservation} for ${ownerText(other.owner)}`;
    return problem === undefined ? [] : [{ wish, object, problem }];
  });
  const [first] = problems;
  if (first === undefined) return;
  const told = problems.slice(0, MAX_TOLD).map(({ object, problem }) => `${object}: ${problem}`);
  if (problems.length > told.length) told.push(`... and ${problems.length - told.length} more`);
  throw new ResourceError('address-taken', told.join('\n'), {
    object: first.object,
    value: first.wish.address,
    hint: 'name another address, or apply first what gives it up and wait for the operator; causeway ipam claims lists what is kept',
  });
}

/** Who names which address once the objects are written. */
async function namedByAll(
  kv: Kv,
  objects: readonly NextObject[],
  options: CallOptions,
): Promise<Map<Address, ReservedAddress[]>> {
  const mine = new Set(objects.map(({ next }) => nameOf(next)));
  const others = await listAll(kv, 'AddressReservation', options);
  const all = [
    ...others.filter((object) => !mine.has(nameOf(object))),
    ...objects.map(({ next }) => next),
  ];
  return Map.groupBy(all.flatMap(namedBy), ({ address }) => address);
}

function claimed(
  { address, owner, partner, reservation }: ReservedAddress,
  text: string | undefined,
) {
  if (text === undefined) return undefined;
  let claim: ReturnType<typeof decodeClaim>;
  try {
    claim = decodeClaim(text);
  } catch {
    return `${address} has a record that cannot be read`;
  }
  const wish = { address, owner, partner, home: null, ttlSeconds: null, reservation };
  const step = reserveClaim(claim, wish);
  return step.type === 'refused' ? step.message : undefined;
}
