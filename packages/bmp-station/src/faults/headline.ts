import { isDeliberate } from './suspects.ts';
import type { Fault, FaultSession, Suspect } from './types.ts';

type Cause = Fault['causes'][number];

/** The causes of sessions, the most frequent first. */
export function causesOf(sessions: readonly FaultSession[]): Cause[] {
  const groups = new Map<string, FaultSession[]>();
  for (const session of sessions) {
    const key = `${session.cause.why} ${session.cause.closedBy}`;
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [session]);
    else group.push(session);
  }
  return [...groups.values()]
    .map((group): Cause => {
      const { why, closedBy, name, text } = group[0]!.cause;
      const same = (one: 'name' | 'text', value: string | undefined): boolean =>
        value !== undefined && group.every(({ cause }) => cause[one] === value);
      return {
        why,
        closedBy,
        sessions: group.length,
        ...(same('name', name) ? { name: name! } : {}),
        ...(same('text', text) ? { text: text! } : {}),
      };
    })
    .sort((a, b) => b.sessions - a.sessions);
}

/** One sentence: how many sessions, how fast, by what, and who is suspected. */
export function headlineOf(
  sessions: readonly FaultSession[],
  leftOut: number,
  suspects: readonly Suspect[],
  feedsLost: Fault['feedsLost'],
): string {
  const total = sessions.length + leftOut;
  const [first] = sessions;
  if (first === undefined) {
    return feedsLost.map(({ name, why }) => `the feed of ${name} ended: ${why}`).join('; ');
  }
  const [cause] = causesOf(sessions);
  const what =
    total === 1
      ? `${first.routerName} lost its session with ${first.peerAddress} (AS ${first.peerAsn})`
      : `${total} sessions fell in ${duration(sessions.at(-1)!.downAt - first.downAt)}`;
  return `${what} by ${causeText(cause!, total)}: ${suspectText(suspects, cause!)}`;
}

function causeText({ why, sessions, closedBy, name, text }: Cause, total: number): string {
  const share = sessions === total ? '' : ` (${sessions} of them)`;
  const end = { router: ', closed by the router', peer: ', closed by the peer', unknown: '' };
  const words = name === undefined || name === why ? why : `${why} (${name})`;
  return `${words}${end[closedBy]}${share}${text === undefined ? '' : `, saying "${text}"`}`;
}

function suspectText(suspects: readonly Suspect[], cause: Cause): string {
  const names = suspects.map(({ node }) => node.name);
  if (names.length === 0) return 'nothing points at anybody';
  if (isDeliberate(cause.why)) return `somebody meant it at ${names[0]}`;
  if (names.length === 1) return `${names[0]} or its link is the suspect`;
  if (names.length === 2) return `${names.join(' or ')}, or what lies between, is the suspect`;
  return `no single node is part of all; first among the suspects is ${names[0]}`;
}

const duration = (ms: number): string =>
  ms < 1000 ? `${Math.max(1, Math.round(ms))} ms` : `${(ms / 1000).toFixed(1)} s`;
