import type { ChangeReason, Signal, StateChange } from './changes.ts';
import { type DiscardReason, noDiscards } from './discards.ts';
import { eventOfState, type FsmEvent, transitions } from './fsm.ts';
import { Intervals, jittered } from './intervals.ts';
import { PacketWriter } from './packet-writer.ts';
import { type SessionSpec, sameAuth, sameSeal, sessionKey } from './spec.ts';
import {
  type Diagnostic,
  type Discriminator,
  type Micros,
  type SessionState,
  slowInterval,
} from './values.ts';
import { checkPacket, type Digest } from './wire/auth.ts';
import type { ControlPacket } from './wire/control.ts';

/** Where a session's doings go. `send`'s bytes are the session's own and used again. */
export interface SessionOutput {
  send(session: Session, bytes: Uint8Array): void;
  changed(session: Session, change: StateChange): void;
}

export interface SessionTools {
  /** A random 32-bit number. */
  readonly random: () => number;
  readonly digest: Digest;
}

/** One session: the variables of RFC 5880 section 6.8.1 and what moves them. Times in microseconds. */
export class Session {
  readonly key: string;
  readonly discriminator: Discriminator;
  spec: SessionSpec;
  state: SessionState = 'down';
  diagnostic: Diagnostic = 'none';
  remoteState: SessionState = 'down';
  remoteDiagnostic: Diagnostic = 'none';
  remoteDiscriminator: Discriminator | 0 = 0;
  remoteDemand = false;
  /** C of the peer's last packet: RFC 5882 section 4.3 asks for it at a graceful restart. */
  remoteControlPlaneIndependent = false;
  readonly intervals: Intervals;
  /** The number of `spec.interface` for now; 0 where there is none. */
  interfaceIndex = 0;

  /** When the next periodic packet goes, and when the peer's silence has lasted too long. */
  nextTransmit: number;
  expires = Number.POSITIVE_INFINITY;
  /** Being removed: AdminDown is told to the peer until then. */
  lingersUntil = Number.POSITIVE_INFINITY;
  /** Where the owner's heap of deadlines has it. */
  heapIndex = -1;

  received = 0;
  sent = 0;
  sendErrors = 0;
  readonly discards = noDiscards();
  flaps = 0;
  upSince: number | undefined;
  lastChange: StateChange | undefined;
  lastDown: (StateChange & { readonly wasUpFor: number }) | undefined;
  signal: Signal = 'unknown';

  readonly #tools: SessionTools;
  readonly #out: SessionOutput;
  readonly #writer: PacketWriter;
  #lastHeard = Number.NEGATIVE_INFINITY;
  readonly #window = { known: false, last: 0 };

  constructor(
    spec: SessionSpec,
    discriminator: Discriminator,
    tools: SessionTools,
    out: SessionOutput,
    now: number,
  ) {
    this.key = sessionKey(spec);
    this.spec = spec;
    this.discriminator = discriminator;
    this.#tools = tools;
    this.#out = out;
    this.#writer = new PacketWriter(discriminator, tools.random() >>> 0, tools.digest);
    this.#writer.useKey(spec.auth);
    this.intervals = new Intervals(spec.requiredMinRx);
    this.#advertise();
    this.nextTransmit = now;
    if (spec.adminDown) this.#move('disable', { type: 'disabled' }, now);
  }

  /** The earliest time at which `advance` has something to do. */
  get deadline(): number {
    return Math.min(this.nextTransmit, this.expires, this.lingersUntil);
  }

  /** How long the peer may be silent before the session falls; 0 before it was first heard. */
  get detectionTime(): number {
    return this.intervals.detectionTime;
  }

  /** When the last packet that counted came; undefined before the first. */
  get lastHeard(): number | undefined {
    return Number.isFinite(this.#lastHeard) ? this.#lastHeard : undefined;
  }

  /** Takes other values for the same session: timers by a Poll Sequence, the rest at once. */
  update(spec: SessionSpec, now: number): void {
    const { auth, multiplier } = this.spec;
    this.spec = spec;
    this.lingersUntil = Number.POSITIVE_INFINITY;
    if (!sameAuth(auth, spec.auth)) this.#window.known = false;
    if (!sameSeal(auth, spec.auth)) this.#writer.useKey(spec.auth);
    const news = this.#advertise() || multiplier !== spec.multiplier;
    if (spec.adminDown && this.state !== 'admin-down')
      this.#move('disable', { type: 'disabled' }, now);
    else if (!spec.adminDown && this.state === 'admin-down')
      this.#move('enable', { type: 'enabled' }, now);
    else if (news) this.#transmit(now, false);
    this.#rearm(now);
  }

  /**
   * Takes the session down for good: the peer hears AdminDown "for at least a Detection Time" (section
   * 6.8.16), so that it does not take our absence for a fault. Returns false when there is nobody to tell.
   */
  remove(now: number): boolean {
    const known = this.remoteDiscriminator !== 0;
    if (this.state !== 'admin-down') this.#move('disable', { type: 'removed' }, now);
    if (!known) return false;
    this.lingersUntil = now + this.intervals.peerDetectionTime(this.spec.multiplier);
    return true;
  }

  /**
   * A packet that passed the checks which need no session, and came for this one at `at`; the rest of
   * section 6.8.6. Returns why it was discarded, if it was.
   */
  receive(packet: ControlPacket, bytes: Uint8Array, at: number): DiscardReason | undefined {
    const reason = this.#refuse(packet, bytes, at);
    if (reason !== undefined) {
      this.discards[reason]++;
      return reason;
    }
    const { intervals } = this;
    this.remoteDiscriminator = packet.myDiscriminator;
    this.remoteState = packet.state;
    this.remoteDiagnostic = packet.diagnostic;
    this.remoteDemand = packet.demand;
    this.remoteControlPlaneIndependent = packet.controlPlaneIndependent;
    const before = intervals.transmitInterval;
    intervals.heard(packet);
    if (packet.final) intervals.confirmed();
    // Packets may be read late: they count from when they came.
    if (at > this.#lastHeard) this.#lastHeard = at;
    this.expires = this.#lastHeard + intervals.detectionTime;
    if (this.state === 'admin-down') {
      this.discards['admin-down']++;
      return 'admin-down';
    }
    this.received++;
    this.#move(eventOfState[packet.state], undefined, at);
    this.expires = this.#lastHeard + intervals.detectionTime;
    if (packet.poll) this.#transmit(at, true);
    else if (this.#writer.lastState !== this.state) this.#transmit(at, false);
    const resting = this.nextTransmit === Number.POSITIVE_INFINITY;
    if (intervals.transmitInterval !== before || this.#silenced !== resting) this.#rearm(at);
    return undefined;
  }

  /** Sends what is due at `now`. Apart from `expire`, so that a late process sends before it judges. */
  transmitDue(now: number): void {
    if (this.nextTransmit > now) return;
    if (this.#silenced) this.nextTransmit = Number.POSITIVE_INFINITY;
    else this.#transmit(now, false);
  }

  /**
   * Section 6.8.4, when everything that came before `heardUntil` has been received. Returns whether
   * the silence was too long.
   */
  expireDue(heardUntil: number, now: number): boolean {
    if (this.expires > heardUntil) return false;
    const { detectionTime } = this.intervals;
    const silentFor = heardUntil - this.#lastHeard;
    this.expires = Number.POSITIVE_INFINITY;
    // "If a period of a Detection Time passes without the receipt of a valid ... packet", section 6.8.1.
    this.remoteDiscriminator = 0;
    this.remoteDemand = false;
    this.intervals.forgetPeer();
    this.#move('detection-expired', { type: 'detection-expired', silentFor, detectionTime }, now);
    if (this.#writer.lastState !== this.state) this.#transmit(now, false);
    this.#rearm(now);
    return true;
  }

  #refuse(packet: ControlPacket, bytes: Uint8Array, at: number): DiscardReason | undefined {
    const { auth } = this.spec;
    if (auth === undefined) return packet.authenticated ? 'auth-unexpected' : undefined;
    if (!packet.authenticated) return 'auth-missing';
    // bfd.AuthSeqKnown: "set to zero after no packets have been received on this session for at least
    // twice the Detection Time".
    if (at - this.#lastHeard > 2 * this.intervals.detectionTime) this.#window.known = false;
    const { length, multiplier } = packet;
    return checkPacket(bytes, length, multiplier, auth, this.#window, this.#tools.digest);
  }

  #move(event: FsmEvent, why: ChangeReason | undefined, at: number): void {
    const from = this.state;
    const { to, diagnostic } = transitions[from][event];
    if (diagnostic !== undefined) this.diagnostic = diagnostic;
    this.#judge(event, to);
    if (to === from) return;
    const change = {
      from,
      to,
      reason: why ?? this.#reasonOf(event),
      diagnostic: this.diagnostic,
      at,
    };
    this.state = to;
    this.lastChange = change;
    if (to === 'up') this.upSince = at;
    else if (from === 'up') {
      this.flaps++;
      this.lastDown = { ...change, wasUpFor: at - (this.upSince ?? at) };
      this.upSince = undefined;
      this.intervals.endPoll();
    }
    this.#advertise();
    this.#out.changed(this, change);
    // "... to more rapidly communicate a change in state" (section 6.8.7); receive and expire send theirs.
    if (event === 'disable' || event === 'enable') this.#transmit(at, false);
  }

  #reasonOf(event: FsmEvent): ChangeReason {
    const { remoteDiagnostic } = this;
    switch (event) {
      case 'receive-admin-down':
        return { type: 'neighbor-admin-down', remoteDiagnostic };
      case 'receive-down':
        return this.state === 'up'
          ? { type: 'neighbor-down', remoteDiagnostic }
          : { type: 'handshake' };
      default:
        return { type: 'handshake' };
    }
  }

  #judge(event: FsmEvent, to: SessionState): void {
    if (to === 'up') this.signal = 'up';
    else if (this.signal === 'unknown') return;
    else if (event === 'receive-admin-down' || event === 'disable') this.signal = 'administrative';
    else if (this.state === 'up') this.signal = 'failed';
  }

  /** Section 6.8.3: "When bfd.SessionState is not Up, the system MUST set bfd.DesiredMinTxInterval to a
   *  value of not less than one second". */
  #advertise(): boolean {
    const up = this.state === 'up';
    const { desiredMinTx, requiredMinRx } = this.spec;
    const tx = up ? desiredMinTx : (Math.max(desiredMinTx, slowInterval) as Micros);
    return this.intervals.advertise(tx, requiredMinRx, up);
  }

  /** Section 6.8.7: the peer wants no periodic packets; in Demand mode only our own Poll breaks that. */
  get #silenced(): boolean {
    if (this.intervals.transmitInterval === undefined) return true;
    return (
      this.remoteDemand &&
      this.state === 'up' &&
      this.remoteState === 'up' &&
      !this.intervals.pollWanted
    );
  }

  /** After a change of intervals: what was due later comes sooner, what was due sooner stays. */
  #rearm(now: number): void {
    const { transmitInterval, detectionTime } = this.intervals;
    if (this.#silenced || transmitInterval === undefined)
      this.nextTransmit = Number.POSITIVE_INFINITY;
    else this.nextTransmit = Math.min(this.nextTransmit, now + this.#jitter(transmitInterval));
    if (Number.isFinite(this.expires)) this.expires = this.#lastHeard + detectionTime;
  }

  #jitter(interval: number): number {
    return jittered(interval, this.spec.multiplier, this.#tools.random() / 2 ** 32);
  }

  #transmit(now: number, final: boolean): void {
    const { intervals, spec } = this;
    const { packet } = this.#writer;
    packet.diagnostic = this.diagnostic;
    packet.state = this.state;
    // "A packet with the Final (F) bit set ... MUST NOT have the Poll (P) bit set."
    packet.poll = intervals.polling && !final;
    packet.final = final;
    packet.multiplier = spec.multiplier;
    packet.yourDiscriminator = this.remoteDiscriminator;
    packet.desiredMinTx = intervals.desiredMinTx;
    packet.requiredMinRx = intervals.requiredMinRx;
    this.sent++;
    this.#out.send(this, this.#writer.write());
    if (!packet.poll && !final) intervals.sentWithoutPoll();
    // An answer to a Poll comes in addition, so that polls cannot put off the periodic packets.
    if (!final || this.nextTransmit <= now) {
      const interval = intervals.transmitInterval;
      this.nextTransmit =
        interval === undefined || this.#silenced
          ? Number.POSITIVE_INFINITY
          : now + this.#jitter(interval);
    }
  }
}
