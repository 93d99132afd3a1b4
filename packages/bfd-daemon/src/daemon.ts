import path from 'node:path';
import { Bfd, BfdError } from '@causeway/bfd';
import {
  aborted,
  type Daemon,
  type DaemonOptions,
  listenOnSocket,
  messageWithCauses,
  runDaemon,
  StateDirectory,
  stderrLog,
} from '@causeway/daemon';
import { bfdApi, Feed } from './api.ts';
import { type BfdDaemonConfig, loadBfdConfig } from './config.ts';
import { BfdDaemonError, isKnownCode } from './errors.ts';
import { Owners, ownerRecord } from './owners.ts';

export interface RunOptions extends DaemonOptions {
  /** Called once requests are taken. */
  readonly onListening?: (socket: string) => void;
}

/**
 * Runs the BFD daemon until it is told to end; then all peers hear AdminDown, so that they take its end
 * for what it is. @throws BfdDaemonError `port-taken`, DaemonError `bad-config`, `already-running`.
 */
export async function runBfdDaemon(
  config: string | BfdDaemonConfig | undefined,
  options: RunOptions = {},
): Promise<void> {
  const settings = typeof config === 'object' ? config : loadBfdConfig(config);
  const log =
    options.log ??
    stderrLog(settings.log.level, settings.name === undefined ? {} : { node: settings.name });
  await runDaemon('bfd', { ...options, runDir: settings.runDir, log }, (daemon) =>
    serve(settings, options, daemon),
  );
}

async function serve(
  config: BfdDaemonConfig,
  options: RunOptions,
  { log, signal, about, onError }: Daemon,
): Promise<void> {
  const feed = new Feed(config.limits);
  const failure = Promise.withResolvers<never>();
  failure.promise.catch(() => {});
  await using bfd = await start({
    preferred: config.realtime,
    limit: config.limits.sessions,
    onEvent: (event) => {
      if (event.type === 'changed') log.info(event.change, `session ${event.session.key}`);
      feed.publish(event);
    },
    onFailure: failure.reject,
  });
  const owners = new Owners(
    new StateDirectory(path.join(config.runDir, 'bfd'), ownerRecord),
    bfd,
    config.limits.sessions,
  );
  for (const { name, error } of await owners.restore())
    log.error({ owner: name, error: messageWithCauses(error) }, 'an owner was not taken up again');

  const api = bfdApi({
    bfd,
    owners,
    feed,
    requestBytes: config.limits.requestBytes,
    about: () => ({ ready: true, ...about(), owners: owners.names() }),
    onError,
  });
  await using _server = await listenOnSocket(api, config.socket);
  const { preference, sessions } = await bfd.status();
  log.info({ socket: config.socket, preference, sessions }, 'the BFD daemon takes requests');
  options.onListening?.(config.socket);
  try {
    // Without its thread it is good for nothing: whoever supervises it starts another.
    await Promise.race([aborted(signal), failure.promise]);
  } finally {
    feed.close();
  }
  log.info({}, 'the BFD daemon ends; peers are told AdminDown');
}

async function start(options: Parameters<typeof Bfd.start>[0]): Promise<Bfd> {
  try {
    return await Bfd.start(options);
  } catch (cause) {
    if (!(cause instanceof BfdError) || !isKnownCode(cause.code)) throw cause;
    const { code, message, field, value, hint } = cause;
    throw new BfdDaemonError(code, message, {
      ...(field === undefined ? {} : { field }),
      value,
      ...(hint === undefined ? {} : { hint }),
      cause,
    });
  }
}
