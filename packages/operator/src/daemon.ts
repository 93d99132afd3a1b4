import path from 'node:path';
import {
  aborted,
  type Daemon,
  type DaemonOptions,
  listenOnSocket,
  listenOnTcp,
  runDaemon,
  StateDirectory,
  settingsOf,
  sparingLog,
  stderrLog,
} from '@causeway/daemon';
import { connectKv, systemClock } from '@causeway/etcd';
import { operatorApi } from './api.ts';
import { type OperatorConfig, operatorConfig } from './config.ts';
import { KnownStore, storeMemoryRecord } from './memory.ts';
import { serveJoins } from './mesh-join/serve.ts';
import { Operator } from './operator.ts';

export interface RunOptions extends DaemonOptions {
  /** Called once requests are taken. */
  readonly onListening?: (at: { readonly socket: string }) => void;
}

/**
 * Runs an operator until it is told to end. `config` is a file's name, or what would be in it. Throws DaemonError
 * `bad-config`, `already-running`.
 */
export async function runOperator(
  config: string | Partial<OperatorConfig> | undefined,
  options: RunOptions = {},
): Promise<void> {
  const settings = settingsOf(config, operatorConfig);
  const { runDir, name } = settings;
  const log = options.log ?? stderrLog(settings.log, { operator: name });
  await runDaemon('operator', { ...options, runDir, log }, (daemon) =>
    serve(settings, options, daemon),
  );
}

async function serve(
  config: OperatorConfig,
  options: RunOptions,
  { log, signal, about, onError }: Daemon,
): Promise<void> {
  await using kv = connectKv(config.etcd);
  await using operator = new Operator({
    config,
    kv,
    known: new KnownStore(
      new StateDirectory(path.join(config.runDir, 'operator'), storeMemoryRecord),
    ),
    clock: systemClock,
    wall: Date.now,
    random: Math.random,
    log: sparingLog(log),
  });
  const parts = { operator, about, onError };
  const { http } = config;
  await using _http =
    http === undefined
      ? undefined
      : await listenOnTcp(operatorApi({ ...parts, commands: false }), http.address, http.port);
  const socket = path.join(config.runDir, 'operator.sock');
  await using _api = await listenOnSocket(operatorApi({ ...parts, commands: true }), socket);
  const { join } = config.mesh;
  await using _joins =
    join === undefined ? undefined : await serveJoins({ config, join, operator, onError });
  log.info({ socket }, 'the operator takes requests');
  options.onListening?.({ socket });
  await aborted(signal);
}
