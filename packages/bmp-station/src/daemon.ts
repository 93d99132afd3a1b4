import path from 'node:path';
import {
  aborted,
  type Daemon,
  type DaemonOptions,
  EventStreams,
  listenOnSocket,
  listenOnTcp,
  messageWithCauses,
  runDaemon,
  settingsOf,
  stderrLog,
  VERSION,
} from '@causeway/daemon';
import { stationApi } from './api.ts';
import { type StationConfig, stationConfig } from './config.ts';
import { History } from './history/history.ts';
import { RouterSockets } from './listen.ts';
import { Station, type StationEvent } from './station.ts';

export interface RunOptions extends DaemonOptions {
  /** Called once routers and requests are taken. */
  readonly onListening?: (at: {
    readonly socket: string;
    readonly routers: readonly { readonly address: string; readonly port: number }[];
  }) => void;
}

/** How often time is given to the station, and the history written. */
const TICK_MS = 250;

/**
 * Runs the BMP station until it is told to end. `config` is a file's name, or what would be in it. Throws
 * DaemonError `bad-config`, `already-running`; HistoryError `history-failed`.
 */
export async function runStation(
  config: string | Partial<StationConfig> | undefined,
  options: RunOptions = {},
): Promise<void> {
  const settings = settingsOf(config, stationConfig);
  const log = options.log ?? stderrLog(settings.log, {});
  await runDaemon('bmp', { ...options, runDir: settings.runDir, log }, (daemon) =>
    serve(settings, options, daemon),
  );
}

async function serve(
  config: StationConfig,
  options: RunOptions,
  { log, signal, about, onError }: Daemon,
): Promise<void> {
  const startedAt = Date.now();
  const opened = History.open(path.join(config.data, 'history.sqlite'), config.history, startedAt);
  using history = opened.history;
  const streams = new EventStreams<StationEvent>({ buffer: 4096, readers: 64 });
  let sockets: RouterSockets | undefined;
  const station = new Station({
    limits: config.limits,
    faults: { ...config.faults, sessions: 4096, faults: 1000 },
    history,
    onEvent: (event) => {
      streams.publish(event);
      if (event.type !== 'routes') log.debug(event, event.type);
    },
    hangUp: (router) => sockets?.hangUp(router),
  });
  if (opened.aside !== undefined) {
    const { file, error } = opened.aside;
    log.error({ file, code: error.code, error: messageWithCauses(error) }, 'history set aside');
    station.setAside({ file, code: error.code, message: error.message }, startedAt);
  }
  station.started({ version: VERSION }, startedAt);
  sockets = await RouterSockets.open(station, {
    listen: config.listen,
    allow: config.allow,
    now: Date.now,
    onClosed: ({ name, address }, reason) => log.info({ name, address, reason }, 'router gone'),
  });
  const timer = setInterval(() => station.tick(Date.now()), TICK_MS);
  try {
    const api = stationApi({
      station,
      streams,
      now: Date.now,
      about: () => ({
        ready: true,
        ...about(),
        listen: sockets?.addresses,
        ...(opened.aside === undefined ? {} : { historySetAside: opened.aside.file }),
      }),
      onError,
    });
    const socket = path.join(config.runDir, 'bmp.sock');
    // For other machines, without asking who they are: it only reads.
    const { http } = config;
    await using _http =
      http === undefined ? undefined : await listenOnTcp(api, http.address, http.port);
    await using _api = await listenOnSocket(api, socket);
    log.info({ socket, routers: sockets.addresses }, 'the BMP station takes routers and requests');
    options.onListening?.({ socket, routers: sockets.addresses });
    await aborted(signal);
    streams.close();
  } finally {
    clearInterval(timer);
    await sockets[Symbol.asyncDispose]();
    station.stop(Date.now());
  }
}
