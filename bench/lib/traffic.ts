/**
 * Load generators of the field, each started in a place (a command prefix that enters a namespace), run
 * for a bounded time, and read back as one number.
 */
import type { ChildProcess } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { quantile } from './benchmark.ts';
import { startChild, temporaryDirectory } from './interrupt.ts';

/**
 * Load generators stand on a processor each: where the scheduler happens to put two processes changes a
 * request's time more than any path does. No priority is set, for it would starve the kernel's own
 * packet threads.
 */
const apart = availableParallelism() > 1;
const CLIENT_CPU = 0;
const SERVER_CPU = 1;
const pinned = (cpu: number): string[] => (apart ? ['taskset', '-c', String(cpu)] : []);

/** A command prefix such as `['ip', 'netns', 'exec', 'node-1']`; empty for this very namespace. */
export type Place = readonly string[];

interface Output {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs one command in a place; kills it after `seconds`. */
export async function runIn(place: Place, argv: readonly string[], seconds = 60): Promise<Output> {
  const child = startChild([...place, ...argv], { stdio: ['ignore', 'pipe', 'pipe'] });
  const timer = setTimeout(() => child.kill('SIGKILL'), seconds * 1000);
  let stdout = '';
  let stderr = '';
  child.stdout?.on('data', (chunk: Buffer) => {
    stdout += chunk.toString();
  });
  child.stderr?.on('data', (chunk: Buffer) => {
    stderr += chunk.toString();
  });
  const code = await new Promise<number>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (status) => resolve(status ?? 137));
  });
  clearTimeout(timer);
  return { code, stdout, stderr };
}

async function must(
  place: Place,
  argv: readonly string[],
  seconds: number,
  cpu = CLIENT_CPU,
): Promise<string> {
  const output = await runIn(place, [...pinned(cpu), ...argv], seconds);
  if (output.code !== 0) {
    throw new Error(`${argv.join(' ')} failed (${output.code}): ${output.stderr || output.stdout}`);
  }
  return output.stdout;
}

/** A server that ends with its `await using` block. */
export interface Server extends AsyncDisposable {
  readonly child: ChildProcess;
}

async function serve(place: Place, argv: readonly string[], after?: () => void): Promise<Server> {
  const child = startChild([...place, ...pinned(SERVER_CPU), ...argv], { stdio: 'ignore' });
  await new Promise((resolve, reject) => {
    child.on('spawn', resolve);
    child.on('error', reject);
  });
  return {
    child,
    async [Symbol.asyncDispose]() {
      if (child.exitCode === null && child.signalCode === null) {
        const ended = new Promise((resolve) => child.once('close', resolve));
        child.kill('SIGTERM');
        const timer = setTimeout(() => child.kill('SIGKILL'), 2000);
        await ended;
        clearTimeout(timer);
      }
      after?.();
    },
  };
}

/** Polls until something listens on the port in the place. */
async function listening(place: Place, port: number, kind: 'tcp' | 'udp'): Promise<void> {
  const flag = kind === 'tcp' ? '-tlnH' : '-ulnH';
  for (let attempt = 0; attempt < 100; attempt += 1) {
    const { stdout } = await runIn(place, ['ss', flag, `sport = :${port}`]);
    if (stdout.trim() !== '') return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`nothing listens on ${kind} port ${port}`);
}

export async function iperfServer(place: Place, port = 5201): Promise<Server> {
  const server = await serve(place, ['iperf3', '-s', '-p', String(port)]);
  await listening(place, port, 'tcp');
  return server;
}

const SOCKPERF_PORT = 11111;
const QPERF_PORT = 19765;

/** Answers requests of one message each: sockperf for IPv4, and qperf for IPv6, which sockperf does not speak. */
export async function requestServer(place: Place): Promise<Server> {
  const stack = new AsyncDisposableStack();
  const four = stack.use(await serve(place, ['sockperf', 'sr', '--tcp', '-p', `${SOCKPERF_PORT}`]));
  stack.use(await serve(place, ['qperf', '-lp', String(QPERF_PORT)]));
  await listening(place, SOCKPERF_PORT, 'tcp');
  await listening(place, QPERF_PORT, 'tcp');
  return { child: four.child, [Symbol.asyncDispose]: () => stack.disposeAsync() };
}

/** A web server that answers every request with 204 and closes: for the rate of new connections. */
export async function webServer(place: Place, port = 8080): Promise<Server> {
  const temporary = temporaryDirectory();
  const directory = temporary.path;
  const configuration = join(directory, 'nginx.conf');
  writeFileSync(
    configuration,
    `daemon off; worker_processes 1; pid ${directory}/pid; error_log ${directory}/error;
     events { worker_connections 4096; }
     http { access_log off; server { listen ${port}; listen [::]:${port}; keepalive_timeout 0; location / { return 204; } } }`,
  );
  const server = await serve(place, ['nginx', '-p', directory, '-c', configuration], () =>
    temporary[Symbol.dispose](),
  );
  await listening(place, port, 'tcp');
  return server;
}

/**
 * Bulk TCP, in Gbit/s: what a fifth of the tenths of a second reach or exceed, which is what the path
 * carries while the machine does nothing else.
 */
export async function tcpStream(
  place: Place,
  address: string,
  seconds: number,
  port = 5201,
): Promise<number> {
  const text = await must(
    place,
    [
      'iperf3',
      '-J',
      // Its pace does not hang on timers, as BBR's does, which a busy machine keeps late.
      ...['-C', 'cubic', '-i', '0.1', '-O', '0.5'],
      ...['-c', address, '-p', String(port), '-t', String(seconds)],
    ],
    seconds + 20,
  );
  const { intervals } = JSON.parse(text) as {
    intervals: { sum: { bits_per_second: number; omitted: boolean } }[];
  };
  const rates = intervals.filter(({ sum }) => !sum.omitted).map(({ sum }) => sum.bits_per_second);
  return quantile(rates, 0.8) / 1e9;
}

const MICROSECONDS: Readonly<Record<string, number>> = { ns: 1e-3, us: 1, ms: 1e3, sec: 1e6 };

/**
 * Small request and response over one TCP connection, in exchanges per second. IPv4: by the median round
 * trip, which the machine's other work hardly moves; IPv6: by the mean. `together`: client and server
 * share a processor, so that no wake-up of another one hides what the path itself costs.
 */
export async function requestResponse(
  place: Place,
  address: string,
  seconds: number,
  together = false,
): Promise<number> {
  const cpu = together ? SERVER_CPU : CLIENT_CPU;
  const wait = seconds + 20;
  if (address.includes(':')) {
    const ports = ['-lp', String(QPERF_PORT), '-ip', String(QPERF_PORT + 1)];
    const argv = ['qperf', ...ports, '-t', String(seconds), '-m', '1', address, 'tcp_lat'];
    const text = await must(place, argv, wait, cpu);
    const latency = /latency\s+=\s+([\d.]+) (ns|us|ms|sec)/.exec(text);
    if (latency === null) throw new Error(`qperf said no latency: ${text.slice(-400)}`);
    // qperf's latency is one way: half of an exchange.
    return 1e6 / (2 * Number(latency[1]) * (MICROSECONDS[latency[2] ?? ''] ?? Number.NaN));
  }
  const to = ['-i', address, '-p', String(SOCKPERF_PORT)];
  const argv = ['sockperf', 'pp', '--tcp', ...to, '-t', String(seconds), '--full-rtt'];
  const text = await must(place, argv, wait, cpu);
  const median = /percentile 50\.000 =\s+([\d.]+)/.exec(text)?.[1];
  if (median === undefined) throw new Error(`sockperf said no median: ${text.slice(-400)}`);
  return 1e6 / Number(median);
}

/** Small UDP packets sent as fast as the sender can, in packets per second as received. */
export async function udpRate(
  place: Place,
  address: string,
  seconds: number,
  port = 5201,
): Promise<number> {
  const text = await must(
    place,
    [
      'iperf3',
      '-J',
      '-u',
      '-b',
      '0',
      '-l',
      '64',
      '-c',
      address,
      '-p',
      String(port),
      '-t',
      String(seconds),
    ],
    seconds + 20,
  );
  const parsed = JSON.parse(text) as {
    end: { sum: { packets: number; lost_packets: number; seconds: number } };
  };
  const { packets, lost_packets: lost, seconds: took } = parsed.end.sum;
  return (packets - lost) / took;
}

/** Connect, one request, close: in connections per second. */
export async function connectRate(
  place: Place,
  address: string,
  connections: number,
  port = 8080,
): Promise<number> {
  const host = address.includes(':') ? `[${address}]` : address;
  const text = await must(
    place,
    ['ab', '-q', '-n', String(connections), '-c', '4', `http://${host}:${port}/`],
    120,
  );
  const rate = /Requests per second:\s+([\d.]+)/.exec(text);
  if (rate?.[1] === undefined) throw new Error(`ab said no rate: ${text.slice(-400)}`);
  return Number(rate[1]);
}
