import { Address } from '@causeway/ip';
import type { StateChange } from './changes.ts';
import { DeadlineHeap } from './deadline-heap.ts';
import { type DiscardReason, noDiscards } from './discards.ts';
import { BfdError } from './errors.ts';
import { type Seal, sealed } from './seal.ts';
import { Session, type SessionTools } from './session.ts';
import { checkSpec, type SessionSpec, sameSpec, sessionKey } from './spec.ts';
import type { Discriminator, Hops } from './values.ts';
import { blankControl, readControl } from './wire/control.ts';

/** A UDP datagram on one of the two ports, with what the kernel knows of it. */
export interface BfdDatagram {
  /** The payload is the first `length` bytes. */
  readonly bytes: Uint8Array;
  readonly length: number;
  /** Which port it came to. */
  readonly hops: Hops;
  /** TTL or hop limit as received. */
  readonly ttl: number;
  /** 16 bytes in network order, IPv4 as ::ffff:a.b.c.d. */
  readonly source: Uint8Array;
  readonly destination: Uint8Array;
  readonly ifindex: number;
}

/** What the core wants done, in order. A `send`'s bytes and the list itself are used again. */
export type BfdEffect =
  | { readonly type: 'send'; readonly session: Session; readonly bytes: Uint8Array }
  | { readonly type: 'changed'; readonly session: Session; readonly change: StateChange }
  /** The session is gone: nothing is sent for it any more. */
  | { readonly type: 'removed'; readonly session: Session };

export interface EngineOptions extends SessionTools {
  /** The most sessions at a time; 4,096 unless told. */
  readonly limit?: number;
  /** Of all our discriminators, so that a filter can tell them; without, they are any numbers. */
  readonly seal?: Seal;
}

/** What `configure` did to each session, by its key. */
export type ConfigureResult = ReadonlyMap<string, 'added' | 'updated' | 'unchanged' | 'removed'>;

/**
 * All sessions of a system: who a packet is for, and who is due. No I/O: bytes and times come in,
 * effects go out. Times are microseconds of one steady clock. Nothing that is received makes a session,
 * so what strangers send costs no memory.
 */
export class BfdEngine {
  /** Datagrams that were discarded, by reason: those of known sessions too. */
  readonly discards = noDiscards();
  readonly #options: EngineOptions;
  readonly #limit: number;
  readonly #byKey = new Map<string, Session>();
  readonly #byDiscriminator = new Map<number, Session>();
  readonly #byRemote = new Map<Address, Session[]>();
  readonly #due = new DeadlineHeap<Session>();
  readonly #effects: BfdEffect[] = [];
  readonly #sends = new WeakMap<Session, Extract<BfdEffect, { type: 'send' }>>();
  readonly #packet = blankControl();
  readonly #batch: Session[] = [];
  readonly #out = {
    send: (session: Session, bytes: Uint8Array) => {
      this.#effects.push(this.#sendOf(session, bytes));
    },
    changed: (session: Session, change: StateChange) => {
      this.#effects.push({ type: 'changed', session, change });
    },
  };

  constructor(options: EngineOptions) {
    this.#options = options;
    this.#limit = options.limit ?? 4096;
  }

  /** When `advance` is to be called at the latest. */
  get deadline(): number {
    return this.#due.next;
  }

  /** Those being removed, which tell their peers so, are among them. */
  sessions(): IterableIterator<Session> {
    return this.#byKey.values();
  }

  session(key: string): Session | undefined {
    return this.#byKey.get(key);
  }

  /**
   * Makes the sessions be exactly these: others are removed, known ones updated without a fall.
   * Throws BfdError `bad-session`, `duplicate-session` or `too-many-sessions` before anything is changed.
   */
  configure(
    wanted: readonly SessionSpec[],
    now: number,
  ): { readonly results: ConfigureResult; readonly effects: readonly BfdEffect[] } {
    const specs = this.#checked(wanted);
    this.#effects.length = 0;
    const results = new Map<string, 'added' | 'updated' | 'unchanged' | 'removed'>();
    for (const session of [...this.#byKey.values()]) {
      if (specs.has(session.key)) continue;
      if (session.lingersUntil !== Number.POSITIVE_INFINITY) continue;
      results.set(session.key, 'removed');
      if (session.remove(now)) this.#due.settle(session);
      else this.#forget(session);
    }
    for (const [key, spec] of specs) {
      const session = this.#byKey.get(key);
      if (session === undefined) {
        this.#add(spec, now);
        results.set(key, 'added');
        continue;
      }
      const lingering = session.lingersUntil !== Number.POSITIVE_INFINITY;
      const same = !lingering && sameSpec(session.spec, spec);
      if (!same) {
        session.update(spec, now);
        this.#due.settle(session);
      }
      results.set(key, lingering ? 'added' : same ? 'unchanged' : 'updated');
    }
    return { results, effects: this.#effects };
  }

  /** Makes the session's next periodic packet due: it can be sent now, which it could not before. */
  hurry(session: Session, now: number): void {
    if (session.nextTransmit > now && session.nextTransmit !== Number.POSITIVE_INFINITY)
      session.nextTransmit = now;
    this.#due.settle(session);
  }

  /** A datagram that came at `at`, which may be a while ago. */
  receive(datagram: BfdDatagram, at: number): readonly BfdEffect[] {
    this.#effects.length = 0;
    const reason = this.#take(datagram, at);
    if (reason !== undefined) this.discards[reason]++;
    return this.#effects;
  }

  /**
   * Does what is due at `now`: first all packets, so that a late process does not add to its lateness,
   * then the verdicts. `heardUntil` is the time up to which everything that came has been received:
   * silence after it proves nothing yet.
   */
  advance(now: number, heardUntil = now): readonly BfdEffect[] {
    this.#effects.length = 0;
    const due = this.#batch;
    for (let s = this.#due.firstDue(now); s !== undefined; s = this.#due.firstDue(now)) {
      due.push(s);
      this.#due.remove(s);
      // One that has expired says so instead, by the one packet that it has room for.
      if (s.expires > heardUntil) s.transmitDue(now);
    }
    for (const session of due) {
      session.expireDue(heardUntil, now);
      if (session.lingersUntil <= now) this.#forget(session);
      else this.#due.add(session);
    }
    due.length = 0;
    return this.#effects;
  }

  #take(datagram: BfdDatagram, at: number): DiscardReason | undefined {
    // RFC 5881 section 5: "MUST be discarded if the received TTL or Hop Limit is not equal to 255".
    if (datagram.hops === 'single' && datagram.ttl !== 255) return 'ttl';
    const packet = this.#packet;
    const reason = readControl(datagram.bytes, datagram.length, packet);
    if (reason !== undefined) return reason;
    const session =
      packet.yourDiscriminator !== 0
        ? this.#byDiscriminator.get(packet.yourDiscriminator)
        : this.#match(datagram);
    if (session === undefined)
      return packet.yourDiscriminator !== 0 ? 'unknown-discriminator' : 'unknown-peer';
    const { spec } = session;
    const unfit =
      spec.hops !== datagram.hops
        ? 'wrong-port'
        : spec.hops === 'multi' && datagram.ttl < (spec.minTtl ?? 1)
          ? 'ttl'
          : undefined;
    if (unfit !== undefined) {
      session.discards[unfit]++;
      return unfit;
    }
    const before = session.deadline;
    const refused = session.receive(packet, datagram.bytes, at);
    if (session.deadline < before) this.#due.sooner(session);
    return refused;
  }

  /** The session of a first packet: the one that names most of what the packet has. */
  #match(datagram: BfdDatagram): Session | undefined {
    const candidates = this.#byRemote.get(Address.fromBytes(datagram.source));
    if (candidates === undefined) return undefined;
    const destination = Address.fromBytes(datagram.destination);
    let best: Session | undefined;
    let bestScore = -1;
    for (const session of candidates) {
      const { spec } = session;
      if (spec.hops !== datagram.hops) continue;
      if (spec.local !== undefined && spec.local !== destination) continue;
      if (spec.interface !== undefined && session.interfaceIndex !== datagram.ifindex) continue;
      const score = (spec.interface === undefined ? 0 : 2) + (spec.local === undefined ? 0 : 1);
      if (score <= bestScore) continue;
      best = session;
      bestScore = score;
    }
    return best;
  }

  #checked(wanted: readonly SessionSpec[]): Map<string, SessionSpec> {
    if (wanted.length > this.#limit)
      throw new BfdError('too-many-sessions', `${wanted.length} sessions exceed ${this.#limit}`, {
        field: 'sessions',
        value: wanted.length,
        hint: 'raise the limit if this was meant',
      });
    const specs = new Map<string, SessionSpec>();
    wanted.forEach((spec) => {
      checkSpec(spec);
      const key = sessionKey(spec);
      if (specs.has(key))
        throw new BfdError('duplicate-session', `there are two sessions with ${key}`, {
          field: 'remote',
          value: key,
          hint: 'sessions with one peer must differ in local address or interface',
        });
      specs.set(key, spec);
    });
    return specs;
  }

  #add(spec: SessionSpec, now: number): void {
    const session = new Session(spec, this.#discriminator(), this.#options, this.#out, now);
    this.#byKey.set(session.key, session);
    this.#byDiscriminator.set(session.discriminator, session);
    const others = this.#byRemote.get(spec.remote);
    if (others === undefined) this.#byRemote.set(spec.remote, [session]);
    else others.push(session);
    this.#due.add(session);
  }

  #forget(session: Session): void {
    this.#due.remove(session);
    this.#byKey.delete(session.key);
    this.#byDiscriminator.delete(session.discriminator);
    const others = this.#byRemote.get(session.spec.remote)?.filter((other) => other !== session);
    if (others === undefined || others.length === 0) this.#byRemote.delete(session.spec.remote);
    else this.#byRemote.set(session.spec.remote, others);
    this.#effects.push({ type: 'removed', session });
  }

  /** Random, so that a stranger cannot guess it and an old session's packets do not meet a new one. */
  #discriminator(): Discriminator {
    for (;;) {
      const { random, seal } = this.#options;
      const chance = random() >>> 0;
      const value = seal === undefined ? (chance as Discriminator) : sealed(seal, chance);
      if (value !== 0 && !this.#byDiscriminator.has(value)) return value;
    }
  }

  #sendOf(session: Session, bytes: Uint8Array): BfdEffect {
    const known = this.#sends.get(session);
    if (known !== undefined && known.bytes === bytes) return known;
    const effect = { type: 'send', session, bytes } as const;
    this.#sends.set(session, effect);
    return effect;
  }
}
