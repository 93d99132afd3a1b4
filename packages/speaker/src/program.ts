import os from 'node:os';
import path from 'node:path';
import {
  aborted,
  type Daemon,
  type DaemonOptions,
  EventStreams,
  listenOnSocket,
  runDaemon,
  stderrLog,
  VERSION,
} from '@causeway/daemon';
import { RtSocket } from '@causeway/linux';
import { speakerApi } from './api/app.ts';
import { loadProgramConfig, type ProgramConfig } from './config/program.ts';
import { KernelObserver } from './kernel/observer.ts';
import { Control } from './runtime/control.ts';
import { TargetFinder } from './runtime/targets.ts';
import { SpeakerState } from './state.ts';
import type { EventView } from './views/event.ts';

export interface RunOptions extends DaemonOptions {
  /** Called once requests are taken. */
  readonly onListening?: (socket: string) => void;
}

/**
 * Runs the speaker until it is told to end. By signal it ends for a restart: connections are closed without a
 * word, so that neighbours with graceful restart keep our routes, and the kernel keeps its own. By
 * `POST /v1/shutdown` it ends for good: neighbours are told, and our routes are taken out of the kernel.
 * @throws DaemonError for a bad file or a second speaker, SpeakerError for a bad `bgp` in the file.
 */
export async function runSpeaker(
  config: string | ProgramConfig | undefined,
  options: RunOptions = {},
): Promise<void> {
  const settings = typeof config === 'object' ? config : loadProgramConfig(config);
  const hostname = settings.name ?? os.hostname();
  const log = options.log ?? stderrLog(settings.log.level, { node: hostname });
  await runDaemon('speaker', { ...options, runDir: settings.runDir, log }, (daemon) =>
    serve(settings, hostname, options, daemon),
  );
}

async function serve(
  config: ProgramConfig,
  hostname: string,
  options: RunOptions,
  { log, signal, onError }: Daemon,
): Promise<void> {
  const startedAt = performance.now();
  const { eventBuffer, eventReaders } = config.limits;
  const events = new EventStreams<EventView>({
    buffer: eventBuffer,
    readers: eventReaders,
    hint: 'close one of them, or raise limits.eventReaders',
  });
  using socket = RtSocket.open();
  let control: Control | undefined;
  let targets: TargetFinder | undefined;
  using observer = new KernelObserver({
    socket,
    log,
    onChange: () => control?.engine?.kernelChanged(),
    onDoubt: () => control?.engine?.kernel.reconciler?.reread(),
    onOwnRoute: (change, route) => control?.engine?.kernel.reconciler?.observed(change, route),
    onNeighbour: (change, neighbour) => {
      if (targets?.observed(change, neighbour)) control?.engine?.neighbourSeen();
    },
  });
  targets = new TargetFinder(observer.fib, socket.neighbours({ family: 6 }));
  control = new Control({
    state: new SpeakerState(config.runDir),
    socket,
    observer,
    targets,
    log,
    events,
    hostname,
    defaultBfdSocket: path.join(config.runDir, 'bfd.sock'),
  });
  await using running = control;
  await running.restore(config.bgp);

  const stop = new AbortController();
  let goodbye: { readonly text: string | undefined } | undefined;
  signal.addEventListener('abort', () => stop.abort(), { once: true });
  if (signal.aborted) stop.abort();
  const api = speakerApi({
    control: running,
    events,
    startedAt,
    requestBytes: config.limits.requestBytes,
    onError,
    onShutdown: (text) => {
      goodbye = { text };
      // The answer is on its way first.
      setTimeout(() => stop.abort(), 20);
    },
  });
  await using _server = await listenOnSocket(api, config.socket);
  log.info(
    {
      version: VERSION,
      socket: config.socket,
      ms: Math.round(performance.now() - startedAt),
      configured: running.engine !== undefined,
    },
    'the speaker takes requests',
  );
  options.onListening?.(config.socket);
  await aborted(stop.signal);
  // Those who follow events learn of the end by the stream's end.
  events.close();
  if (goodbye === undefined) {
    log.info({}, 'the speaker ends for a restart; neighbours and the kernel keep the routes');
    await running.end('detach');
  } else {
    log.info({ text: goodbye.text }, 'the speaker ends for good');
    await running.end('shutdown', goodbye.text);
  }
}
