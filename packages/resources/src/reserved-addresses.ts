import { Address } from '@causeway/ip';
import type { ClaimOwner } from '@causeway/ipam';
import type { AddressReservation } from './schema/address-reservation.ts';
import { parseOrdinals } from './schema/ordinals.ts';

/** An address that a reservation names, and for whom. */
export interface ReservedAddress {
  readonly address: Address;
  readonly partner: Address | null;
  readonly owner: ClaimOwner;
  /** namespace/name of the reservation. */
  readonly reservation: string;
}

/** How long an address is kept after its pod has gone, where nobody says. */
export const DEFAULT_TTL_SECONDS = 86_400;

/**
 * The addresses that a reservation names. Those without an ordinal or a pod of their own go to the workload's
 * ordinals in their order; those of a reservation that names nobody are kept from everybody.
 */
export function reservedAddresses(
  reservation: Pick<AddressReservation, 'metadata' | 'spec'>,
): ReservedAddress[] {
  const { metadata, spec } = reservation;
  const namespace = metadata.namespace ?? 'default';
  const { workload } = spec;
  const taken = new Set(spec.addresses?.map(({ ordinal }) => ordinal));
  const free = ordinalsOf(workload?.ordinals, taken);
  return (spec.addresses ?? []).flatMap((each, index): ReservedAddress[] => {
    const ipv4 = each.ipv4 === undefined ? undefined : Address.tryParse(each.ipv4);
    const ipv6 = each.ipv6 === undefined ? undefined : Address.tryParse(each.ipv6);
    const owner = ((): ClaimOwner | undefined => {
      const pod = each.podName ?? spec.podName;
      if (pod !== undefined) return { type: 'pod', namespace, pod };
      if (workload === undefined) {
        return {
          type: 'workload',
          namespace,
          kind: 'AddressReservation',
          name: metadata.name,
          ordinal: index,
        };
      }
      const ordinal = each.ordinal ?? (free.next().value as number | undefined);
      if (ordinal === undefined) return undefined;
      return { type: 'workload', namespace, kind: workload.kind, name: workload.name, ordinal };
    })();
    if (owner === undefined) return [];
    const about = { owner, reservation: `${namespace}/${metadata.name}` };
    return [
      ...(ipv4 === undefined ? [] : [{ ...about, address: ipv4, partner: ipv6 ?? null }]),
      ...(ipv6 === undefined ? [] : [{ ...about, address: ipv6, partner: ipv4 ?? null }]),
    ];
  });
}

function* ordinalsOf(
  text: string | undefined,
  taken: ReadonlySet<number | undefined>,
): Generator<number, undefined> {
  const ranges = text === undefined ? undefined : parseOrdinals(text);
  for (const [from, to] of ranges ?? [[0, Number.MAX_SAFE_INTEGER] as const]) {
    for (let ordinal = from; ordinal <= to; ordinal++) if (!taken.has(ordinal)) yield ordinal;
  }
  return undefined;
}
