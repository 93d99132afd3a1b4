import { callError, invalidArgument } from './errors.ts';
import { Fd } from './fd.ts';
import { lastErrno, libc } from './ffi/libc.ts';
import type { Netns } from './netns.ts';
import { SocketOption, setSocketOption } from './socket-options.ts';
import { type AddressBytes, encodeSocketName } from './sockets.ts';

/** What a routing protocol asks of a TCP socket in either direction. */
export interface TcpSettings {
  /** TTL or hop limit of what is sent, 1 to 255. */
  readonly ttl?: number;
  /** Segments with less are dropped by the kernel: RFC 5082. Linux 2.6.34, for IPv6 2.6.35. */
  readonly minTtl?: number;
}

/** RFC 2385: the password for segments from and to the addresses of a prefix. */
export interface TcpMd5Key {
  readonly address: AddressBytes;
  /** Bits; a host's key has 32 or 128. Others match a listener's neighbours by range. Linux 4.13. */
  readonly prefixLength: number;
  /** 1 to 80 bytes; empty takes the key away. */
  readonly key: Uint8Array;
}

export interface TcpConnectorOptions extends TcpSettings {
  readonly ns?: Netns;
  /** A link-local address needs `device`. */
  readonly remote: { readonly address: AddressBytes; readonly port: number };
  readonly local?: { readonly address: AddressBytes; readonly port?: number };
  /** Binds to this interface; the addresses' scope follows. */
  readonly device?: string;
  readonly md5?: TcpMd5Key;
}

const inet = 2; // AF_INET
const inet6 = 10; // AF_INET6
const stream = 1 | 0x800 | 0x80000; // SOCK_STREAM, non-blocking, close-on-exec
const maximumKey = 80; // TCP_MD5SIG_MAXKEYLEN
const inProgress = 115; // EINPROGRESS
const prefixFlag = 1; // TCP_MD5SIG_FLAG_PREFIX

/**
 * A TCP socket on its way to `remote`, with all that must be set before: `new Socket({ fd: socket.release() })`. A
 * write of no bytes completes when the connection is there, and fails as it does. Node's own `connect` is not
 * used for it: libuv gives a link-local address a scope of its own choice. Throws what connect(2) says at once.
 */
export function connectTcp(options: TcpConnectorOptions): Fd {
  const { address: remote, port: remotePort } = options.remote;
  const name = encodeSocketName(remote, remotePort);
  const v6 = remote.length === 16;
  const open = () => {
    const number = libc.socket(v6 ? inet6 : inet, stream, 0);
    if (number < 0) throw callError('open socket', lastErrno());
    return Fd.adopt(number, 'socket');
  };
  const socket = options.ns === undefined ? open() : options.ns.run(open);
  try {
    setTcp(socket.number, v6 ? 'ipv6' : 'ipv4', options);
    if (options.device !== undefined) {
      setSocketOption(socket.number, SocketOption.bindToDevice, options.device);
    }
    if (options.md5 !== undefined) setTcpMd5(socket.number, options.md5);
    if (options.local !== undefined) {
      const { address, port = 0 } = options.local;
      setSocketOption(socket.number, SocketOption.reuseAddress, 1);
      const own = encodeSocketName(address, port);
      if (libc.bind(socket.number, own, own.length) < 0) {
        throw callError('bind to port', lastErrno(), port);
      }
    }
    if (libc.connect(socket.number, name, name.length) < 0 && lastErrno() !== inProgress) {
      throw callError('connect to port', lastErrno(), remotePort);
    }
    return socket;
  } catch (error) {
    socket.close();
    throw error;
  }
}

/** Sets what is given on any TCP socket, also on one that Node owns. */
export function setTcp(fd: number, family: 'ipv4' | 'ipv6', { ttl, minTtl }: TcpSettings): void {
  const v6 = family === 'ipv6';
  for (const [name, value] of [
    ['ttl', ttl],
    ['minTtl', minTtl],
  ] as const) {
    if (value !== undefined && (!Number.isInteger(value) || value < 1 || value > 255)) {
      throw invalidArgument('set TCP options', `${name} is 1 to 255, not ${value}`, value);
    }
  }
  if (ttl !== undefined) {
    setSocketOption(fd, v6 ? SocketOption.ipv6HopLimit : SocketOption.ipTtl, ttl);
  }
  if (minTtl !== undefined) {
    setSocketOption(fd, v6 ? SocketOption.ipv6MinHopCount : SocketOption.ipMinTtl, minTtl);
  }
}

/**
 * Adds, changes or takes away a key. The address must be of the socket's own family. Throws LinuxError `not-found`
 * when a key that is to go is not there.
 */
export function setTcpMd5(fd: number, { address, prefixLength, key }: TcpMd5Key): void {
  if (key.length > maximumKey) {
    throw invalidArgument(
      'set TCP MD5 key',
      `a password has at most ${maximumKey} bytes, not ${key.length}`,
      key.length,
    );
  }
  if (!Number.isInteger(prefixLength) || prefixLength < 0 || prefixLength > address.length * 8) {
    throw invalidArgument(
      'set TCP MD5 key',
      `${prefixLength} is no prefix length of the address`,
      prefixLength,
    );
  }
  // struct tcp_md5sig: sockaddr_storage (128), flags (1), prefix length (1), key's length (2), ifindex (4), key (80).
  const value = new Uint8Array(216);
  const view = new DataView(value.buffer);
  value.set(encodeSocketName(address, 0));
  view.setUint8(128, prefixFlag);
  view.setUint8(129, prefixLength);
  view.setUint16(130, key.length, true);
  value.set(key, 136);
  setSocketOption(fd, SocketOption.tcpMd5SignatureExt, value);
}

const getInterfaceName = 0x8910; // SIOCGIFNAME

/** The interface that a socket's link-local IPv6 address is on, by name; undefined for other addresses. */
export function linkLocalDevice(fd: number): string | undefined {
  const name = new Uint8Array(28);
  const length = Uint32Array.of(name.length);
  if (libc.getsockname(fd, name, length) < 0) throw callError('read socket name', lastErrno(), fd);
  const view = new DataView(name.buffer);
  const scope = view.getUint16(0, true) === inet6 ? view.getUint32(24, true) : 0;
  if (scope === 0) return undefined;
  // struct ifreq: name (16), index (4). On the socket itself, so that its namespace is meant.
  const request = new Uint8Array(40);
  new DataView(request.buffer).setInt32(16, scope, true);
  if (libc.ioctl(fd, getInterfaceName, request) < 0) {
    throw callError('read interface name', lastErrno(), scope);
  }
  return new TextDecoder().decode(request.subarray(0, request.indexOf(0)));
}
