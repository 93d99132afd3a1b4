import type { Socket } from 'node:net';
import { Address } from '@causeway/ip';
import { connectTcp, type Fd, linkLocalDevice, type Netns, socketFd } from '@causeway/linux';
import type { ConnectionId, Endpoints } from '../events.ts';
import type { ShellEffect } from './core.ts';

/** One connection to a neighbour, as the shell keeps it. */
export interface Connection {
  readonly id: ConnectionId;
  readonly peer: string;
  readonly socket: Socket;
  family: 'ipv4' | 'ipv6';
  open: boolean;
  corked: boolean;
  blocked: boolean;
  /** In the list of those to be asked for UPDATEs. */
  waiting: boolean;
  /** Read, and put aside. */
  unread: Uint8Array | undefined;
}

export const newConnection = (
  id: ConnectionId,
  peer: string,
  family: 'ipv4' | 'ipv6',
  socket: Socket,
): Connection => ({
  id,
  peer,
  socket,
  family,
  open: false,
  corked: false,
  blocked: false,
  waiting: false,
  unread: undefined,
});

const text = new TextEncoder();

/** A socket that connects, as configured: address, device, MD5 key, TTL. Throws LinuxError. */
export function openSocket(
  { target, options }: Extract<ShellEffect, { type: 'connect' }>,
  ns: Netns | undefined,
): Fd {
  const family = Address.family(target.address);
  return connectTcp({
    ...(ns === undefined ? {} : { ns }),
    remote: { address: Address.toBytes(target.address), port: target.port ?? 179 },
    ...(options.ttl === undefined ? {} : { ttl: options.ttl }),
    ...(options.minTtl === undefined ? {} : { minTtl: options.minTtl }),
    ...(target.device === undefined ? {} : { device: target.device }),
    ...(target.localAddress === undefined
      ? {}
      : {
          local: {
            address: Address.toBytes(target.localAddress),
            ...(target.localPort === undefined ? {} : { port: target.localPort }),
          },
        }),
    ...(options.password === undefined
      ? {}
      : {
          md5: {
            address: Address.toBytes(target.address),
            prefixLength: family === 'ipv4' ? 32 : 128,
            key: text.encode(options.password),
          },
        }),
  });
}

export function endpointsOf(socket: Socket): Endpoints {
  const device = socket.remoteAddress?.startsWith('fe80:')
    ? linkLocalDevice(socketFd(socket))
    : undefined;
  return {
    localAddress: addressOf(socket.localAddress),
    localPort: socket.localPort ?? 0,
    remoteAddress: addressOf(socket.remoteAddress),
    remotePort: socket.remotePort ?? 0,
    ...(device === undefined ? {} : { device }),
  };
}

function addressOf(text: string | undefined): Address {
  return Address.parse((text ?? '').replace(/%.*$/, ''));
}
