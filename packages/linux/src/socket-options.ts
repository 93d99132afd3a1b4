import { callError, invalidArgument } from './errors.ts';
import { lastErrno, libc } from './ffi/libc.ts';
import { cString } from './ffi/memory.ts';

export interface SocketOptionId {
  readonly level: number;
  readonly name: number;
}

const socketLevel = 1; // SOL_SOCKET
const ip = 0; // IPPROTO_IP
const tcp = 6; // IPPROTO_TCP
const ipv6 = 41; // IPPROTO_IPV6

/** Options that Node has no call for; socket(7), ip(7), ipv6(7), tcp(7). */
export const SocketOption = {
  reuseAddress: { level: socketLevel, name: 2 },
  sendBuffer: { level: socketLevel, name: 7 },
  receiveBuffer: { level: socketLevel, name: 8 },
  reusePort: { level: socketLevel, name: 15 },
  peerCredentials: { level: socketLevel, name: 17 },
  bindToDevice: { level: socketLevel, name: 25 },
  receiveBufferForce: { level: socketLevel, name: 33 },
  mark: { level: socketLevel, name: 36 },
  cookie: { level: socketLevel, name: 57 },
  netnsCookie: { level: socketLevel, name: 71 },
  ipTos: { level: ip, name: 1 },
  ipTtl: { level: ip, name: 2 },
  ipMtuDiscover: { level: ip, name: 10 },
  ipFreeBind: { level: ip, name: 15 },
  ipTransparent: { level: ip, name: 19 },
  ipMinTtl: { level: ip, name: 21 },
  ipv6HopLimit: { level: ipv6, name: 16 },
  ipv6Only: { level: ipv6, name: 26 },
  ipv6TrafficClass: { level: ipv6, name: 67 },
  ipv6MinHopCount: { level: ipv6, name: 73 },
  ipv6Transparent: { level: ipv6, name: 75 },
  ipv6FreeBind: { level: ipv6, name: 78 },
  tcpMaxSegment: { level: tcp, name: 2 },
  tcpMd5Signature: { level: tcp, name: 14 },
  tcpMd5SignatureExt: { level: tcp, name: 32 },
  tcpUserTimeout: { level: tcp, name: 18 },
} as const satisfies Record<string, SocketOptionId>;

/** The option's bytes, at most `size` of them. */
export function getSocketOption(fd: number, option: SocketOptionId, size = 4): Uint8Array {
  const value = new Uint8Array(size);
  const length = Uint32Array.of(size);
  if (libc.getsockopt(fd, option.level, option.name, value, length) < 0) {
    throw callError('read socket option', lastErrno(), `${option.level}/${option.name}`);
  }
  return value.subarray(0, length[0]);
}

/** An option whose value is an int. */
export function getIntOption(fd: number, option: SocketOptionId): number {
  const bytes = getSocketOption(fd, option, 4);
  return new DataView(bytes.buffer).getInt32(0, true);
}

/** Numbers as int, text NUL-terminated, anything else as its bytes. */
export function setSocketOption(
  fd: number,
  option: SocketOptionId,
  value: number | string | Uint8Array,
): void {
  const bytes =
    typeof value === 'number'
      ? new Uint8Array(Int32Array.of(value).buffer)
      : typeof value === 'string'
        ? cString(value)
        : value;
  if (libc.setsockopt(fd, option.level, option.name, bytes, bytes.length) < 0) {
    throw callError('set socket option', lastErrno(), `${option.level}/${option.name}`);
  }
}

/** SO_PEERCRED: who is at the other end of a Unix socket, as of its connect(). */
export function peerCredentials(fd: number): {
  readonly pid: number;
  readonly uid: number;
  readonly gid: number;
} {
  const bytes = getSocketOption(fd, SocketOption.peerCredentials, 12);
  const view = new DataView(bytes.buffer);
  return {
    pid: view.getInt32(0, true),
    uid: view.getUint32(4, true),
    gid: view.getUint32(8, true),
  };
}

/** The descriptor under a net.Socket, net.Server or dgram.Socket, which keeps owning it. */
export function socketFd(socket: object): number {
  const handleOf = (holder: unknown) =>
    (holder as { _handle?: { fd?: number } })._handle?.fd ??
    (holder as { handle?: { fd?: number } }).handle?.fd;
  // dgram keeps its handle behind a private symbol.
  const state = Object.getOwnPropertySymbols(socket).find((s) => s.description === 'state symbol');
  const fd = handleOf(
    state === undefined ? socket : (socket as unknown as Record<symbol, unknown>)[state],
  );
  if (typeof fd !== 'number' || fd < 0) {
    throw invalidArgument('socket descriptor', 'the socket is not open', socket);
  }
  return fd;
}
