import { type Micros, slowInterval } from './values.ts';
import type { ControlPacket } from './wire/control.ts';

/**
 * Which intervals hold: RFC 5880 sections 6.8.2 to 6.8.4 and, for changes, the Poll Sequence of
 * section 6.5. What is advertised counts at once where that is the careful side, and otherwise when
 * the peer has confirmed it by a Final.
 */
export class Intervals {
  /** bfd.DesiredMinTxInterval and bfd.RequiredMinRxInterval, as they go out. */
  desiredMinTx: Micros = slowInterval;
  requiredMinRx: Micros;
  /** As last received; a peer never heard of takes everything (section 6.8.1: 1). */
  remoteDesiredMinTx: Micros = slowInterval;
  remoteMinRx: Micros = 1 as Micros;
  remoteMultiplier = 0;
  /** A Poll Sequence is under way: packets go out with P until one comes with F. */
  polling = false;
  /** Values changed during a Poll Sequence, so that another must follow it. */
  #again = false;
  #tx: Micros = slowInterval;
  #rx: Micros;

  constructor(requiredMinRx: Micros) {
    this.requiredMinRx = requiredMinRx;
    this.#rx = requiredMinRx;
  }

  /**
   * Advertises these from now on; returns whether they are news. In a session that is up, "the actual
   * transmission interval used MUST NOT change until the Poll Sequence ... has terminated" when it
   * grows, nor the detection time when what we require shrinks.
   */
  advertise(desiredMinTx: Micros, requiredMinRx: Micros, up: boolean): boolean {
    if (desiredMinTx === this.desiredMinTx && requiredMinRx === this.requiredMinRx) return false;
    this.desiredMinTx = desiredMinTx;
    this.requiredMinRx = requiredMinRx;
    if (!up) {
      // A departure: no Poll Sequence while the session is not up. Each packet of the peer's brings
      // an answer at the slow rate anyway, and what holds then is decided by going up.
      this.#tx = desiredMinTx;
      this.#rx = requiredMinRx;
      this.endPoll();
      return true;
    }
    this.#tx = Math.min(this.#tx, desiredMinTx) as Micros;
    this.#rx = Math.max(this.#rx, requiredMinRx) as Micros;
    if (this.polling) this.#again = true;
    else this.polling = true;
    return true;
  }

  heard(packet: ControlPacket): void {
    this.remoteDesiredMinTx = packet.desiredMinTx;
    this.remoteMinRx = packet.requiredMinRx;
    this.remoteMultiplier = packet.multiplier;
  }

  /** A Final came: the Poll Sequence has terminated. */
  confirmed(): void {
    if (!this.polling) return;
    this.polling = false;
    if (this.#again) return;
    this.#tx = this.desiredMinTx;
    this.#rx = this.requiredMinRx;
  }

  /** Between two Poll Sequences a packet goes out without P, so that their Finals can be told apart. */
  sentWithoutPoll(): void {
    if (!this.#again) return;
    this.#again = false;
    this.polling = true;
  }

  /** A Poll Sequence is under way or about to be. */
  get pollWanted(): boolean {
    return this.polling || this.#again;
  }

  endPoll(): void {
    this.polling = false;
    this.#again = false;
  }

  /** The peer is gone, and its wishes with it. */
  forgetPeer(): void {
    this.remoteMinRx = 1 as Micros;
    this.remoteDesiredMinTx = slowInterval;
  }

  /** Section 6.8.2: how often we transmit, before jitter; undefined while the peer wants nothing. */
  get transmitInterval(): number | undefined {
    return this.remoteMinRx === 0 ? undefined : Math.max(this.#tx, this.remoteMinRx);
  }

  /** Section 6.8.4: how long the peer may be silent. */
  get detectionTime(): number {
    return this.remoteMultiplier * Math.max(this.#rx, this.remoteDesiredMinTx);
  }

  /** How long the peer waits for us: its detection time, calculated from our side. */
  peerDetectionTime(multiplier: number): number {
    return multiplier * Math.max(this.desiredMinTx, this.#tx, this.remoteMinRx);
  }
}

/**
 * Section 6.8.7: each interval is reduced by 0 to 25%, and with a multiplier of 1 to no more than 90%
 * and no less than 75% of it. `chance` is from 0 to below 1.
 */
export function jittered(interval: number, multiplier: number, chance: number): number {
  return multiplier === 1 ? interval * (0.75 + 0.15 * chance) : interval * (0.75 + 0.25 * chance);
}
