import { type Claim, ownerText } from '@causeway/ipam';
import {
  type AddressReservation,
  objectKey,
  ResourceError,
  type ResourceStore,
} from '@causeway/resources';
import { deepEqual } from '@causeway/tables';

/**
 * Writes into a reservation's status which claims are bound to it, and why it has not all that it names.
 * @param errors by reservation. Throws KvError.
 */
export async function showReservation(
  store: ResourceStore,
  reservation: AddressReservation,
  claims: readonly Claim[],
  errors: ReadonlyMap<string, readonly string[]>,
  signal: AbortSignal,
): Promise<void> {
  const { namespace, name } = reservation.metadata;
  const key = objectKey(namespace, name);
  const bindings = claims
    .filter((claim) => claim.reservation === key)
    .map((claim) => ({
      address: claim.address,
      holder: ownerText(claim.owner),
      ...(claim.at === null ? {} : { node: claim.at }),
      state: stateOf(claim),
    }));
  const error = errors.get(key)?.join('\n');
  const { bindings: shown = [], error: told } = reservation.status ?? {};
  if (deepEqual(bindings, shown) && error === told) return;
  const ref = { ...(namespace === undefined ? {} : { namespace }), name };
  try {
    await store.patchStatus(
      'AddressReservation',
      ref,
      { bindings, error: error ?? null },
      { signal },
    );
  } catch (cause) {
    if (!(cause instanceof ResourceError)) throw cause;
  }
}

/** In a word, for people. */
export function stateOf({ holder, announced, releasedAt, standby, at }: Claim): string {
  if (standby !== null) return 'handing-over';
  if (holder !== null) return announced || at === null ? 'in-use' : 'moving';
  return releasedAt === null ? 'reserved' : 'released';
}
