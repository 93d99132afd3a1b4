import { callError } from './errors.ts';
import { Fd } from './fd.ts';
import { lastErrno, libc } from './ffi/libc.ts';
import { setSocketOption } from './socket-options.ts';
import { encodeSocketName } from './sockets.ts';

const inet6 = 10;
const raw = 3; // SOCK_RAW
const nonBlocking = 0x800;
const closeOnExec = 0x80000;
const icmp6 = 58; // IPPROTO_ICMPV6
const dontWait = 0x40;
const multicastInterface = { level: 41, name: 17 } as const;
const multicastHops = { level: 41, name: 18 } as const;
const multicastLoop = { level: 41, name: 19 } as const;

/** Which types the socket does not take: a bit each, set for all but Router Advertisements. linux/icmpv6.h */
const typeFilter = { level: 58, name: 1 } as const;
const advertisement = 134;
/** Advertisements that are looked at in one go; what is beyond waits in the socket, and the rest of a flood is lost there. */
const mostAtOnce = 64;

/** ff02::1, all nodes of the link. */
const allNodes = Uint8Array.of(0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1);

/** A router on a link told of itself. */
export interface HeardRouter {
  readonly ifindex: number;
  /** 16 bytes, link-local. */
  readonly address: Uint8Array;
}

/**
 * Makes this node known on a link by Router Advertisements (RFC 4861 section 4.2), as routers do whose BGP
 * neighbours are found by link and not by address. The router lifetime is 0: nobody takes us for a default
 * router by it, but everybody on the link learns our link-local address. And hears the others': the kernel of a node
 * that forwards makes nothing of advertisements that do not say their sender's link-layer address.
 */
export class RouterAdvertiser implements Disposable {
  readonly #fd: Fd;

  /** Of the calling thread's namespace. Needs CAP_NET_RAW. */
  constructor() {
    const number = libc.socket(inet6, raw | nonBlocking | closeOnExec, icmp6);
    if (number < 0) throw callError('open raw ICMPv6 socket', lastErrno());
    this.#fd = Fd.adopt(number, 'router advertisements');
    try {
      // Receivers drop an advertisement that may have passed a router (section 6.1.2).
      setSocketOption(number, multicastHops, 255);
      setSocketOption(number, multicastLoop, 0);
      const taken = new Uint8Array(32).fill(0xff);
      taken[advertisement >> 3]! &= ~(1 << (advertisement & 7));
      setSocketOption(number, typeFilter, taken);
    } catch (error) {
      this.#fd.close();
      throw error;
    }
  }

  /** One advertisement on a link. 0, or the errno of why it did not go. `mac`: of the link, if it has one. */
  send(ifindex: number, mac: Uint8Array): number {
    setSocketOption(this.#fd.number, multicastInterface, ifindex);
    const bytes = routerAdvertisement(mac);
    const to = encodeSocketName(allNodes, 0, ifindex);
    const sent = libc.sendto(this.#fd.number, bytes, bytes.length, dontWait, to, to.length);
    return sent < 0 ? lastErrno() : 0;
  }

  /** Routers that told of themselves since the last call, on any link; a link-local source has passed no router. */
  heard(): HeardRouter[] {
    const routers: HeardRouter[] = [];
    const data = new Uint8Array(1);
    const name = new Uint8Array(28);
    const size = new Uint32Array(1);
    for (let taken = 0; taken < mostAtOnce; taken++) {
      size[0] = name.length;
      if (libc.recvfrom(this.#fd.number, data, data.length, dontWait, name, size) < 0) break;
      // struct sockaddr_in6: family, port, flow information (4), address (16), scope.
      const address = name.slice(8, 24);
      const ifindex = new DataView(name.buffer).getUint32(24, true);
      if (address[0] === 0xfe && (address[1]! & 0xc0) === 0x80) routers.push({ ifindex, address });
    }
    return routers;
  }

  close(): void {
    this.#fd.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/**
 * Type 134, code 0, checksum (2, the kernel's work), current hop limit (0: no word on it), flags, router lifetime
 * (2), reachable time (4), retransmission timer (4); option 1, source link-layer address, in units of 8 bytes.
 */
function routerAdvertisement(mac: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(mac.length === 6 ? 24 : 16);
  bytes[0] = advertisement;
  if (mac.length === 6) bytes.set([1, 1, ...mac], 16);
  return bytes;
}
