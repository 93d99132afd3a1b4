/** The stations that take the feed: ours, and pmacct's pmbmpd as the reference. Loopback only. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, statSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { connect, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { ApiClient } from '@causeway/daemon';
import { takeAwayOnInterrupt } from '../interrupt.ts';

export interface RunningStation extends AsyncDisposable {
  readonly port: number;
  readonly pid: number;
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const at = server.address();
  await new Promise((resolve) => server.close(resolve));
  return typeof at === 'object' && at !== null ? at.port : 0;
}

/** A child that is ended with its scope, or when the benchmark is interrupted. */
function ended(child: ChildProcess): () => Promise<void> {
  const gone = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  const end = async (): Promise<void> => {
    child.kill('SIGTERM');
    const force = setTimeout(() => child.kill('SIGKILL'), 5000);
    await gone;
    clearTimeout(force);
  };
  const forget = takeAwayOnInterrupt(end);
  return async () => {
    forget();
    await end();
  };
}

async function untilListening(port: number): Promise<void> {
  for (let attempt = 0; attempt < 200; attempt += 1) {
    const answered = await new Promise<boolean>((resolve) => {
      const socket = connect(port, '127.0.0.1', () => {
        socket.destroy();
        resolve(true);
      });
      socket.on('error', () => resolve(false));
    });
    if (answered) return;
    await pause(50);
  }
  throw new Error(`nothing listens on port ${port}`);
}

export class OurStation implements RunningStation {
  readonly port: number;
  readonly pid: number;
  readonly api: ApiClient;
  readonly #end: () => Promise<void>;

  private constructor(port: number, child: ChildProcess, socket: string) {
    this.port = port;
    this.pid = child.pid!;
    this.api = new ApiClient('BMP station', socket);
    this.#end = ended(child);
  }

  static async start(directory: string): Promise<OurStation> {
    const port = await freePort();
    const config = join(directory, 'station.yaml');
    const file = await open(config, 'w');
    await file.writeFile(
      JSON.stringify({
        listen: [{ address: '127.0.0.1', port }],
        data: join(directory, 'data'),
        runDir: directory,
        log: 'error',
      }),
    );
    await file.close();
    const child = spawn(process.execPath, ['packages/cli/src/main.ts', 'bmp', '--config', config], {
      stdio: ['ignore', 'ignore', 'inherit'],
    });
    const station = new OurStation(port, child, join(directory, 'bmp.sock'));
    await untilListening(port);
    return station;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#end();
  }
}

/** pmbmpd with every message written as a line of JSON to a file: all that it does for an operator by itself. */
export class Pmbmpd implements RunningStation {
  readonly port: number;
  readonly pid: number;
  readonly log: string;
  readonly #end: () => Promise<void>;

  private constructor(port: number, child: ChildProcess, log: string) {
    this.port = port;
    this.pid = child.pid!;
    this.log = log;
    this.#end = ended(child);
  }

  static async start(directory: string): Promise<Pmbmpd> {
    const port = await freePort();
    const log = join(directory, 'pmbmpd.json');
    const config = join(directory, 'pmbmpd.conf');
    const file = await open(config, 'w');
    await file.writeFile(
      [
        'bmp_daemon_ip: 127.0.0.1',
        `bmp_daemon_port: ${port}`,
        'bmp_daemon_max_peers: 10',
        `bmp_daemon_msglog_file: ${log}`,
        'bmp_daemon_msglog_output: json',
        'bmp_daemon_pipe_size: 4194304',
        '',
      ].join('\n'),
    );
    await file.close();
    const child = spawn('/usr/sbin/pmbmpd', ['-f', config], { stdio: 'ignore' });
    const station = new Pmbmpd(port, child, log);
    await untilListening(port);
    return station;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#end();
  }
}

/** Lines in a file, counted as it grows. */
export class LineCounter {
  readonly #file: string;
  #at = 0;
  lines = 0;

  constructor(file: string) {
    this.#file = file;
  }

  async count(): Promise<number> {
    const file = await open(this.#file, 'r');
    try {
      const buffer = Buffer.alloc(1 << 20);
      while (this.#at < statSync(this.#file).size) {
        const { bytesRead } = await file.read(buffer, 0, buffer.length, this.#at);
        if (bytesRead === 0) break;
        for (let i = 0; i < bytesRead; i += 1) if (buffer[i] === 10) this.lines += 1;
        this.#at += bytesRead;
      }
    } finally {
      await file.close();
    }
    return this.lines;
  }
}

/** A router's connection that is written to as fast as the station reads. */
export async function feedTo(port: number): Promise<Socket> {
  const socket = connect({ port, host: '127.0.0.1', noDelay: true });
  await new Promise<void>((resolve, reject) => {
    socket.once('connect', resolve);
    socket.once('error', reject);
  });
  return socket;
}

export async function send(socket: Socket, bytes: Buffer): Promise<void> {
  const chunk = 256 * 1024;
  const gone = new AbortController();
  socket.once('close', () => gone.abort(new Error('the station hung up')));
  for (let at = 0; at < bytes.length; at += chunk) {
    if (socket.write(bytes.subarray(at, at + chunk))) continue;
    await once(socket, 'drain', { signal: gone.signal });
  }
}

/** Peak resident memory in MiB, and processor time in seconds. */
export function usageOf(pid: number): { readonly peak: number; readonly cpu: number } {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]!.split(' ');
  return {
    peak: Number(/VmHWM:\s+(\d+)/.exec(status)?.[1]) / 1024,
    cpu: (Number(stat[11]) + Number(stat[12])) / 100,
  };
}

export { pause };
