import { readFileSync } from 'node:fs';
import path from 'node:path';
import {
  type Api,
  aborted,
  type Daemon,
  type DaemonOptions,
  type GuardedListener,
  type Log,
  listenGuarded,
  listenOnSocket,
  runDaemon,
  settingsOf,
  sparingLog,
  stderrLog,
} from '@causeway/daemon';
import { connectKv, type Kv, systemClock } from '@causeway/etcd';
import { etcdStore } from '@causeway/resources';
import { Admission } from './api/admission.ts';
import { inventoryApi } from './api/api.ts';
import type { ApiConfig } from './api/config.ts';
import { makeInventory } from './assemble.ts';
import { type InventoryConfig, type InventoryInput, inventoryConfig } from './config.ts';
import { Instance } from './instance.ts';
import type { Hosted } from './lead.ts';

export interface RunOptions extends DaemonOptions {
  /** Called once requests are taken; `port` where the HTTP API is configured. */
  readonly onListening?: (at: {
    readonly socket: string;
    readonly port: number | undefined;
  }) => void;
}

export const readConfig = (config: string | InventoryInput): InventoryConfig =>
  settingsOf(config, inventoryConfig);

/**
 * Runs one instance until it is told to end. `config` is a file's name, or what would be in it. Throws DaemonError
 * `bad-config`, `already-running`, and InventoryError `bad-rule`, before anything is written.
 */
export async function runInventory(
  config: string | InventoryInput,
  options: RunOptions = {},
): Promise<void> {
  const settings = readConfig(config);
  // Rules are compiled once to be refused now rather than at the first election that is won.
  makeInventory(settings);
  const { runDir, name } = settings;
  const log = options.log ?? stderrLog(settings.log, { inventory: name });
  await runDaemon('inventory', { ...options, runDir, log }, (daemon) =>
    serve(settings, options, daemon),
  );
}

/** What an instance works with, on the real clock and store. The caller disposes of `kv`. */
export function host(config: InventoryConfig, log: Log, kv: Kv = connectKv(config.etcd)): Hosted {
  return {
    config,
    kv,
    store: etcdStore(kv),
    clock: systemClock,
    monotonic: () => performance.now(),
    random: Math.random,
    log: sparingLog(log),
  };
}

async function serve(
  config: InventoryConfig,
  options: RunOptions,
  { about, log, onError, signal }: Daemon,
): Promise<void> {
  // Token files are read before anybody is elected.
  const admission = config.api === undefined ? undefined : new Admission(config.api);
  const hosted = host(config, log);
  await using _kv = hosted.kv;
  await using instance = new Instance(hosted);
  const api = inventoryApi({ instance, wall: Date.now, about, onError });
  await using http =
    config.api === undefined || admission === undefined
      ? undefined
      : await listenHttp(config.api, admission, api);
  const socket = path.join(config.runDir, 'inventory.sock');
  await using _socket = await listenOnSocket(api, socket);
  log.info({ socket, port: http?.port }, 'the inventory takes requests');
  options.onListening?.({ socket, port: http?.port });
  await aborted(signal);
}

function listenHttp(config: ApiConfig, admission: Admission, api: Api): Promise<GuardedListener> {
  const { address, port, tls } = config;
  return listenGuarded(api, {
    host: address,
    port,
    admit: (caller) => admission.admit(caller),
    tls: tls && {
      cert: readFileSync(tls.certFile, 'utf8'),
      key: readFileSync(tls.keyFile, 'utf8'),
      clientCa: tls.clientCaFile === undefined ? undefined : readFileSync(tls.clientCaFile, 'utf8'),
    },
  });
}
