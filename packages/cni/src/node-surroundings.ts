import fs from 'node:fs';
import type { CniOutcome, Surroundings } from './execute.ts';
import { type AgentTransport, socketTransport } from './transport.ts';

/** Longest time for one request to the agent; runtimes give up on a plugin after a few minutes. */
const REQUEST_TIMEOUT_MS = 60_000;
const MAX_LOG_BYTES = 4 * 1_048_576;

const identity = (path: string): { dev: bigint; ino: bigint } | undefined =>
  fs.statSync(path, { bigint: true, throwIfNoEntry: false });

/** An agent's own routes, reached without its socket. */
export interface OwnRoutes {
  /** The socket's path as the caller names it; a configuration with another one goes to that one. */
  readonly socket: string;
  readonly transport: AgentTransport;
}

/** This machine, as `execute` needs it. */
export function nodeSurroundings(routes?: OwnRoutes): Surroundings {
  const own = identity('/proc/self/ns/net');
  return {
    transport: (agentSocket) =>
      routes?.socket === agentSocket
        ? routes.transport
        : socketTransport(agentSocket, REQUEST_TIMEOUT_MS),
    netnsIdentity(path) {
      try {
        const found = identity(path);
        // All namespaces are files of one file system, nsfs; another file there is no namespace.
        return found && found.dev === own?.dev ? String(found.ino) : undefined;
      } catch {
        return undefined;
      }
    },
    nodeNetns: String(own?.ino),
    clock: {
      now: () => performance.now(),
      sleep: (ms) => new Promise((resolve) => setTimeout(resolve, ms)),
      wall: () => new Date(),
    },
  };
}

/** One line of JSON a call, where the configuration asks for it. A log that cannot be written stops nothing. */
export function writeLog(outcome: CniOutcome, tookMs: number): void {
  if (outcome.log === undefined) return;
  const entry = {
    time: new Date().toISOString(),
    tookMs: Math.round(tookMs),
    call: outcome.summary,
  };
  try {
    const size = fs.statSync(outcome.log, { throwIfNoEntry: false })?.size ?? 0;
    if (size > MAX_LOG_BYTES) fs.renameSync(outcome.log, `${outcome.log}.1`);
    fs.appendFileSync(outcome.log, `${JSON.stringify(entry)}\n`, { mode: 0o600 });
  } catch {
    // Nothing to tell it to: standard error is the runtime's.
  }
}
