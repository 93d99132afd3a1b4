import os from 'node:os';
import path from 'node:path';
import { connectKv, type Kv, systemClock } from '@causeway/etcd';
import { apiApp } from './api/app.ts';
import { listenOnSocket } from './api/listen.ts';
import { addRelay, type CniRelay } from './api/relay.ts';
import { NodeBackend } from './backend.ts';
import { loadAgentConfig } from './config/load.ts';
import type { AgentConfig } from './config/schema.ts';
import { EbpfDatapath } from './datapath/ebpf.ts';
import type { DatapathSettings, NodeDatapath } from './datapath/ports.ts';
import { messageWithCauses } from './errors.ts';
import { type Log, stderrLog } from './log.ts';
import { probeFeatures } from './node/features.ts';
import { Foundation } from './node/foundation.ts';
import { lockNetwork, lockNode } from './node/lock.ts';
import { Node } from './node/node.ts';
import { VERSION } from './node/status.ts';

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
 * @throws AgentError for a bad configuration, a second agent, or a kernel that lacks something.
 */
export async function runAgent(
  config: string | AgentConfig,
  options: RunOptions = {},
): Promise<void> {
  const settings = typeof config === 'string' ? loadAgentConfig(config) : config;
  const log = options.parts?.log ?? stderrLog(settings.log.level, settings.node.name);
  const stop = new AbortController();
  const end = () => stop.abort();
  options.signal?.addEventListener('abort', end);
  if (options.signal?.aborted) end();
  if (options.signal === undefined) {
    process.once('SIGTERM', end);
    process.once('SIGINT', end);
    precede();
  }
  // What nobody caught is a fault of ours, but no reason to leave the node's pods without an agent.
  const stray = (error: unknown) =>
    log.error(
      { error: messageWithCauses(error), stack: (error as Error)?.stack },
      'an error that nobody caught',
    );
  process.on('unhandledRejection', stray);
  process.on('uncaughtException', stray);
  try {
    await serve(settings, options, log, stop.signal);
  } finally {
    process.off('unhandledRejection', stray);
    process.off('uncaughtException', stray);
    process.off('SIGTERM', end);
    process.off('SIGINT', end);
  }
}

async function serve(
  config: AgentConfig,
  options: RunOptions,
  log: Log,
  signal: AbortSignal,
): Promise<void> {
  // First what only looks: a kernel that cannot do it is the more useful answer.
  const features = probeFeatures(config);
  using _lock = lockNode(config.runDir);
  await using _network = await lockNetwork();
  const started = performance.now();
  const { parts } = options;
  await using kv = parts?.kv ?? connect(config);
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
  await new Promise<void>((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve());
  });
  log.info({}, 'the agent ends; pods keep their network');
}

function connect(config: AgentConfig): Kv {
  const { endpoints, tls } = config.etcd;
  return connectKv({
    endpoints,
    ...(tls === undefined
      ? {}
      : {
          tls: {
            caFile: tls.caFile,
            ...(tls.certFile === undefined ? {} : { certFile: tls.certFile }),
            ...(tls.keyFile === undefined ? {} : { keyFile: tls.keyFile }),
          },
        }),
  });
}

/** A pod's start waits for the agent, so the agent does not wait behind the pods' own programs. */
function precede(): void {
  try {
    os.setPriority(os.constants.priority.PRIORITY_ABOVE_NORMAL);
  } catch {
    // Not allowed here; it is only slower then.
  }
}
