import path from 'node:path';
import {
  aborted,
  type Log,
  listenOnSocket,
  lockNetwork,
  lockRunDirectory,
  messageWithCauses,
  runProgram,
  stderrLog,
  VERSION,
} from '@causeway/daemon';
import { connectKv, type Kv, systemClock } from '@causeway/etcd';
import { apiApp } from './api/app.ts';
import { addRelay, type CniRelay } from './api/relay.ts';
import { NodeBackend } from './backend.ts';
import { loadAgentConfig } from './config/load.ts';
import type { AgentConfig } from './config/schema.ts';
import { EbpfDatapath } from './datapath/ebpf.ts';
import type { DatapathSettings, NodeDatapath } from './datapath/ports.ts';
import { probeFeatures } from './node/features.ts';
import { Foundation } from './node/foundation.ts';
import { Node } from './node/node.ts';

export interface RunOptions {
  /** Ends the agent in good order. Without one, SIGTERM and SIGINT do. */
  readonly signal?: AbortSignal;
  /** Serves `POST /v1/cni` for the plugin's quick way in; the program that composes both hands it over. */
  readonly cniRelay?: CniRelay;
  /** In place of the parts that the configuration would make; for tests. */
  readonly parts?: {
    readonly kv?: Kv;
    readonly datapath?: (settings: DatapathSettings) => NodeDatapath;
    readonly log?: Log;
  };
  /** Called once requests are taken. */
  readonly onListening?: (socket: string) => void;
}

/**
 * Runs a node's agent until it is told to end. Nothing is taken out of the kernel at the end: pods
 * keep their network, and the next agent takes up where this one left.
 * @throws DaemonError for a bad configuration or a second agent, AgentError for a kernel that lacks something.
 */
export async function runAgent(
  config: string | AgentConfig,
  options: RunOptions = {},
): Promise<void> {
  const settings = typeof config === 'string' ? loadAgentConfig(config) : config;
  const log = options.parts?.log ?? stderrLog(settings.log.level, { node: settings.node.name });
  const { signal } = options;
  await runProgram({ log, ...(signal === undefined ? {} : { signal }) }, (stop) =>
    serve(settings, options, log, stop),
  );
}

async function serve(
  config: AgentConfig,
  options: RunOptions,
  log: Log,
  signal: AbortSignal,
): Promise<void> {
  // First what only looks: a kernel that cannot do it is the more useful answer.
  const features = probeFeatures(config);
  using _lock = lockRunDirectory(config.runDir, 'agent');
  await using _network = await lockNetwork('agent');
  const started = performance.now();
  const { parts } = options;
  await using kv = parts?.kv ?? connectKv(config.etcd);
  const [clock, random] = [systemClock, Math.random];
  await using foundation = new Foundation(config, kv, clock, random, log);
  await foundation.ready(signal);
  const programs = foundation.settings(foundation.host.plan);
  using datapath = parts?.datapath?.(programs) ?? new EbpfDatapath(config, features, log, programs);
  await using node = new Node({
    config,
    kv,
    foundation,
    datapath,
    settings: programs,
    clock,
    random,
    log,
  });
  await node.start(signal);

  const app = apiApp(new NodeBackend(node), {
    requestBytes: config.limits.requestBytes,
    requestSeconds: config.limits.requestSeconds,
    onError: (error, request) =>
      log.error({ ...request, error: messageWithCauses(error) }, 'a request failed'),
  });
  if (options.cniRelay !== undefined) addRelay(app, options.cniRelay);
  const socket = path.join(config.runDir, 'agent.sock');
  await using _api = await listenOnSocket(app, socket);
  log.info(
    { version: VERSION, socket, ms: Math.round(performance.now() - started) },
    'the agent takes requests',
  );
  options.onListening?.(socket);
  await aborted(signal);
  log.info({}, 'the agent ends; pods keep their network');
}
