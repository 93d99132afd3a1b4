/**
 * Starts the routers from Debian's packages, each in a namespace and with a directory of its own, on a configuration
 * in its own words. What a caller gets is the process and the router's own way to be asked.
 */
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Namespace } from '../namespaces.ts';
import { DaemonProcess, eventually, output } from '../process.ts';

export interface Start {
  readonly namespace: Namespace;
  /** Its own; made when it is not there. */
  readonly directory: string;
  readonly config: string;
  /** Words added to the command line. */
  readonly flags?: readonly string[];
}

export interface RunningRouter extends AsyncDisposable {
  /** All of its processes, the one that speaks BGP first. */
  readonly processes: readonly DaemonProcess[];
  /** Asks or commands it in its own words; the answer as it prints it. */
  ask(...words: readonly string[]): Promise<string>;
  /** Takes a changed configuration, as an operator would let it. */
  reload(config: string): Promise<void>;
}

/** For as long as a router on a busy machine may need until it answers. */
const START_MS = 15_000;

async function ready(process: DaemonProcess, ask: () => Promise<unknown>): Promise<void> {
  await eventually(
    `${process.name} answers`,
    async () => {
      if (process.over) return true;
      await ask();
      return true;
    },
    START_MS,
    () => process.log,
  );
  if (process.over) throw new Error(`${process.name} ended at its start: ${process.log}`);
}

function running(
  processes: readonly DaemonProcess[],
  ask: RunningRouter['ask'],
  reload: RunningRouter['reload'],
): RunningRouter {
  return {
    processes,
    ask,
    reload,
    [Symbol.asyncDispose]: async () => {
      for (const process of processes) await process.stop('SIGKILL');
    },
  };
}

/** BIRD 2: one process, asked over its control socket. Flag -R recovers from a graceful restart. */
export async function startBird(start: Start): Promise<RunningRouter> {
  mkdirSync(start.directory, { recursive: true });
  const file = join(start.directory, 'bird.conf');
  const socket = join(start.directory, 'bird.ctl');
  writeFileSync(file, start.config);
  const process = new DaemonProcess({
    name: 'bird',
    namespace: start.namespace,
    directory: start.directory,
    argv: [
      'bird',
      '-f',
      '-c',
      file,
      '-s',
      socket,
      '-P',
      join(start.directory, 'bird.pid'),
      ...(start.flags ?? []),
    ],
  });
  const ask = (...words: readonly string[]): Promise<string> =>
    output(['birdc', '-s', socket, words.join(' ')]);
  await ready(process, () => ask('show status'));
  return running([process], ask, async (config) => {
    writeFileSync(file, config);
    await ask('configure');
  });
}

export interface FrrStart extends Start {
  /** With zebra, which installs routes and tells of interfaces; without, bgpd stands alone. */
  readonly zebra?: boolean;
  readonly bfdd?: boolean;
}

/** FRR: bgpd, and zebra and bfdd when asked for, with their sockets in the directory. Its parent becomes traversable. */
export async function startFrr(start: FrrStart): Promise<RunningRouter> {
  const { namespace, directory } = start;
  mkdirSync(directory, { recursive: true });
  const file = join(directory, 'bgpd.conf');
  writeFileSync(file, start.config);
  for (const name of ['zebra', 'bfdd']) writeFileSync(join(directory, `${name}.conf`), '');
  // bgpd can be told to stay root (-S); zebra and bfdd cannot, so the directory is theirs.
  chmodSync(dirname(directory), 0o711);
  await output(['chown', '-R', 'frr:frr', directory]);
  const common = (name: string): string[] => [
    ...['-f', join(directory, `${name}.conf`)],
    ...['-i', join(directory, `${name}.pid`)],
    ...['-z', join(directory, 'zserv.api')],
    ...['--vty_socket', directory, '-P', '0', '--log', 'stdout'],
  ];
  const daemon = (name: string, flags: readonly string[]): DaemonProcess =>
    new DaemonProcess({
      name,
      namespace,
      directory,
      argv: [`/usr/lib/frr/${name}`, ...common(name), ...flags],
    });
  const ask = (...words: readonly string[]): Promise<string> =>
    output(['vtysh', '--vty_socket', directory, ...words.flatMap((word) => ['-c', word])]);
  const processes: DaemonProcess[] = [];
  try {
    if (start.zebra) {
      // One that starts again keeps what its predecessor left in the kernel until bgpd has said what it wants.
      const zebra = daemon('zebra', ['-K', '30']);
      processes.push(zebra);
      await ready(zebra, () =>
        output(['vtysh', '--vty_socket', directory, '-d', 'zebra', '-c', 'show version']),
      );
    }
    if (start.bfdd) {
      const bfdd = daemon('bfdd', ['--bfdctl', join(directory, 'bfdd.sock')]);
      processes.push(bfdd);
      await ready(bfdd, () =>
        output(['vtysh', '--vty_socket', directory, '-d', 'bfdd', '-c', 'show version']),
      );
    }
    const bgpd = daemon('bgpd', [
      '-S',
      ...(start.zebra ? [] : ['-n', '-Z']),
      ...(start.flags ?? []),
    ]);
    processes.unshift(bgpd);
    await ready(bgpd, () =>
      output(['vtysh', '--vty_socket', directory, '-d', 'bgpd', '-c', 'show version']),
    );
  } catch (error) {
    for (const process of processes) await process.stop('SIGKILL');
    throw error;
  }
  return running(processes, ask, async (config) => {
    writeFileSync(file, config);
    await output(['vtysh', '--vty_socket', directory, '-f', file]);
  });
}

/** GoBGP: one process, asked over gRPC on the namespace's loopback. */
export async function startGobgp(start: Start): Promise<RunningRouter> {
  const { namespace, directory } = start;
  mkdirSync(directory, { recursive: true });
  const file = join(directory, 'gobgpd.yaml');
  writeFileSync(file, start.config);
  const process = new DaemonProcess({
    name: 'gobgpd',
    namespace,
    directory,
    argv: [
      'gobgpd',
      '-t',
      'yaml',
      '-f',
      file,
      '--api-hosts',
      '127.0.0.1:50051',
      '--pprof-disable',
      '--log-plain',
      ...(start.flags ?? []),
    ],
  });
  const ask = (...words: readonly string[]): Promise<string> =>
    output([...namespace.prefix, 'gobgp', ...words]);
  await ready(process, () => ask('global'));
  return running([process], ask, async (config) => {
    writeFileSync(file, config);
    process.signal('SIGHUP');
  });
}

/** OpenBGPD: a parent with two children, which leave for a directory that must be there. */
export async function startOpenbgpd(start: Start): Promise<RunningRouter> {
  const { namespace, directory } = start;
  mkdirSync(directory, { recursive: true });
  mkdirSync('/run/openbgpd', { recursive: true }); // home of _openbgpd, the children's root
  const file = join(directory, 'bgpd.conf');
  const socket = join(directory, 'bgpd.sock');
  const write = (config: string): void => {
    writeFileSync(file, `socket "${socket}"\n${config}`);
    chmodSync(file, 0o600); // a readable one is refused: it may hold secrets
  };
  write(start.config);
  const process = new DaemonProcess({
    name: 'bgpd',
    namespace,
    directory,
    argv: ['/usr/sbin/bgpd', '-d', '-f', file, ...(start.flags ?? [])],
  });
  const ask = (...words: readonly string[]): Promise<string> =>
    output([...namespace.prefix, 'bgpctl', '-s', socket, ...words]);
  await ready(process, () => ask('show'));
  return running([process], ask, async (config) => {
    write(config);
    await ask('reload');
  });
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: that is what is looked for
const CONTROL = /[\u0000-\u001f]/g;

export interface ExabgpStart extends Start {
  /** Called with every line of JSON that it prints of a neighbour. */
  readonly onEvent?: (event: unknown) => void;
}

/**
 * ExaBGP: one Python process. Its configuration names a helper process for commands and events; ours are two named
 * pipes, so that whoever started it writes the one and reads the other.
 */
export async function startExabgp(start: ExabgpStart): Promise<RunningRouter> {
  const { namespace, directory } = start;
  mkdirSync(directory, { recursive: true });
  const file = join(directory, 'exabgp.conf');
  const commands = join(directory, 'commands');
  const events = join(directory, 'events');
  await output(['mkfifo', commands, events]);
  const write = (config: string): void => {
    const helper = [
      'process control {',
      `  run /bin/sh -c "cat ${commands} & exec cat >${events}";`,
      '  encoder json;',
      '}',
    ];
    writeFileSync(file, `${helper.join('\n')}\n${config}`);
  };
  write(start.config);
  // Both ends are opened for reading and writing, so that neither side waits for the other.
  const pipe = new DaemonProcess({
    name: 'exabgp-pipe',
    namespace,
    directory,
    argv: ['/bin/sh', '-c', `exec 3<>${commands} 4<>${events}; cat <&4 & exec cat >&3`],
    onLine: (line) => {
      if (!line.startsWith('{')) return;
      try {
        // It puts what it received into its strings as it is, control characters too.
        start.onEvent?.(JSON.parse(line.replace(CONTROL, ' ')));
      } catch {
        // Some of its lines are no JSON at all, such as those about a refresh.
      }
    },
  });
  const process = new DaemonProcess({
    name: 'exabgp',
    namespace,
    directory,
    argv: ['exabgp', file, ...(start.flags ?? [])],
    env: {
      'exabgp.daemon.user': 'root',
      'exabgp.daemon.daemonize': 'false',
      'exabgp.api.ack': 'false',
      'exabgp.api.cli': 'false',
      'exabgp.log.destination': 'stdout',
      'exabgp.log.level': 'INFO',
      'exabgp.tcp.delay': '0',
    },
  });
  await ready(process, async () => {
    if (!/loaded new configuration|starting reactor|initial configuration/i.test(process.log))
      throw new Error('not yet');
  });
  return running(
    [process, pipe],
    async (...words) => {
      pipe.write(`${words.join(' ')}\n`);
      return '';
    },
    async (config) => {
      write(config);
      process.signal('SIGUSR1');
    },
  );
}
