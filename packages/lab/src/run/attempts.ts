import type { Lab } from '../lab.ts';
import type { LoadTarget } from './load.ts';
import { TrafficClient } from './traffic-client.ts';

/**
 * Connects to every target again and again, each time anew, and takes the first line that comes for an answer.
 * Ends when its standard input does and the last attempt is over; prints one line of JSON.
 */
const CLIENT = `
const net = require('node:net');
const { targets, everyMs, patienceMs } = JSON.parse(process.argv[1]);
const now = () => performance.timeOrigin + performance.now();
const rows = targets.map((target) => ({ ...target, attempts: 0, answered: 0, last: now(), gap: 0, backends: {} }));
let open = 0;
let stopped;
const end = () => {
  console.log(JSON.stringify(rows.map(({ name, address, attempts, answered, gap, last, backends }) => ({
    name, address, attempts, answered, longestGapMs: Math.max(gap, stopped - last), backends,
  }))));
  process.exit();
};
const attempt = (row) => {
  row.attempts += 1;
  open += 1;
  const socket = net.connect(row.port, row.address);
  const timer = setTimeout(() => socket.destroy(), patienceMs);
  socket.once('data', (data) => {
    const name = data.toString().split(/\\s/)[0];
    row.answered += 1;
    row.backends[name] = (row.backends[name] ?? 0) + 1;
    row.gap = Math.max(row.gap, now() - row.last);
    row.last = now();
    socket.destroy();
  });
  socket.on('error', () => {});
  socket.on('close', () => {
    clearTimeout(timer);
    open -= 1;
    if (stopped !== undefined && open === 0) end();
  });
};
let running = false;
const timer = setInterval(() => {
  for (const row of rows) attempt(row);
  if (!running && rows.every(({ answered }) => answered > 0)) { running = true; console.log('running'); }
}, everyMs);
process.stdin.resume().on('end', () => {
  clearInterval(timer);
  stopped = now();
  if (open === 0) end();
});`;

export interface AttemptsResult {
  readonly name: string;
  readonly address: string;
  readonly attempts: number;
  readonly answered: number;
  /** The longest time without an answer, from one to the next. */
  readonly longestGapMs: number;
  /** Answers by the name that they gave. */
  readonly backends: Readonly<Record<string, number>>;
}

/** Connection attempts from a place to servers that say their name (`tcp`), until it is told to stop. */
export class Attempts extends TrafficClient<AttemptsResult> {
  /** Returns when every target has answered once. */
  static async start(
    lab: Pick<Lab, 'spawn'>,
    from: string,
    targets: readonly LoadTarget[],
    options: { readonly everyMs?: number; readonly patienceMs?: number } = {},
  ): Promise<Attempts> {
    const { everyMs = 50, patienceMs = 1000 } = options;
    return new Attempts(lab, from, CLIENT, { targets, everyMs, patienceMs }).flows();
  }
}
