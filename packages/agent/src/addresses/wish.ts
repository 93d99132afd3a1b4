import { Address, type Family } from '@causeway/ip';
import type { ClaimOwner } from '@causeway/ipam';
import {
  ADDRESS_TTL,
  ADDRESSES,
  DEFAULT_TTL_SECONDS,
  FIXED_ADDRESS,
  hasOrdinal,
  MIGRATING_FROM,
  parseOrdinals,
} from '@causeway/resources';
import type { PodRow } from '../sources/pods.ts';
import type { ReservationRow, WorkloadRow } from './sources.ts';

const MAX_TTL_SECONDS = 31_536_000;

const POOL = 'ipam.cilium.io/ip-pool';

type Addresses = Partial<Record<Family, Address>>;

/** An address that stays, as a pod or somebody for it asks. */
export interface FixedWish {
  readonly type: 'fixed';
  /** Whose it is; of a workload whose pods bear no numbers, the first of its numbers that is free is the pod's. */
  readonly owner: ClaimOwner | { readonly type: 'any-of'; readonly workload: WorkloadName };
  /** Meant by name; families that are left out are given one. */
  readonly addresses: Addresses;
  readonly pool: string | undefined;
  readonly ttlSeconds: number;
  /** namespace/name of the AddressReservation behind it. */
  readonly reservation: string | undefined;
  /** In a person's words. */
  readonly why: string;
}

/** A second endpoint for a running machine that moves here. */
export interface HandOverWish {
  readonly type: 'hand-over';
  readonly namespace: string;
  readonly from: string;
}

export interface WorkloadName {
  readonly namespace: string;
  readonly kind: string;
  readonly name: string;
}

export type Wish =
  | { readonly type: 'none' }
  | FixedWish
  | HandOverWish
  | {
      readonly type: 'invalid';
      readonly field: string;
      readonly value: string;
      readonly message: string;
    };

const NONE: Wish = { type: 'none' };

/** What a pod asks for in the way of addresses that stay: its own annotations, its owner's, a reservation. Pure. */
export function wishOf(
  pod: Pick<PodRow, 'namespace' | 'name' | 'annotations' | 'owner'>,
  workload: WorkloadRow | undefined,
  reservations: Iterable<ReservationRow>,
): Wish {
  const { namespace, name, annotations } = pod;
  const from = annotations[MIGRATING_FROM];
  if (from !== undefined) return { type: 'hand-over', namespace, from };
  const said = (key: string): string | undefined => annotations[key] ?? workload?.annotations[key];
  const listed = annotations[ADDRESSES];
  const reservation = reservationFor(pod, reservations);
  const asks = said(FIXED_ADDRESS) === 'true' || listed !== undefined;
  if (!asks && reservation === undefined) return NONE;

  const named = listed === undefined ? addressesIn(reservation, pod) : parseList(listed);
  if (named === undefined) {
    const message = 'must be one address of each family at most, such as "10.1.2.3,fd00::3"';
    return { type: 'invalid', field: ADDRESSES, value: listed ?? '', message };
  }
  const ttl = said(ADDRESS_TTL);
  const ttlSeconds =
    ttl === undefined ? (reservation?.spec.ttlSeconds ?? DEFAULT_TTL_SECONDS) : Number(ttl);
  if (!Number.isInteger(ttlSeconds) || ttlSeconds < 0 || ttlSeconds > MAX_TTL_SECONDS) {
    const message = `must be whole seconds, 0 to ${MAX_TTL_SECONDS}`;
    return { type: 'invalid', field: ADDRESS_TTL, value: ttl ?? '', message };
  }
  return {
    type: 'fixed',
    owner: ownerFor(pod, reservation?.spec.workload),
    addresses: named,
    pool: reservation?.spec.pool ?? annotations[POOL],
    ttlSeconds,
    reservation:
      reservation === undefined ? undefined : `${reservation.namespace}/${reservation.name}`,
    why:
      reservation === undefined
        ? `${namespace}/${name} asks for it by annotation`
        : `AddressReservation ${reservation.namespace}/${reservation.name}`,
  };
}

/** The owner of a pod's addresses: by number where the workload gives its pods numbers, by the pod's name otherwise. */
function ownerFor(
  { namespace, name, owner }: Pick<PodRow, 'namespace' | 'name' | 'owner'>,
  reserved: { readonly kind: string; readonly name: string } | undefined,
): FixedWish['owner'] {
  const workload = reserved ?? owner;
  if (workload !== undefined) {
    const ordinal = ordinalOf(name, workload.name);
    const { kind } = workload;
    if (ordinal !== undefined && (kind === 'StatefulSet' || reserved !== undefined)) {
      return { type: 'workload', namespace, kind, name: workload.name, ordinal };
    }
    if (reserved !== undefined) {
      return { type: 'any-of', workload: { namespace, kind, name: workload.name } };
    }
  }
  return { type: 'pod', namespace, pod: name };
}

/** `db-2` of `db` is 2; scattered numbers are numbers. */
export function ordinalOf(pod: string, workload: string): number | undefined {
  if (!pod.startsWith(`${workload}-`)) return undefined;
  const text = pod.slice(workload.length + 1);
  return /^(0|[1-9]\d{0,6})$/.test(text) ? Number(text) : undefined;
}

function reservationFor(
  pod: Pick<PodRow, 'namespace' | 'name' | 'owner'>,
  reservations: Iterable<ReservationRow>,
): ReservationRow | undefined {
  const fitting = Array.from(reservations).filter((each) => isFor(each, pod));
  // The one that names the pod says more than one that names its workload; then by name, so that it stays the same.
  const rank = ({ spec, name }: ReservationRow) => `${spec.podName === undefined ? 1 : 0} ${name}`;
  return fitting.sort((a, b) => (rank(a) < rank(b) ? -1 : 1))[0];
}

function isFor(
  { namespace, spec }: ReservationRow,
  pod: Pick<PodRow, 'namespace' | 'name' | 'owner'>,
): boolean {
  if (namespace !== pod.namespace) return false;
  if (spec.podName !== undefined) return spec.podName === pod.name;
  const { workload } = spec;
  if (workload === undefined)
    return spec.addresses?.some((each) => each.podName === pod.name) ?? false;
  if (!isOf(pod, workload)) return false;
  if (workload.ordinals === undefined) return true;
  const ordinal = ordinalOf(pod.name, workload.name);
  return ordinal !== undefined && hasOrdinal(parseOrdinals(workload.ordinals) ?? [], ordinal);
}

/** A Deployment's pods are made by its ReplicaSets, which bear its name and a hash. */
function isOf(
  { owner, name }: Pick<PodRow, 'owner' | 'name'>,
  workload: { readonly kind: string; readonly name: string },
): boolean {
  if (owner === undefined) {
    return workload.kind === 'StatefulSet' && ordinalOf(name, workload.name) !== undefined;
  }
  if (owner.kind === workload.kind) return owner.name === workload.name;
  const between = workload.kind === 'Deployment' && owner.kind === 'ReplicaSet';
  return between && /^[a-z0-9]+$/.test(rest(owner.name, workload.name));
}

const rest = (name: string, of: string): string =>
  name.startsWith(`${of}-`) ? name.slice(of.length + 1) : '';

function addressesIn(
  reservation: ReservationRow | undefined,
  { name }: Pick<PodRow, 'name'>,
): Addresses {
  const { addresses = [], workload } = reservation?.spec ?? {};
  const ordinal = workload === undefined ? undefined : ordinalOf(name, workload.name);
  const own =
    addresses.find((each) => each.podName === name) ??
    addresses.find((each) => each.ordinal !== undefined && each.ordinal === ordinal) ??
    (workload === undefined ? addresses.find((each) => each.podName === undefined) : undefined);
  const found: Addresses = {};
  for (const family of ['ipv4', 'ipv6'] as const) {
    const text = own?.[family];
    if (text !== undefined) found[family] = Address.parse(text);
  }
  return found;
}

function parseList(text: string): Addresses | undefined {
  const found: Addresses = {};
  for (const part of text.split(',')) {
    const address = Address.tryParse(part.trim());
    if (address === undefined) return undefined;
    const family = Address.family(address);
    if (found[family] !== undefined) return undefined;
    found[family] = address;
  }
  return found;
}
