import { spawn } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { Address, Mac } from '@causeway/ip';
import { ByteWriter, internetChecksum, pseudoHeaderSum } from '@causeway/wire';
import { type Lab, until } from '../index.ts';
import { endChild } from '../src/run/traffic-client.ts';

/** The relay's own port on the pod's loopback. */
const RELAY_PORT = 47_011;

/** Gives each datagram that it reads on its standard input, one in hex a line, to the relay. */
const FEEDER = `
const socket = require('node:dgram').createSocket('udp4');
const lines = require('node:fs').readFileSync(0, 'utf8').split('\\n').filter((line) => line !== '');
(async () => {
  for (const line of lines)
    await new Promise((done) => socket.send(Buffer.from(line, 'hex'), ${RELAY_PORT}, '127.0.0.1', done));
  socket.close();
})();`;

/**
 * Puts frames on a pod's own interface as they are, Ethernet header and all, as whoever is root in a
 * pod can. socat turns datagrams on the pod's loopback into frames, one for one.
 */
export async function sendFrames(
  lab: Lab,
  place: string,
  frames: readonly Uint8Array[],
): Promise<void> {
  const relay = spawn(
    lab.prefix(place)[0]!,
    [
      ...lab.prefix(place).slice(1),
      ...['socat', '-u', `UDP4-RECV:${RELAY_PORT},bind=127.0.0.1,rcvbuf=4194304`, 'INTERFACE:eth0'],
    ],
    { stdio: 'ignore' },
  );
  try {
    await until(
      'the relay',
      async () => {
        const { stdout } = await lab.exec(place, ['cat', '/proc/net/udp']);
        return stdout.includes(`:${RELAY_PORT.toString(16).toUpperCase()} `)
          ? undefined
          : 'not listening';
      },
      { timeoutMs: 5000 },
    );
    const input = frames.map((frame) => Buffer.from(frame).toString('hex')).join('\n');
    await lab.exec(place, [process.execPath, '-e', FEEDER], { input, timeoutMs: 30_000 });
    await until('the relay to have passed all on', () => waiting(lab, place), {
      timeoutMs: 20_000,
    });
    // The last one is taken from the socket before it goes out.
    await sleep(200);
  } finally {
    await endChild(relay);
  }
}

/** Bytes in the relay's socket: the fifth column of /proc/net/udp is tx_queue:rx_queue. */
async function waiting(lab: Lab, place: string): Promise<string | undefined> {
  const { stdout } = await lab.exec(place, ['cat', '/proc/net/udp']);
  const own = `:${RELAY_PORT.toString(16).toUpperCase()}`;
  const row = stdout.split('\n').find((line) => line.trim().split(/\s+/)[1]?.endsWith(own));
  const left = Number.parseInt(row?.trim().split(/\s+/)[4]?.split(':')[1] ?? '0', 16);
  return left === 0 ? undefined : `${left} bytes wait`;
}

export interface Ends {
  readonly sourceMac: Mac;
  readonly destinationMac: Mac;
  readonly source: string;
  readonly destination: string;
}

/** A UDP datagram in its frame, all checksums right. */
export function udpFrame(ends: Ends, port: number, text: string): Uint8Array {
  const payload = new TextEncoder().encode(text);
  const datagram = new ByteWriter()
    .u16(40_000)
    .u16(port)
    .u16(8 + payload.length)
    .u16(0)
    .bytes(payload)
    .finish();
  return ipFrame(ends, 17, datagram, 6);
}

/** An IP packet with a payload of any protocol; `checksumAt` is where its own checksum goes. */
export function ipFrame(
  ends: Ends,
  protocol: number,
  payload: Uint8Array,
  checksumAt?: number,
): Uint8Array {
  const [source, destination] = [Address.parse(ends.source), Address.parse(ends.destination)];
  const v6 = Address.isIPv6(source);
  const body = payload.slice();
  if (checksumAt !== undefined) {
    const initial = pseudoHeaderSum({
      source: Address.toBytes(source),
      destination: Address.toBytes(destination),
      protocol,
      length: body.length,
    });
    new DataView(body.buffer).setUint16(checksumAt, internetChecksum(body, initial) || 0xffff);
  }
  const header = v6
    ? new ByteWriter().u32(0x6000_0000).u16(body.length).u8(protocol).u8(64)
    : new ByteWriter()
        .u16(0x4500)
        .u16(20 + body.length)
        .u32(0x1234_0000)
        .u8(64)
        .u8(protocol)
        .u16(0);
  const bytes = header
    .bytes(Address.toBytes(source))
    .bytes(Address.toBytes(destination))
    .finish()
    .slice();
  if (!v6) new DataView(bytes.buffer).setUint16(10, internetChecksum(bytes));
  return ethernet(ends, v6 ? 0x86dd : 0x0800, Buffer.concat([bytes, body]));
}

export function ethernet(
  ends: Pick<Ends, 'sourceMac' | 'destinationMac'>,
  type: number,
  payload: Uint8Array,
): Uint8Array {
  return new ByteWriter()
    .bytes(Mac.toBytes(ends.destinationMac))
    .bytes(Mac.toBytes(ends.sourceMac))
    .u16(type)
    .bytes(payload)
    .finish()
    .slice();
}

/** "`address` is at `mac`", unasked (RFC 826, opcode 2). */
export function arpReply(ends: Ends): Uint8Array {
  const body = new ByteWriter()
    .u16(1)
    .u16(0x0800)
    .u8(6)
    .u8(4)
    .u16(2)
    .bytes(Mac.toBytes(ends.sourceMac))
    .bytes(Address.toBytes(Address.parse(ends.source)))
    .bytes(Mac.toBytes(ends.destinationMac))
    .bytes(Address.toBytes(Address.parse(ends.destination)))
    .finish();
  return ethernet(ends, 0x0806, body);
}

/** The same for IPv6: an unsolicited neighbour advertisement with the override flag (RFC 4861, 4.4). */
export function neighbourAdvertisement(ends: Ends, target: string): Uint8Array {
  const body = new ByteWriter()
    .u8(136)
    .u8(0)
    .u16(0)
    .u32(0x2000_0000)
    .bytes(Address.toBytes(Address.parse(target)))
    .u8(2)
    .u8(1)
    .bytes(Mac.toBytes(ends.sourceMac))
    .finish();
  const frame = ipFrame(ends, 58, body, 2);
  frame[14 + 7] = 255; // RFC 4861, 7.1.2: a hop limit other than 255 is no neighbour's
  return frame;
}
