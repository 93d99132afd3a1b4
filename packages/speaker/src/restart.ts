import type { Settings } from './config/settings.ts';
import type { SessionsRecord } from './state.ts';

/**
 * The restarting speaker of RFC 4724, section 4.1, and the traps that others fell into:
 *
 * - A stop for an upgrade closes the sessions' TCP connections and says nothing: a Cease would make the peers
 *   forget our routes at once ("normal BGP procedures MUST be followed when the TCP session terminates due to
 *   the sending or receiving of a BGP NOTIFICATION message"; RFC 8538 softens that only where both have it).
 * - Without the R bit in the first OPEN a peer may drop the stale routes when the session comes up again
 *   instead of waiting for our End-of-RIB.
 * - With the R bit on every start, and not only after one, a speaker that is new waits for End-of-RIB markers
 *   before it announces anything, and peers without graceful restart wait with it. So it is set only when a
 *   record says that sessions were up, and only those peers are waited for.
 * - End-of-RIB before everything is announced again makes peers withdraw what is still to come. Our owners'
 *   paths are on disk and in the RIB before the first session comes up.
 */
export interface RestartPlan {
  readonly expected: readonly string[];
}

/** Undefined: a start and no restart. */
export function planRestart(
  before: SessionsRecord | undefined,
  settings: Settings | undefined,
  boot: string,
): RestartPlan | undefined {
  if (before === undefined || settings === undefined) return undefined;
  // After a boot, nothing that we announced is there any more: no forwarding state was kept.
  if (before.boot !== boot) return undefined;
  // Another AS or identifier is another speaker to the peers.
  if (before.asn !== settings.asn || before.routerId !== settings.routerId) return undefined;
  const expected = before.peers.filter(
    (name) => settings.neighbors.has(name) || settings.dynamicNeighbors.has(rangeOf(name)),
  );
  return expected.length === 0 ? undefined : { expected };
}

/** The range whose neighbour has this name: `rack@192.0.2.1`. */
export const rangeOf = (name: string): string => name.slice(0, Math.max(0, name.indexOf('@')));
