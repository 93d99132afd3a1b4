import path from 'node:path';
import {
  aborted,
  checkConfig,
  type Log,
  listenOnSocket,
  listenOnTcp,
  loadConfig,
  lockRunDirectory,
  messageWithCauses,
  runProgram,
  StateDirectory,
  sparingLog,
  stderrLog,
} from '@causeway/daemon';
import { connectKv, systemClock } from '@causeway/etcd';
import { operatorApi } from './api.ts';
import { type OperatorConfig, operatorConfig } from './config.ts';
import { KnownStore, storeMemoryRecord } from './memory.ts';
import { Operator } from './operator.ts';

export interface RunOptions {
  /** Ends the operator in good order. Without one, SIGTERM and SIGINT do. */
  readonly signal?: AbortSignal;
  readonly log?: Log;
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
  const settings =
    typeof config === 'string'
      ? loadConfig(config, operatorConfig)
      : checkConfig(config ?? {}, operatorConfig);
  const log = options.log ?? stderrLog(settings.log, { operator: settings.name });
  const { signal } = options;
  await runProgram({ log, ...(signal === undefined ? {} : { signal }) }, (stop) =>
    serve(settings, options, log, stop),
  );
}

async function serve(
  config: OperatorConfig,
  options: RunOptions,
  log: Log,
  signal: AbortSignal,
): Promise<void> {
  using _lock = lockRunDirectory(config.runDir, 'operator');
  const startedAt = Date.now();
  const { endpoints, tls } = config.etcd;
  await using kv = connectKv({
    endpoints,
    ...(tls === undefined ? {} : { tls: definedOnly(tls) }),
  });
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
  const parts = {
    operator,
    about: () => ({
      version: '0.1.0',
      startedAt: new Date(startedAt).toISOString(),
      uptimeSeconds: Math.round((Date.now() - startedAt) / 1000),
    }),
    onError: (error: unknown, request: { method: string; path: string }) =>
      log.error({ ...request, error: messageWithCauses(error) }, 'a request failed'),
  };
  const { http } = config;
  await using _http =
    http === undefined
      ? undefined
      : await listenOnTcp(operatorApi({ ...parts, commands: false }), http.address, http.port);
  const socket = path.join(config.runDir, 'operator.sock');
  await using _api = await listenOnSocket(operatorApi({ ...parts, commands: true }), socket);
  log.info({ socket }, 'the operator takes requests');
  options.onListening?.({ socket });
  await aborted(signal);
}

type Tls = NonNullable<OperatorConfig['etcd']['tls']>;

const definedOnly = ({ caFile, certFile, keyFile }: Tls) => ({
  caFile,
  ...(certFile === undefined ? {} : { certFile }),
  ...(keyFile === undefined ? {} : { keyFile }),
});
