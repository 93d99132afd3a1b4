/**
 * The far end of a session, no more of BGP than a load needs: OPEN, KEEPALIVE, bytes out, UPDATEs counted. Reads of all
 * connections go through one buffer, so that thousands of them cost no garbage.
 */
import { connect, type Socket } from 'node:net';
import { rawKeepalive, rawOpen } from '@causeway/bgp/testing';
import type { Counter, HostCounter } from './counter.ts';

export interface ConnectionPlan {
  readonly local: string;
  readonly remote: string;
  readonly port: number;
  readonly asn: number;
  readonly routerId: number;
}

const shared = Buffer.alloc(1 << 20);
const HOLD_SECONDS = 240;

export class Connection {
  readonly plan: ConnectionPlan;
  readonly socket: Socket;
  readonly #counter: Counter | HostCounter | undefined;
  /** The beginning of a message that came without its end. */
  #rest: Buffer | undefined;
  established = false;
  /** Bytes of the UPDATEs received. */
  received = 0;
  onEstablished: () => void = () => {};
  onUpdate: () => void = () => {};
  onEnd: (reason: string) => void = () => {};
  readonly #timer: NodeJS.Timeout;

  constructor(plan: ConnectionPlan, counter: Counter | HostCounter | undefined) {
    this.plan = plan;
    this.#counter = counter;
    this.socket = connect({
      host: plan.remote,
      port: plan.port,
      localAddress: plan.local,
      noDelay: true,
      onread: {
        buffer: shared,
        callback: (size, buffer) => {
          this.#read(buffer as Buffer, size);
          return true;
        },
      },
    });
    this.socket.on('connect', () => {
      this.socket.write(
        rawOpen({
          asn: plan.asn,
          routerId: plan.routerId,
          holdTime: HOLD_SECONDS,
          families: ['ipv4'],
        }),
      );
    });
    this.socket.on('error', (error) => this.onEnd(error.message));
    this.socket.on('close', () => this.onEnd('closed'));
    this.#timer = setInterval(() => {
      if (this.established) this.socket.write(rawKeepalive);
    }, HOLD_SECONDS * 250);
  }

  #read(buffer: Buffer, size: number): void {
    let bytes = buffer;
    let end = size;
    if (this.#rest !== undefined) {
      bytes = Buffer.concat([this.#rest, buffer.subarray(0, size)]);
      end = bytes.length;
      this.#rest = undefined;
    }
    let at = 0;
    let updates = false;
    while (at + 19 <= end) {
      const length = (bytes[at + 16]! << 8) | bytes[at + 17]!;
      if (at + length > end) break;
      const type = bytes[at + 18];
      if (type === 2) {
        this.received += length;
        this.#counter?.update(bytes, at, at + length);
        updates = true;
      } else if (type === 1) {
        this.socket.write(rawKeepalive);
      } else if (type === 4 && !this.established) {
        this.established = true;
        this.onEstablished();
      } else if (type === 3) {
        this.onEnd(`NOTIFICATION ${bytes.subarray(at + 19, at + length).toString('hex')}`);
      }
      at += length;
    }
    if (at < end) this.#rest = Buffer.from(bytes.subarray(at, end));
    if (updates) this.onUpdate();
  }

  close(): void {
    clearInterval(this.#timer);
    this.socket.removeAllListeners('close');
    this.socket.on('error', () => {});
    this.socket.destroy();
  }
}
