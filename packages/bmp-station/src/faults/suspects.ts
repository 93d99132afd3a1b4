import type { CauseWhy } from '../cause.ts';
import type { FaultNode, FaultSession, Suspect } from './types.ts';

/** The causes that somebody meant. */
const DELIBERATE: ReadonlySet<CauseWhy> = new Set([
  'admin-shutdown',
  'admin-reset',
  'peer-deconfigured',
  'config-change',
]);

/** The causes for which the end that closed blames what the other end sent. */
const BLAMES: ReadonlySet<CauseWhy> = new Set([
  'header-error',
  'open-error',
  'update-error',
  'fsm-error',
  'route-refresh-error',
  'max-prefix',
]);

/** The causes that only say that nothing was heard any more. */
const SILENCE: ReadonlySet<CauseWhy> = new Set([
  'hold-timer',
  'send-hold-timer',
  'bfd-down',
  'tcp-closed',
]);

interface Tally {
  readonly node: FaultNode;
  readonly sessions: Set<string>;
  deliberate: number;
  blamed: number;
  silent: number;
}

/**
 * Who is suspicious: a node at which most of the fallen sessions end, and most of whose sessions fell. A node
 * that has a hundred sessions of which two fell is not; the two nodes behind them are. Then what the causes say
 * moves the balance: who closed on purpose, who is said to have sent nonsense, who fell silent.
 *
 * `known` gives the number of sessions that end at a node, the fallen ones included.
 */
export function suspectsOf(
  sessions: readonly FaultSession[],
  known: (node: FaultNode) => number,
  feedLost: (node: FaultNode) => boolean,
): Suspect[] {
  const tallies = new Map<string, Tally>();
  const all = new Set<string>();
  for (const session of sessions) count(session, tallies, all);
  const suspects = [...tallies.values()].map((tally) =>
    judge(tally, all.size, Math.max(known(tally.node), tally.sessions.size), feedLost(tally.node)),
  );
  suspects.sort((a, b) => b.score - a.score || b.sessionsDown - a.sessionsDown);
  const least = (suspects[0]?.score ?? 0) / 2;
  return suspects.filter(({ score }) => score >= least).slice(0, 5);
}

/** Both ends may be monitored; the session is one. Two of a pair, one over each family, are two. */
export const sessionKey = (one: string, other: string, address: string): string =>
  `${one < other ? `${one},${other}` : `${other},${one}`} ${address.includes(':') ? 6 : 4}`;

function count(session: FaultSession, tallies: Map<string, Tally>, all: Set<string>): void {
  const { local, remote, cause } = session;
  const key = sessionKey(local.bgpId, remote.bgpId, session.peerAddress);
  all.add(key);
  const closer =
    cause.closedBy === 'router' ? local : cause.closedBy === 'peer' ? remote : undefined;
  for (const node of [local, remote]) {
    let tally = tallies.get(node.bgpId);
    if (tally === undefined) {
      tally = { node, sessions: new Set(), deliberate: 0, blamed: 0, silent: 0 };
      tallies.set(node.bgpId, tally);
    }
    tally.sessions.add(key);
    if (closer === undefined) continue;
    if (DELIBERATE.has(cause.why) && node === closer) tally.deliberate += 1;
    if (BLAMES.has(cause.why) && node !== closer) tally.blamed += 1;
    // Who tells of a broken connection is alive; who closes for silence accuses the other.
    const accused = cause.why === 'tcp-closed' ? remote : closer === local ? remote : local;
    if (SILENCE.has(cause.why) && node === accused) tally.silent += 1;
  }
}

function judge(tally: Tally, total: number, known: number, feedLost: boolean): Suspect {
  const down = tally.sessions.size;
  const share = down / known;
  const reasons = [
    `${down} of the ${total} sessions that fell ${down === 1 ? 'ends' : 'end'} there`,
    known === down
      ? `no other session that is known ends there`
      : `${down} of the ${known} sessions known to end there fell`,
  ];
  let score = (down / total) * share;
  const per = (count: number): number => count / total;
  if (tally.deliberate > 0) {
    score += per(tally.deliberate);
    reasons.push(`it closed ${tally.deliberate} on purpose`);
  }
  if (tally.blamed > 0) {
    score += 0.5 * per(tally.blamed);
    reasons.push(`${tally.blamed} were closed for what it had sent`);
  }
  if (tally.silent > 0) {
    score += 0.3 * per(tally.silent);
    reasons.push(`${tally.silent} were closed because nothing came from it any more`);
  }
  if (feedLost) {
    score += 0.5;
    reasons.push('its feed to this station ended at the same time');
  }
  return {
    node: tally.node,
    score: Math.round(score * 1000) / 1000,
    sessionsDown: down,
    sessionsKnown: known,
    reasons,
  };
}

export const isDeliberate = (why: CauseWhy): boolean => DELIBERATE.has(why);
