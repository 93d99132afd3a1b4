import { BfdError } from './errors.ts';

declare const microsBrand: unique symbol;
/** A length of time in microseconds, whole, 0 to 2^32-1: how RFC 5880 writes intervals. */
export type Micros = number & { readonly [microsBrand]: 'Micros' };

export const Micros = Object.freeze({
  /** Throws BfdError `bad-session` naming `field`. */
  of(value: number, field = 'interval'): Micros {
    if (!Number.isInteger(value) || value < 0 || value > 0xffff_ffff)
      throw new BfdError(
        'bad-session',
        `${field} is ${value}: it must be 0 to 4294967295 whole microseconds`,
        { field, value },
      );
    return value as Micros;
  },
  fromMillis: (value: number, field?: string): Micros => Micros.of(Math.round(value * 1000), field),
});

declare const discriminatorBrand: unique symbol;
/** What tells a session from all others of one system: 32 bits, not zero. Zero stands for "not known". */
export type Discriminator = number & { readonly [discriminatorBrand]: 'Discriminator' };

/** RFC 5880 section 4.1, field Sta. The place in the list is the number on the wire. */
export const sessionStates = ['admin-down', 'down', 'init', 'up'] as const;
export type SessionState = (typeof sessionStates)[number];
export const stateCode: Readonly<Record<SessionState, number>> = {
  'admin-down': 0,
  down: 1,
  init: 2,
  up: 3,
};

/** RFC 5880 section 4.1, field Diag, and RFC 6428 (9); IANA's registry leaves the rest unassigned. */
const assigned = [
  'none',
  'detection-time-expired',
  'echo-failed',
  'neighbor-signaled-down',
  'forwarding-plane-reset',
  'path-down',
  'concatenated-path-down',
  'administratively-down',
  'reverse-concatenated-path-down',
  'mis-connectivity',
] as const;
export type Diagnostic = (typeof assigned)[number] | `unassigned-${number}`;

export const diagnostics: readonly Diagnostic[] = Object.freeze(
  Array.from({ length: 32 }, (_, code) => assigned[code] ?? (`unassigned-${code}` as const)),
);
export const diagnosticCode: ReadonlyMap<Diagnostic, number> = new Map(
  diagnostics.map((name, code) => [name, code]),
);

/** "MUST NOT be less than one second": how often a session transmits at most until it is up (section 6.8.3). */
export const slowInterval = 1_000_000 as Micros;

/** UDP ports of RFC 5881 section 4 and RFC 5883 section 5, and those that packets come from. */
export const bfdPort = Object.freeze({ single: 3784, multi: 4784 });
export const sourcePorts = Object.freeze({ first: 49152, last: 65535 });

/** One IP hop (RFC 5881) or several (RFC 5883). */
export type Hops = 'single' | 'multi';
