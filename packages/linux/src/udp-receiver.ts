import { callError } from './errors.ts';
import type { Fd } from './fd.ts';
import { lastErrno, libc } from './ffi/libc.ts';
import { addressOf, struct } from './ffi/memory.ts';
import { setSocketOption } from './socket-options.ts';
import { bindUdp, type InetSocketOptions } from './sockets.ts';

const messageSize = 64; // struct mmsghdr on 64-bit Linux
const nameSize = 28; // struct sockaddr_in6
const controlSize = 160;
const dontWait = 0x40; // MSG_DONTWAIT
const truncatedFlag = 0x20; // MSG_TRUNC

const level = { socket: 1, ip: 0, ipv6: 41 } as const;
/** Each option that is set, and the control message that it brings; ip(7), ipv6(7), socket(7). */
const wanted = {
  ipv4: [
    { level: level.ip, name: 12 }, // IP_RECVTTL
    { level: level.ip, name: 8 }, // IP_PKTINFO
  ],
  ipv6: [
    { level: level.ipv6, name: 51 }, // IPV6_RECVHOPLIMIT
    { level: level.ipv6, name: 49 }, // IPV6_RECVPKTINFO
  ],
  both: [
    { level: level.socket, name: 35 }, // SO_TIMESTAMPNS
    { level: level.socket, name: 40 }, // SO_RXQ_OVFL
  ],
} as const;
const control = {
  ttl: 2, // IP_TTL
  packetInfo: 8, // IP_PKTINFO
  hopLimit: 52, // IPV6_HOPLIMIT
  packetInfo6: 50, // IPV6_PKTINFO
  timestamp: 35, // SCM_TIMESTAMPNS
  overflow: 40, // SO_RXQ_OVFL
} as const;
const tryAgain = 11;
const interrupted = 4;

/** One received datagram. The object and its bytes are used again by the next `receive`. */
export interface ReceivedDatagram {
  /** The whole buffer; the datagram is its first `length` bytes. */
  readonly bytes: Uint8Array;
  readonly length: number;
  /** The datagram was longer than the buffer. */
  readonly truncated: boolean;
  /** 16 bytes in network order, IPv4 as ::ffff:a.b.c.d. */
  readonly source: Uint8Array;
  readonly sourcePort: number;
  readonly destination: Uint8Array;
  /** The interface that it came in by. */
  readonly ifindex: number;
  /** TTL or hop limit as received; -1 if the kernel did not say. */
  readonly ttl: number;
  /** When the kernel got it, microseconds of wall-clock time; 0 if it did not say. */
  readonly receivedAt: number;
}

type Slot = { -readonly [K in keyof ReceivedDatagram]: ReceivedDatagram[K] };

/**
 * Receives datagrams in batches by recvmmsg(2) with what node:dgram cannot give: TTL, interface,
 * destination address and the time of arrival. Memory is set aside once; receiving allocates nothing.
 */
export class UdpReceiver implements Disposable {
  readonly fd: Fd;
  readonly #family: 'ipv4' | 'ipv6';
  readonly #slots: Slot[] = [];
  readonly #names: Uint8Array<ArrayBuffer>;
  readonly #messages: ReturnType<typeof struct>;
  readonly #control: ReturnType<typeof struct>;
  #overflowed = 0;

  constructor(
    options: InetSocketOptions & { readonly batch: number; readonly bufferSize: number },
  ) {
    this.#family = options.address.length === 4 ? 'ipv4' : 'ipv6';
    const { batch, bufferSize } = options;
    const payload = struct(batch * bufferSize);
    const names = struct(batch * nameSize);
    this.#names = names.bytes;
    this.#control = struct(batch * controlSize);
    // The I/O vectors stand behind the messages, so that whoever holds these holds those.
    this.#messages = struct(batch * (messageSize + 16));
    const vectors = batch * messageSize;
    const address = (memory: { bytes: Uint8Array }, offset: number) =>
      addressOf(memory.bytes) + BigInt(offset);
    for (let i = 0; i < batch; i++) {
      const { view } = this.#messages;
      const at = i * messageSize;
      view.setBigUint64(vectors + i * 16, address(payload, i * bufferSize), true);
      view.setBigUint64(vectors + i * 16 + 8, BigInt(bufferSize), true);
      view.setBigUint64(at, address(names, i * nameSize), true);
      view.setBigUint64(at + 16, address(this.#messages, vectors + i * 16), true);
      view.setBigUint64(at + 24, 1n, true);
      view.setBigUint64(at + 32, address(this.#control, i * controlSize), true);
      this.#slots.push({
        bytes: payload.bytes.subarray(i * bufferSize, (i + 1) * bufferSize),
        length: 0,
        truncated: false,
        source: mapped(),
        sourcePort: 0,
        destination: mapped(),
        ifindex: 0,
        ttl: -1,
        receivedAt: 0,
      });
    }
    this.fd = bindUdp(options);
    try {
      for (const option of [...wanted[this.#family], ...wanted.both])
        setSocketOption(this.fd.number, option, 1);
    } catch (error) {
      this.fd.close();
      throw error;
    }
  }

  /** Datagrams that the kernel dropped for want of room or by the socket's filter, as of the last receive. */
  get dropped(): number {
    return this.#overflowed;
  }

  /** How many datagrams one `receive` can bring. */
  get batch(): number {
    return this.#slots.length;
  }

  /** Takes what is queued, up to a batch, without waiting; the first `n` of `datagram(i)` are new then. */
  receive(): number {
    const { view, bytes } = this.#messages;
    for (let at = 0; at < this.#slots.length * messageSize; at += messageSize) {
      view.setUint32(at + 8, nameSize, true);
      view.setUint32(at + 40, controlSize, true);
      view.setUint32(at + 44, 0, true);
    }
    const count = libc.recvmmsg(this.fd.number, bytes, this.#slots.length, dontWait, null);
    if (count < 0) {
      const errno = lastErrno();
      if (errno === tryAgain || errno === interrupted) return 0;
      throw callError('receive datagrams', errno);
    }
    for (let i = 0; i < count; i++) this.#read(i);
    return count;
  }

  datagram(index: number): ReceivedDatagram {
    const slot = this.#slots[index];
    if (slot === undefined)
      throw new RangeError(`no datagram ${index} in a batch of ${this.batch}`);
    return slot;
  }

  #read(index: number): void {
    const slot = this.#slots[index]!;
    const { view } = this.#messages;
    const at = index * messageSize;
    slot.length = view.getUint32(at + 56, true);
    slot.truncated = (view.getUint32(at + 48, true) & truncatedFlag) !== 0;
    const name = index * nameSize;
    slot.sourcePort = (this.#names[name + 2]! << 8) | this.#names[name + 3]!;
    if (this.#family === 'ipv4') copy(this.#names, name + 4, slot.source, 12, 4);
    else copy(this.#names, name + 8, slot.source, 0, 16);
    slot.ttl = -1;
    slot.ifindex = 0;
    slot.receivedAt = 0;
    const start = index * controlSize;
    this.#readControl(slot, start, start + view.getUint32(at + 40, true));
  }

  #readControl(slot: Slot, start: number, end: number): void {
    const { view, bytes } = this.#control;
    for (let at = start; at + 16 <= end; ) {
      const length = view.getUint32(at, true);
      if (length < 16) return;
      const kind = view.getInt32(at + 12, true);
      const data = at + 16;
      switch (view.getInt32(at + 8, true)) {
        case level.ip:
          if (kind === control.ttl) slot.ttl = view.getInt32(data, true);
          else if (kind === control.packetInfo) {
            slot.ifindex = view.getInt32(data, true);
            copy(bytes, data + 8, slot.destination, 12, 4);
          }
          break;
        case level.ipv6:
          if (kind === control.hopLimit) slot.ttl = view.getInt32(data, true);
          else if (kind === control.packetInfo6) {
            copy(bytes, data, slot.destination, 0, 16);
            slot.ifindex = view.getInt32(data + 16, true);
          }
          break;
        case level.socket:
          if (kind === control.timestamp)
            slot.receivedAt =
              (view.getUint32(data, true) + view.getInt32(data + 4, true) * 2 ** 32) * 1e6 +
              Math.floor(view.getUint32(data + 8, true) / 1000);
          else if (kind === control.overflow) this.#overflowed = view.getUint32(data, true);
          break;
      }
      at += (length + 7) & ~7;
    }
  }

  close(): void {
    this.fd.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

function copy(from: Uint8Array, at: number, to: Uint8Array, offset: number, count: number): void {
  for (let i = 0; i < count; i++) to[offset + i] = from[at + i]!;
}

/** Room for an address, as an IPv4 one to begin with. */
function mapped(): Uint8Array {
  const bytes = new Uint8Array(16);
  bytes[10] = 0xff;
  bytes[11] = 0xff;
  return bytes;
}
