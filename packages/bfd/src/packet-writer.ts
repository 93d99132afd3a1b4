import type { Discriminator } from './values.ts';
import { type AuthKey, authLength, authTypes, type Digest, sealPacket } from './wire/auth.ts';
import {
  blankControl,
  type MutableControlPacket,
  mandatoryLength,
  writeControl,
} from './wire/control.ts';

/** A session's packets, each written over the one before: sending them costs no memory. */
export class PacketWriter {
  /** To be filled in before `write`; what is the same in all of a session's packets is in it already. */
  readonly packet: MutableControlPacket = blankControl();
  readonly #digest: Digest;
  #auth: AuthKey | undefined;
  #bytes = new Uint8Array(mandatoryLength);
  /** bfd.XmitAuthSeq. */
  #sequence: number;
  #lastState: MutableControlPacket['state'] | undefined;

  constructor(discriminator: Discriminator, firstSequence: number, digest: Digest) {
    this.packet.myDiscriminator = discriminator;
    // Ours is a process of its own, which outlives the speaker.
    this.packet.controlPlaneIndependent = true;
    this.#sequence = firstSequence;
    this.#digest = digest;
  }

  /** Seals what follows with this key. */
  useKey(auth: AuthKey | undefined): void {
    this.#auth = auth;
    const length = mandatoryLength + (auth === undefined ? 0 : authLength(auth));
    if (length !== this.#bytes.length) this.#bytes = new Uint8Array(length);
    this.packet.authenticated = auth !== undefined;
    this.packet.length = length;
  }

  /** The state that the last packet told. */
  get lastState(): MutableControlPacket['state'] | undefined {
    return this.#lastState;
  }

  write(): Uint8Array {
    const news = this.#lastState !== this.packet.state;
    this.#lastState = this.packet.state;
    writeControl(this.packet, this.#bytes);
    if (this.#auth !== undefined) {
      // Keyed, not meticulous: "occasionally incremented", here whenever the packet says something new.
      if (authTypes[this.#auth.type].meticulous || news)
        this.#sequence = (this.#sequence + 1) >>> 0;
      sealPacket(this.#bytes, this.#auth, this.#sequence, this.#digest);
    }
    return this.#bytes;
  }
}
