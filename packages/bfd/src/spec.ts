import { Address } from '@causeway/ip';
import { BfdError } from './errors.ts';
import { type Hops, Micros } from './values.ts';
import { type AuthKey, authTypes } from './wire/auth.ts';

/** A session as somebody wants it. */
export interface SessionSpec {
  readonly remote: Address;
  /** The address to send from and to be reached at; without one, any of ours. */
  readonly local?: Address;
  /** The interface to send by and to be reached by. A link-local remote needs one. */
  readonly interface?: string;
  readonly hops: Hops;
  /** Multihop only: the least TTL or hop limit that a packet may arrive with. */
  readonly minTtl?: number;
  readonly desiredMinTx: Micros;
  readonly requiredMinRx: Micros;
  readonly multiplier: number;
  readonly auth?: AuthKey;
  /** Hold the session in AdminDown, and say so to the peer. */
  readonly adminDown?: boolean;
}

const wrong = (field: string, value: unknown, message: string, hint?: string): BfdError =>
  new BfdError('bad-session', `${field} ${message}`, {
    field,
    value,
    ...(hint === undefined ? {} : { hint }),
  });

/**
 * What a session is known by before discriminators are: RFC 5880 section 6.3 leaves it to the
 * application, RFC 5881 section 3 takes the interface and RFC 5883 section 4 the two addresses.
 */
export function sessionKey(spec: SessionSpec): string {
  const at = spec.interface === undefined ? '' : `%${spec.interface}`;
  const from = spec.local === undefined ? '' : ` from ${spec.local}`;
  return `${spec.hops === 'multi' ? 'multihop ' : ''}${spec.remote}${at}${from}`;
}

/** Throws BfdError `bad-session` naming the field; a spec that passes can be run as it is. */
export function checkSpec(spec: SessionSpec): void {
  const { remote, local, hops } = spec;
  if (!Address.is(remote) || Address.isUnspecified(remote) || Address.isMulticast(remote))
    throw wrong('remote', remote, `is ${remote}: it must be the address of one system`);
  if (local !== undefined) {
    if (!Address.is(local) || Address.isUnspecified(local) || Address.isMulticast(local))
      throw wrong('local', local, `is ${local}: it must be an address of this system`);
    if (Address.family(local) !== Address.family(remote))
      throw wrong('local', local, `is ${local}, of another family than remote ${remote}`);
    if (local === remote) throw wrong('local', local, `is ${local}, which is also the remote`);
  }
  const name = spec.interface;
  // What the kernel takes for a device's name: at most 15 bytes, no slash, no space.
  if (name !== undefined && (!/^[^/\s]{1,15}$/.test(name) || name === '.' || name === '..'))
    throw wrong('interface', name, `is ${JSON.stringify(name)}: it must be a device's name`);
  const linkLocal =
    Address.isIPv6(remote) &&
    (Address.isLinkLocal(remote) || (local && Address.isLinkLocal(local)));
  if (linkLocal && name === undefined)
    throw wrong('interface', undefined, 'is missing: a link-local address is one on some link');
  if (linkLocal && hops === 'multi')
    throw wrong('multihop', true, 'cannot be: a link-local address is one hop away');
  if (hops === 'single' && spec.minTtl !== undefined && spec.minTtl !== 255)
    throw wrong('minTtl', spec.minTtl, 'must be 255 on a single hop (RFC 5881 section 5)');
  const minTtl = spec.minTtl ?? 1;
  if (!Number.isInteger(minTtl) || minTtl < 1 || minTtl > 255)
    throw wrong('minTtl', minTtl, `is ${minTtl}: it must be 1 to 255`);
  checkInterval('txInterval', spec.desiredMinTx);
  checkInterval('rxInterval', spec.requiredMinRx);
  if (!Number.isInteger(spec.multiplier) || spec.multiplier < 1 || spec.multiplier > 255)
    throw wrong('multiplier', spec.multiplier, `is ${spec.multiplier}: it must be 1 to 255`);
  if (spec.auth !== undefined) checkAuth(spec.auth);
}

/** Below this no timer of ours holds, and a typing error (seconds for milliseconds) is likelier. */
const least = 5000;
const most = 600_000_000;

function checkInterval(field: string, value: number): void {
  Micros.of(value, field);
  if (value < least || value > most)
    throw wrong(
      field,
      value,
      `is ${value / 1000} ms: it must be ${least / 1000} ms to ${most / 1000} ms`,
    );
}

function checkAuth({ type, keyId, key, alsoAccept }: AuthKey): void {
  const row = Object.hasOwn(authTypes, type) ? authTypes[type] : undefined;
  if (row === undefined)
    throw wrong('auth.type', type, `is ${type}: it must be ${Object.keys(authTypes).join(', ')}`);
  const check = (field: string, id: number, bytes: Uint8Array): void => {
    if (!Number.isInteger(id) || id < 0 || id > 255)
      throw wrong(`${field}.keyId`, id, `is ${id}: it must be 0 to 255`);
    if (bytes.length < 1 || bytes.length > row.longestKey)
      // The key itself is nobody's to read in a log.
      throw wrong(
        `${field}.key`,
        `${bytes.length} bytes`,
        `has ${bytes.length} bytes: ${type} takes 1 to ${row.longestKey}`,
      );
  };
  check('auth', keyId, key);
  if (alsoAccept === undefined) return;
  check('auth.alsoAccept', alsoAccept.keyId, alsoAccept.key);
  if (alsoAccept.keyId === keyId)
    throw wrong('auth.alsoAccept.keyId', keyId, `is ${keyId}, as that of the first key`);
}

type Key = Pick<AuthKey, 'keyId' | 'key'>;

function sameKey(a: Key | undefined, b: Key | undefined): boolean {
  if (a === undefined || b === undefined) return a === b;
  return (
    a.keyId === b.keyId &&
    a.key.length === b.key.length &&
    a.key.every((byte, i) => byte === b.key[i])
  );
}

/** Are packets sealed alike? */
export const sameSeal = (a: AuthKey | undefined, b: AuthKey | undefined): boolean =>
  a?.type === b?.type && sameKey(a, b);

export const sameAuth = (a: AuthKey | undefined, b: AuthKey | undefined): boolean =>
  sameSeal(a, b) && sameKey(a?.alsoAccept, b?.alsoAccept);

export function sameSpec(a: SessionSpec, b: SessionSpec): boolean {
  return (
    sessionKey(a) === sessionKey(b) &&
    a.minTtl === b.minTtl &&
    a.desiredMinTx === b.desiredMinTx &&
    a.requiredMinRx === b.requiredMinRx &&
    a.multiplier === b.multiplier &&
    (a.adminDown ?? false) === (b.adminDown ?? false) &&
    sameAuth(a.auth, b.auth)
  );
}
