import type { Fd } from './fd.ts';
import { lastErrno, libc } from './ffi/libc.ts';
import { attachSocketFilter, refuseAll } from './socket-filter.ts';
import { SocketOption, setSocketOption } from './socket-options.ts';
import { bindUdp, encodeSocketName, type InetSocketOptions } from './sockets.ts';

export interface UdpSenderOptions extends InetSocketOptions {
  readonly remote: { readonly address: Uint8Array; readonly port: number; readonly scope?: number };
  readonly ttl: number;
  /** DSCP and ECN as one byte: 0xc0 for CS6, what routing protocols use. */
  readonly trafficClass: number;
}

const dontWait = 0x40; // MSG_DONTWAIT

/**
 * A UDP socket that only sends, always to the same place. What comes to its port is dropped by the
 * kernel. Sending allocates nothing.
 */
export class UdpSender implements Disposable {
  readonly #fd: Fd;
  readonly #remote: Uint8Array;

  constructor(options: UdpSenderOptions) {
    const { remote } = options;
    this.#remote = encodeSocketName(remote.address, remote.port, remote.scope);
    this.#fd = bindUdp(options);
    try {
      const v6 = options.address.length === 16;
      const fd = this.#fd.number;
      setSocketOption(fd, v6 ? SocketOption.ipv6HopLimit : SocketOption.ipTtl, options.ttl);
      setSocketOption(
        fd,
        v6 ? SocketOption.ipv6TrafficClass : SocketOption.ipTos,
        options.trafficClass,
      );
      attachSocketFilter(fd, refuseAll);
    } catch (error) {
      this.#fd.close();
      throw error;
    }
  }

  /** Sends one datagram without waiting. 0, or the errno of why it did not go. */
  send(bytes: Uint8Array): number {
    const sent = libc.sendto(
      this.#fd.number,
      bytes,
      bytes.length,
      dontWait,
      this.#remote,
      this.#remote.length,
    );
    return sent < 0 ? lastErrno() : 0;
  }

  close(): void {
    this.#fd.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/** The interface's number, or undefined where there is none of that name in this thread's namespace. */
export function interfaceIndex(name: string): number | undefined {
  return libc.ifNameToIndex(name) || undefined;
}
