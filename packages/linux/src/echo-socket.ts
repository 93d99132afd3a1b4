import { callError } from './errors.ts';
import { Fd } from './fd.ts';
import { lastErrno, libc } from './ffi/libc.ts';
import { setSocketOption } from './socket-options.ts';
import { encodeSocketName } from './sockets.ts';

const inet = 2;
const inet6 = 10;
const raw = 3; // SOCK_RAW
const nonBlocking = 0x800;
const closeOnExec = 0x80000;
const dontWait = 0x40;
const icmp = 1; // IPPROTO_ICMP
const icmp6 = 58; // IPPROTO_ICMPV6

/** Types that the socket does not take: a bit each. linux/icmp.h (32 bits), linux/icmpv6.h (256 bits) */
const filter4 = { level: 255, name: 1 } as const;
const filter6 = { level: icmp6, name: 1 } as const;

const types = {
  ipv4: { request: 8, reply: 0 },
  ipv6: { request: 128, reply: 129 },
} as const;

/** Replies that are looked at in one go; a flood of them is lost in the socket. */
const mostAtOnce = 64;

/**
 * Asks one host for ICMP echoes (RFC 792, RFC 4443 section 4): its kernel answers, whatever its programs do. Nothing
 * waits: what has come is taken when it is asked for.
 */
export class EchoSocket implements Disposable {
  readonly #fd: Fd;
  readonly #v6: boolean;
  readonly #identifier: number;

  /** @param identifier 16 bits that tell this socket's echoes from others'. Needs CAP_NET_RAW. */
  constructor(address: Uint8Array, identifier: number) {
    const name = encodeSocketName(address, 0);
    this.#v6 = address.length === 16;
    this.#identifier = identifier & 0xffff;
    const [domain, protocol] = this.#v6 ? [inet6, icmp6] : [inet, icmp];
    const number = libc.socket(domain, raw | nonBlocking | closeOnExec, protocol);
    if (number < 0) throw callError('open raw ICMP socket', lastErrno());
    this.#fd = Fd.adopt(number, 'ICMP echoes');
    try {
      const { reply } = this.#v6 ? types.ipv6 : types.ipv4;
      const refused = new Uint8Array(this.#v6 ? 32 : 4).fill(0xff);
      refused[reply >> 3]! &= ~(1 << (reply & 7));
      setSocketOption(number, this.#v6 ? filter6 : filter4, refused);
      // Only what that host sends is taken.
      if (libc.connect(number, name, name.length) < 0) {
        throw callError('connect raw ICMP socket', lastErrno(), address);
      }
    } catch (error) {
      this.#fd.close();
      throw error;
    }
  }

  /** One request with a sequence number of 16 bits. 0, or the errno of why it did not go. */
  send(sequence: number): number {
    const bytes = new Uint8Array(8);
    const view = new DataView(bytes.buffer);
    bytes[0] = this.#v6 ? types.ipv6.request : types.ipv4.request;
    view.setUint16(4, this.#identifier);
    view.setUint16(6, sequence & 0xffff);
    // Of ICMPv6 the kernel sums, as it knows the source.
    if (!this.#v6) view.setUint16(2, checksum(view));
    const sent = libc.send(this.#fd.number, bytes, bytes.length, dontWait);
    return sent < 0 ? lastErrno() : 0;
  }

  /** The sequence numbers of what has been answered since the last call. */
  heard(): number[] {
    const found: number[] = [];
    // IPv4 comes with its header of up to 60 bytes; the rest of a longer packet is cut off.
    const bytes = new Uint8Array(68);
    const view = new DataView(bytes.buffer);
    for (let taken = 0; taken < mostAtOnce; taken++) {
      const length = libc.recv(this.#fd.number, bytes, bytes.length, dontWait);
      if (length < 0) {
        // An error that the host's network has sent, such as unreachable: told once, then the queue goes on.
        const again = 11; // EAGAIN
        if (lastErrno() === again) break;
        continue;
      }
      const at = this.#v6 ? 0 : (bytes[0]! & 0x0f) * 4;
      if (length < at + 8 || view.getUint16(at + 4) !== this.#identifier) continue;
      found.push(view.getUint16(at + 6));
    }
    return found;
  }

  close(): void {
    this.#fd.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/** RFC 1071, of an even number of bytes. */
function checksum(view: DataView): number {
  let sum = 0;
  for (let at = 0; at < view.byteLength; at += 2) sum += view.getUint16(at);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}
