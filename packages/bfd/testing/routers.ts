import { execFile, spawn } from 'node:child_process';
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { eventually, type Site } from './site.ts';

/** A session as a foreign daemon tells of it. */
export interface ForeignSession {
  readonly peer: string;
  readonly state: 'up' | 'down' | 'init' | 'admin-down';
  /** Milliseconds, where it tells. */
  readonly interval?: number;
  readonly timeout?: number;
}

/** BIRD or FRR in the site's other namespace. */
export interface ForeignBfd extends AsyncDisposable {
  sessions(): Promise<ForeignSession[]>;
  /** Commands in its own words. */
  ask(...words: string[]): Promise<string>;
  reload(config: string): Promise<void>;
  log(): string;
}

const run = promisify(execFile);

/**
 * Starts `argv` in the namespace; `log` keeps its last words. In real time: a router is another machine,
 * which nothing on this one would delay.
 */
function start(site: Site, argv: readonly string[]) {
  const child = spawn('nsenter', [`--net=${site.theirPath}`, 'chrt', '--rr', '5', ...argv], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let log = '';
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (bytes: Buffer) => {
      log = (log + bytes.toString()).slice(-16_384);
    });
  const ended = new Promise<void>((resolve) => child.once('close', () => resolve()));
  child.once('error', (error) => {
    log += error.message;
  });
  return {
    log: () => log,
    async stop() {
      if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL');
      await ended;
    },
  };
}

/** What both configurations of BIRD begin with. */
const birdHead = 'log stderr all;\nrouter id 10.9.0.2;\nprotocol device { scan time 1; }\n';

export async function startBird(site: Site, config: string): Promise<ForeignBfd> {
  const file = join(site.directory, 'bird.conf');
  const socket = join(site.directory, 'bird.ctl');
  writeFileSync(file, birdHead + config);
  const bird = start(site, ['bird', '-f', '-c', file, '-s', socket, '-P', `${socket}.pid`]);
  const ask = async (...words: string[]) => (await run('birdc', ['-s', socket, ...words])).stdout;
  try {
    await eventually(
      'bird answers',
      () => ask('show', 'status').catch(() => undefined),
      10_000,
      bird.log,
    );
  } catch (error) {
    await bird.stop();
    throw error;
  }
  return {
    ask,
    log: bird.log,
    async reload(next) {
      writeFileSync(file, birdHead + next);
      const said = await ask('configure');
      if (!/Reconfigured/.test(said)) throw new Error(said);
    },
    async sessions() {
      // It fails while the protocol is disabled.
      const lines = (await ask('show', 'bfd', 'sessions').catch(() => '')).split('\n');
      return lines.flatMap((line): ForeignSession[] => {
        const row = /^([0-9a-f.:]+)\s+\S+\s+(\w+)\s+\S+\s+([\d.]+)\s+([\d.]+)\s*$/.exec(line);
        if (row === null) return [];
        const [, peer = '', state = '', interval, timeout] = row;
        return [
          {
            peer,
            state: ({ Up: 'up', Down: 'down', Init: 'init', AdminDown: 'admin-down' } as const)[
              state as 'Up'
            ],
            interval: Number(interval) * 1000,
            timeout: Number(timeout) * 1000,
          },
        ];
      });
    },
    [Symbol.asyncDispose]: () => bird.stop(),
  };
}

export async function startFrr(site: Site, config: string): Promise<ForeignBfd> {
  const directory = join(site.directory, 'frr');
  mkdirSync(directory, { recursive: true });
  chmodSync(site.directory, 0o711);
  const file = join(directory, 'bfdd.conf');
  writeFileSync(file, config);
  writeFileSync(join(directory, 'zebra.conf'), '');
  // Its daemons give up being root.
  await run('chown', ['-R', 'frr:frr', directory]);
  const ask = async (...words: string[]) =>
    (await run('vtysh', ['--vty_socket', directory, ...words.flatMap((word) => ['-c', word])]))
      .stdout;
  const running: ReturnType<typeof start>[] = [];
  const stop = async () => {
    for (const daemon of running) await daemon.stop();
  };
  const log = () => running.map((daemon) => daemon.log()).join('\n');
  try {
    for (const [name, more] of [
      ['zebra', []],
      ['bfdd', ['--bfdctl', join(directory, 'bfdd.sock')]],
    ] as const) {
      running.push(
        start(site, [
          `/usr/lib/frr/${name}`,
          ...['-f', join(directory, `${name}.conf`), '-i', join(directory, `${name}.pid`)],
          ...['-z', join(directory, 'zserv.api'), '--vty_socket', directory],
          ...['-P', '0', '--log', 'stdout', ...more],
        ]),
      );
      const version = ['--vty_socket', directory, '-d', name, '-c', 'show version'];
      await eventually(
        `${name} answers`,
        () => run('vtysh', version).catch(() => undefined),
        10_000,
        log,
      );
    }
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    ask,
    log,
    async reload(next) {
      writeFileSync(file, next);
      await run('vtysh', ['--vty_socket', directory, '-f', file]);
    },
    async sessions() {
      const peers = JSON.parse(await ask('show bfd peers json')) as {
        peer: string;
        status: string;
        'transmit-interval': number;
        'detect-multiplier': number;
      }[];
      return peers.map((each) => ({
        peer: each.peer,
        state: each.status === 'shutdown' ? 'admin-down' : (each.status as 'up'),
        interval: each['transmit-interval'],
      }));
    },
    [Symbol.asyncDispose]: stop,
  };
}
