import {
  type AuthType,
  authTypes,
  BfdError,
  checkSpec,
  Micros,
  type SessionSpec,
  sessionKey,
} from '@causeway/bfd';
import { Address } from '@causeway/ip';
import { z } from 'zod';
import { BfdDaemonError } from './errors.ts';

/** What the API shows in place of a key. */
export const REDACTED = '(set)';

const interval = z.number().min(5).max(600_000);
const address = z
  .string()
  .refine(
    (text): boolean => Address.is(text),
    'must be an IPv4 or IPv6 address in its canonical form',
  );

const keyFields = {
  keyId: z.int().min(0).max(255),
  key: z
    .string()
    .min(1)
    .refine(
      (key) => key !== REDACTED,
      `${REDACTED} is what the API shows in place of a key, not one`,
    ),
};

/** One session as an owner puts it. */
const wantedSession = z.strictObject({
  remote: address,
  local: address.optional(),
  interface: z.string().min(1).max(15).optional(),
  multihop: z.boolean().optional(),
  minTtl: z.int().min(1).max(255).optional(),
  txIntervalMs: interval,
  rxIntervalMs: interval,
  multiplier: z.int().min(1).max(255),
  auth: z
    .strictObject({
      type: z.enum(Object.keys(authTypes) as [AuthType, ...AuthType[]]),
      ...keyFields,
      /** Taken from the peer as well, while keys are changed. */
      alsoAccept: z.strictObject(keyFields).optional(),
    })
    .optional(),
  adminDown: z.boolean().optional(),
});

/** The whole set of an owner: the body of `PUT /v1/sessions/:owner`, and what is kept on disk. */
export const wantedSessions = z.array(wantedSession);
export type WantedSession = z.output<typeof wantedSession>;

/** @throws BfdDaemonError `bad-session` or `duplicate-session`, naming the place in the list. */
export function specsOf(wanted: readonly WantedSession[]): Map<string, SessionSpec> {
  const specs = new Map<string, SessionSpec>();
  wanted.forEach((each, index) => {
    const spec = specOf(each);
    try {
      checkSpec(spec);
    } catch (cause) {
      if (!(cause instanceof BfdError)) throw cause;
      const { message, field, value, hint } = cause;
      throw new BfdDaemonError('bad-session', `session ${index}: ${message}`, {
        field: `${index}.${field}`,
        value,
        ...(hint === undefined ? {} : { hint }),
      });
    }
    const key = sessionKey(spec);
    if (specs.has(key))
      throw new BfdDaemonError(
        'duplicate-session',
        `session ${index}: ${key} is in the list twice`,
        {
          field: `${index}.remote`,
          value: each.remote,
          hint: 'sessions with one peer must differ in interface, local or multihop',
        },
      );
    specs.set(key, spec);
  });
  return specs;
}

function specOf(wanted: WantedSession): SessionSpec {
  const { local, interface: device, minTtl, auth, adminDown } = wanted;
  return {
    remote: Address.parse(wanted.remote),
    ...(local === undefined ? {} : { local: Address.parse(local) }),
    ...(device === undefined ? {} : { interface: device }),
    hops: wanted.multihop === true ? 'multi' : 'single',
    ...(minTtl === undefined ? {} : { minTtl }),
    desiredMinTx: Micros.fromMillis(wanted.txIntervalMs),
    requiredMinRx: Micros.fromMillis(wanted.rxIntervalMs),
    multiplier: wanted.multiplier,
    ...(auth === undefined
      ? {}
      : {
          auth: {
            type: auth.type,
            ...keyBytes(auth),
            ...(auth.alsoAccept === undefined ? {} : { alsoAccept: keyBytes(auth.alsoAccept) }),
          },
        }),
    ...(adminDown === undefined ? {} : { adminDown }),
  };
}

const text = new TextEncoder();
const keyBytes = ({ keyId, key }: { readonly keyId: number; readonly key: string }) => ({
  keyId,
  key: text.encode(key),
});

/** As it may be shown. */
export function redacted(wanted: WantedSession): WantedSession {
  const { auth } = wanted;
  if (auth === undefined) return wanted;
  const { alsoAccept } = auth;
  return {
    ...wanted,
    auth: {
      ...auth,
      key: REDACTED,
      ...(alsoAccept === undefined ? {} : { alsoAccept: { ...alsoAccept, key: REDACTED } }),
    },
  };
}
