import { callError, invalidArgument } from './errors.ts';
import { Fd } from './fd.ts';
import { lastErrno, libc } from './ffi/libc.ts';
import type { Netns } from './netns.ts';
import { SocketOption, setSocketOption } from './socket-options.ts';

/** 4 bytes (IPv4) or 16 bytes (IPv6), network order: the kernel's form. */
export type AddressBytes = Uint8Array;

export type SocketName =
  | { readonly family: 'ipv4' | 'ipv6'; readonly address: AddressBytes; readonly port: number }
  | { readonly family: 'unix'; readonly path: string };

export interface InetSocketOptions {
  /** Where the socket lives, whatever namespace its later user is in. */
  readonly ns?: Netns;
  readonly address: AddressBytes;
  readonly port: number;
  readonly mark?: number;
  readonly device?: string;
  readonly reusePort?: boolean;
  readonly v6Only?: boolean;
  /** Bind also to an address that no device has yet. */
  readonly freeBind?: boolean;
  /** The interface that a link-local address is on, by number. */
  readonly scope?: number;
}

const inet = 2; // AF_INET
const inet6 = 10; // AF_INET6
const stream = 1;
const datagram = 2;
const nonBlocking = 0x800; // SOCK_NONBLOCK
const closeOnExec = 0x80000; // SOCK_CLOEXEC

/** A listening TCP socket for `server.listen({ fd: socket.release() })`. */
export function listenTcp(options: InetSocketOptions & { readonly backlog?: number }): Fd {
  const socket = bound(options, stream);
  if (libc.listen(socket.number, options.backlog ?? 511) < 0) {
    const error = callError('listen on port', lastErrno(), options.port);
    socket.close();
    throw error;
  }
  return socket;
}

/** A bound UDP socket for `socket.bind({ fd: socket.release() })` of node:dgram. */
export function bindUdp(options: InetSocketOptions): Fd {
  return bound(options, datagram);
}

function bound(options: InetSocketOptions, type: number): Fd {
  const name = encodeSocketName(options.address, options.port, options.scope);
  const v6 = options.address.length === 16;
  const open = () => {
    const number = libc.socket(v6 ? inet6 : inet, type | nonBlocking | closeOnExec, 0);
    if (number < 0) throw callError('open socket', lastErrno());
    return Fd.adopt(number, 'socket');
  };
  const socket = options.ns === undefined ? open() : options.ns.run(open);
  try {
    const set = (option: { level: number; name: number }, value: number | string) =>
      setSocketOption(socket.number, option, value);
    if (type === stream) set(SocketOption.reuseAddress, 1);
    if (options.reusePort) set(SocketOption.reusePort, 1);
    if (v6) set(SocketOption.ipv6Only, options.v6Only === false ? 0 : 1);
    if (options.mark !== undefined) set(SocketOption.mark, options.mark | 0);
    if (options.device !== undefined) set(SocketOption.bindToDevice, options.device);
    if (options.freeBind) set(v6 ? SocketOption.ipv6FreeBind : SocketOption.ipFreeBind, 1);
    if (libc.bind(socket.number, name, name.length) < 0) {
      throw callError('bind to port', lastErrno(), options.port);
    }
    return socket;
  } catch (error) {
    socket.close();
    throw error;
  }
}

/** struct sockaddr_in or sockaddr_in6; `scope` is the interface of a link-local address. */
export function encodeSocketName(address: AddressBytes, port: number, scope = 0): Uint8Array {
  if (address.length !== 4 && address.length !== 16) {
    throw invalidArgument('socket', `an address has 4 or 16 bytes, not ${address.length}`, address);
  }
  if (!Number.isInteger(port) || port < 0 || port > 65535) {
    throw invalidArgument('socket', `${port} is no port`, port);
  }
  const v6 = address.length === 16;
  const bytes = new Uint8Array(v6 ? 28 : 16);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, v6 ? inet6 : inet, true);
  view.setUint16(2, port);
  bytes.set(address, v6 ? 8 : 4);
  if (v6) view.setUint32(24, scope, true);
  return bytes;
}

/** getsockname(2): also of sockets that Node does not tell the address of. */
export function socketName(fd: number): SocketName {
  const bytes = new Uint8Array(112);
  const length = Uint32Array.of(bytes.length);
  if (libc.getsockname(fd, bytes, length) < 0) throw callError('read socket name', lastErrno(), fd);
  const view = new DataView(bytes.buffer);
  const family = view.getUint16(0, true);
  const port = view.getUint16(2);
  if (family === inet) return { family: 'ipv4', address: bytes.slice(4, 8), port };
  if (family === inet6) return { family: 'ipv6', address: bytes.slice(8, 24), port };
  if (family === 1) {
    const path = new TextDecoder().decode(bytes.subarray(2, length[0]));
    return { family: 'unix', path: path.replace(/\0.*$/s, '') };
  }
  throw invalidArgument('socket name', `address family ${family} is not known here`, family);
}
