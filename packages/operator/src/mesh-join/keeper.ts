import type { Log } from '@causeway/daemon';
import type { Kv } from '@causeway/etcd';
import type { Clock } from '@causeway/tables';
import type { OperatorConfig } from '../config.ts';
import { JoinClient } from './client.ts';
import { sweepPeers } from './leaving.ts';
import { recoverJoins } from './recovery.ts';
import { ownDirectory, rootAuth } from './root.ts';
import { forgetTokens } from './tokens.ts';

const LOOK_MS = 10_000;

export interface JoinKeeperOptions {
  readonly config: OperatorConfig;
  readonly kv: Kv;
  readonly clock: Clock;
  /** Milliseconds since the epoch: tokens end by it. */
  readonly wall: () => number;
  readonly log: Log;
}

/**
 * Finishes or undoes joins whose program died, ends invitations that nobody took, and takes certificates back where it
 * may.
 */
export async function keepJoins(
  { config, kv, clock, wall, log }: JoinKeeperOptions,
  signal: AbortSignal,
  good: () => void,
): Promise<void> {
  await using auth = rootAuth(config);
  const directory = ownDirectory(config);
  const now = () => new Date(wall());
  while (!signal.aborted) {
    const recovered = await recoverJoins({
      kv,
      auth,
      directory,
      now,
      client: (options) => new JoinClient(options),
      join: config.mesh.join?.advertise ?? [],
    });
    for (const { peer, what, why } of recovered) {
      if (what !== 'waits') log.info({ peer, what, why }, 'an interrupted join of clusters');
    }
    await forgetTokens(kv, auth, now());
    if (auth !== undefined && directory !== undefined) {
      const { removed, renewed } = await sweepPeers({ kv, auth, directory, now });
      if (removed.length + renewed.length > 0)
        log.info({ removed, renewed }, 'certificates of peers were taken back');
    }
    good();
    await clock.sleep(LOOK_MS, signal);
  }
}
