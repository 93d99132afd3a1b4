import type { ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';
import type { Lab } from '../lab.ts';
import { endChild, TrafficClient } from './traffic-client.ts';

/** Echoes every datagram, over both families; says so when it listens. */
const ECHO = `
const socket = require('node:dgram').createSocket({ type: 'udp6', ipv6Only: false, recvBufferSize: 1 << 20 });
socket.on('message', (data, from) => socket.send(data, from.port, from.address, () => {}));
socket.bind(Number(process.argv[1]), () => console.log('ready'));`;

/**
 * Sends numbered datagrams to every target in turn over several sockets, so that equal paths are all used,
 * and counts which come back. Ends when its standard input does; prints one line of JSON.
 */
const CLIENT = `
const { targets, everyMs, sockets } = JSON.parse(process.argv[1]);
const now = () => performance.timeOrigin + performance.now();
const rows = targets.map((target) => ({ ...target, sent: [], back: new Set(), errors: {} }));
const ends = rows.map((row, index) => Array.from({ length: sockets }, () => {
  const socket = require('node:dgram').createSocket({ type: row.address.includes(':') ? 'udp6' : 'udp4', recvBufferSize: 1 << 20 });
  socket.on('message', (data) => { rows[index].back.add(data.readUInt32BE(0)); });
  socket.on('error', (error) => { row.errors[error.code] = (row.errors[error.code] ?? 0) + 1; });
  return socket;
}));
let turn = 0;
const timer = setInterval(() => {
  for (const [index, row] of rows.entries()) {
    const data = Buffer.alloc(64);
    data.writeUInt32BE(row.sent.length);
    row.sent.push(now());
    ends[index][turn % sockets].send(data, row.port, row.address, (error) => { if (error) row.errors[error.code] = (row.errors[error.code] ?? 0) + 1; });
  }
  turn += 1;
  if (turn === 20) console.log('running');
}, everyMs);
process.stdin.resume().on('end', () => {
  clearInterval(timer);
  setTimeout(() => {
    console.log(JSON.stringify(rows.map(({ name, address, sent, back, errors }) => ({
      name, address, sent: sent.length, received: back.size, errors,
      lost: sent.map((at, number) => (back.has(number) ? 0 : at)).filter((at) => at !== 0),
    }))));
    process.exit();
  }, 500);
});`;

export interface LoadTarget {
  /** Whose it is, for the report. */
  readonly name: string;
  readonly address: string;
  readonly port: number;
}

export interface LoadResult {
  readonly name: string;
  readonly address: string;
  readonly sent: number;
  readonly received: number;
  /** Milliseconds since 1970 at which what never came back was sent. */
  readonly lost: readonly number[];
  readonly errors: Readonly<Record<string, number>>;
}

/** Starts echo servers in places; they end with the returned stack. */
export async function echoServers(
  lab: Pick<Lab, 'spawn'>,
  places: readonly string[],
  port: number,
): Promise<AsyncDisposableStack> {
  const stack = new AsyncDisposableStack();
  for (const place of places) {
    const child = lab.spawn(place, [process.execPath, '-e', ECHO, String(port)], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    stack.defer(() => endChild(child));
    await firstLine(child);
  }
  return stack;
}

/** Datagrams from a place to targets, until it is told to stop. */
export class Load extends TrafficClient<LoadResult> {
  /** Returns when datagrams flow. */
  static async start(
    lab: Pick<Lab, 'spawn'>,
    from: string,
    targets: readonly LoadTarget[],
    options: { readonly everyMs?: number; readonly sockets?: number } = {},
  ): Promise<Load> {
    const { everyMs = 10, sockets = 16 } = options;
    return new Load(lab, from, CLIENT, { targets, everyMs, sockets }).flows();
  }
}

/** Each target's row in words, for reports and messages. */
export function loadInWords(results: readonly LoadResult[]): string {
  return results
    .map(({ name, address, sent, received, lost, errors }) => {
      const span = lost.length === 0 ? '' : ` within ${Math.round(lost.at(-1)! - lost[0]!)} ms`;
      const codes = Object.keys(errors).length === 0 ? '' : ` ${JSON.stringify(errors)}`;
      return `${name} ${address}: ${sent - received} of ${sent} lost${span}${codes}`;
    })
    .join('; ');
}

async function firstLine(child: ChildProcess): Promise<void> {
  await createInterface({ input: child.stdout! })[Symbol.asyncIterator]().next();
}
