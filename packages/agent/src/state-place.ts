import { cpSync, existsSync, mkdirSync, renameSync, rmSync } from 'node:fs';
import path from 'node:path';
import type { AgentConfig } from './config/schema.ts';

/** What the agent knows that is to outlive a reboot; all else that it keeps says what stands since the last one. */
const OUTLIVING = ['peers', 'host-endpoint'] as const;
type Outliving = (typeof OUTLIVING)[number];

type Places = Pick<AgentConfig, 'runDir' | 'stateDir'>;

/** Where it stands until it is whole. */
const unfinished = (place: string): string => `${place}.new`;

export const outlivingPlaces = ({ stateDir }: Places): readonly string[] =>
  OUTLIVING.map((name) => path.join(stateDir, name)).flatMap((place) => [place, unfinished(place)]);

/**
 * Where one of them is kept: a directory of its own in `stateDir`. What an older version kept in the run directory is
 * brought there first, and counts, for it is the last to have written. Where that cannot be, the state goes on where it
 * is, and `warn` hears why.
 */
export function outlivingPlace(
  { runDir, stateDir }: Places,
  name: Outliving,
  warn: (error: unknown) => void,
): string {
  const place = path.join(stateDir, name);
  const former = path.join(runDir, 'state', name);
  if (path.resolve(former) === path.resolve(place) || !existsSync(former)) return place;
  const next = unfinished(place);
  try {
    mkdirSync(stateDir, { recursive: true, mode: 0o755 });
    rmSync(next, { recursive: true, force: true });
    cpSync(former, next, { recursive: true, preserveTimestamps: true });
    rmSync(place, { recursive: true, force: true });
    renameSync(next, place);
    rmSync(former, { recursive: true, force: true });
    return place;
  } catch (error) {
    warn(error);
    discard(next);
    return existsSync(former) ? former : place;
  }
}

/** What a full disk took of it would fill the disk once more at each start. */
function discard(next: string): void {
  try {
    rmSync(next, { recursive: true, force: true });
  } catch {
    // The disk takes nothing away either; the next start tries again.
  }
}
