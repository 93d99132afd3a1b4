import { encodeMessage } from './wire/message.ts';
import type { PeerHeader } from './wire/peer-header.ts';

/** Offsets in a message with a per-peer header. */
const LENGTH = 1;
const SECONDS = 6 + 34;

const NO_UPDATE = new Uint8Array(0);

/**
 * Common and per-peer header of Route Monitoring, encoded once for a table; each message needs only its length
 * and its time.
 */
export class RouteStamp {
  readonly #template: Uint8Array;

  constructor(peer: PeerHeader) {
    this.#template = encodeMessage({ type: 'route-monitoring', peer, update: NO_UPDATE });
  }

  /** The 48 bytes that stand before an UPDATE of this length. `timestamp` in microseconds since 1970. */
  header(updateLength: number, timestamp: number): Uint8Array {
    const bytes = this.#template.slice();
    const view = new DataView(bytes.buffer);
    view.setUint32(LENGTH, bytes.length + updateLength);
    view.setUint32(SECONDS, Math.floor(timestamp / 1_000_000));
    view.setUint32(SECONDS + 4, timestamp % 1_000_000);
    return bytes;
  }
}
