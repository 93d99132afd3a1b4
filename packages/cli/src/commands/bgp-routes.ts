import { Prefix } from '@causeway/ip';
import type { RouteView, WhyView } from '@causeway/speaker';
import type { AgentClient } from '../agent-client.ts';
import { CliError, EXIT } from '../errors.ts';
import { printJson, printLine, printTable } from '../output/print.ts';
import type { Invocation } from '../program/invocation.ts';
import { askSpeakers } from './speakers.ts';

type Listed = RouteView & { readonly node: string };

export const bgpRoutes = (invocation: Invocation, [prefix]: readonly string[]): Promise<void> =>
  list(invocation, { view: 'loc', prefix });
export const bgpReceived = (
  invocation: Invocation,
  [peer, prefix]: readonly string[],
): Promise<void> => list(invocation, { view: 'received', peer, prefix });
export const bgpAdvertised = (
  invocation: Invocation,
  [peer, prefix]: readonly string[],
): Promise<void> => list(invocation, { view: 'advertised', peer, prefix });

interface Wanted {
  readonly view: 'loc' | 'received' | 'advertised';
  readonly peer?: string | undefined;
  readonly prefix?: string | undefined;
}

async function list(invocation: Invocation, { view, peer, prefix }: Wanted): Promise<void> {
  const { family, longer } = invocation.options;
  const limit = rowLimit(invocation.options.limit);
  const query = new URLSearchParams({ view });
  if (peer !== undefined) query.set('peer', peer);
  if (prefix !== undefined) query.set('prefix', prefix);
  if (typeof family === 'string') query.set('family', family);
  if (longer === true) query.set('longer', 'true');
  const answers = await askSpeakers(invocation, (each) => pages(each, query, limit));
  const rows: Listed[] = [];
  let more = false;
  for (const { node, body } of answers) {
    const { routes, cut } = body as { routes: RouteView[]; cut: boolean };
    for (const route of routes) rows.push({ node, ...route });
    more ||= cut;
  }
  if (invocation.json) return printJson(rows);
  printTable(
    rows,
    [
      { heading: 'NODE', cell: ({ node }) => node },
      { heading: '', cell: mark },
      { heading: 'PREFIX', cell: (row) => row.prefix },
      { heading: 'NEXT HOP', cell: ({ nextHop }) => nextHop },
      ...(view === 'advertised' ? [] : [{ heading: 'FROM', cell: (row: Listed) => row.peer }]),
      { heading: 'PREF', cell: ({ localPreference }) => localPreference },
      { heading: 'MED', cell: ({ med }) => med },
      { heading: 'AS PATH', cell: ({ asPath }) => asPath },
      {
        heading: 'COMMUNITIES',
        cell: ({ communities = [], largeCommunities = [], extendedCommunities = [] }) => [
          ...communities,
          ...largeCommunities,
          ...extendedCommunities,
        ],
      },
      { heading: 'NOTE', cell: note },
    ],
    'no routes',
  );
  if (more) printLine(`(there are more; --limit shows more than ${limit} of each node)`);
}

/** `>` the best, `=` used beside it, `x` not used. */
const mark = ({ best, multipath, refused }: RouteView): string =>
  refused !== undefined ? 'x' : best ? '>' : multipath ? '=' : ' ';

const note = ({ refused, stale, pathId }: RouteView): string[] => [
  ...(refused === undefined ? [] : [`refused: ${refused}`]),
  ...(stale === undefined ? [] : [`stale: ${stale}`]),
  ...(pathId === undefined ? [] : [`path ${pathId}`]),
];

const PAGE = 1000;

async function pages(
  speaker: AgentClient,
  query: URLSearchParams,
  limit: number,
): Promise<{ routes: RouteView[]; cut: boolean }> {
  const routes: RouteView[] = [];
  let cursor: number | undefined;
  for (;;) {
    const asked = new URLSearchParams(query);
    asked.set('limit', String(Math.min(PAGE, limit - routes.length)));
    if (cursor !== undefined) asked.set('cursor', String(cursor));
    const page = (await speaker.get(`/v1/routes?${asked}`)) as { rows: RouteView[]; next?: number };
    routes.push(...page.rows);
    cursor = page.next;
    if (cursor === undefined) return { routes, cut: false };
    if (routes.length >= limit) return { routes, cut: true };
  }
}

function rowLimit(value: unknown): number {
  const limit = Number(value ?? PAGE);
  if (Number.isInteger(limit) && limit >= 1 && limit <= 10_000_000) return limit;
  throw new CliError(
    'bad-input',
    `--limit is ${String(value)}: it is a number from 1 to 10000000`,
    {
      field: '--limit',
      value,
    },
  );
}

export async function bgpWhy(
  invocation: Invocation,
  [prefix = '']: readonly string[],
): Promise<void> {
  const { peer } = invocation.options;
  const query = new URLSearchParams({ prefix });
  if (typeof peer === 'string') query.set('peer', peer);
  const answers = await askSpeakers(invocation, (each) => each.get(`/v1/why?${query}`));
  if (invocation.json)
    return printJson(answers.map(({ node, body }) => ({ node, ...(body as WhyView) })));
  for (const { node, body } of answers) {
    const why = body as WhyView;
    printLine(`${node}: ${servedBy(prefix, why)}`);
    printWhy(why);
  }
}

/** A question for what nobody announces is answered by the route that covers it, and must not look like its own. */
function servedBy(asked: string, { prefix, paths }: WhyView): string {
  const own = Prefix.tryParse(asked, { hostBits: 'clear' });
  if (own === undefined) return paths.length === 0 ? prefix : `${asked} is served by ${prefix}`;
  return own === prefix ? prefix : `${own} has no route of its own; ${prefix} serves it`;
}

function printWhy({ paths, exports, kernel }: WhyView): void {
  for (const { route, lostTo, importPolicy, refused } of paths) {
    const from = route.peer.startsWith('local:')
      ? `originated by ${route.peer.slice(6)}`
      : `from ${route.peer}`;
    printLine(
      `  ${mark(route)} ${from}, next hop ${route.nextHop}, AS path ${route.asPath || '(empty)'}`,
    );
    if (importPolicy !== undefined)
      printLine(
        `      import policy ${importPolicy.policy}: ${importPolicy.verdict} by ${importPolicy.statement}`,
      );
    if (refused !== undefined) printLine(`      not used: ${refused}`);
    if (lostTo !== undefined) {
      const { step, winner, loser } = lostTo.comparison;
      printLine(`      lost to ${lostTo.peer} by ${step}: ${winner} against ${loser}`);
    }
    if (route.stale !== undefined) printLine(`      stale: ${route.stale}`);
  }
  if (paths.length === 0) printLine('  no path');
  for (const { peer, outcome, policy } of exports) {
    const by =
      policy === undefined
        ? ''
        : ` (policy ${policy.policy}: ${policy.verdict} by ${policy.statement})`;
    printLine(`  to ${peer}: ${outcome}${by}`);
  }
  printLine(
    kernel.installed
      ? `  kernel: installed, ${kernel.hops.join(' and ')}`
      : `  kernel: not installed: ${kernel.why}${kernel.error === undefined ? '' : `: ${kernel.error}`}`,
  );
}

/** Exit status 1 if a node's policy refuses the route. */
export async function bgpPolicyTest(
  invocation: Invocation,
  [policy = '', prefix = '']: readonly string[],
): Promise<void> {
  const { options } = invocation;
  const number = (field: string): number | undefined => {
    const value = options[field];
    if (value === undefined) return undefined;
    if (/^\d{1,10}$/.test(String(value))) return Number(value);
    throw new CliError('bad-input', `${field} is ${String(value)}: it is a number`, {
      field,
      value,
    });
  };
  const attributes = {
    nextHop: options.nextHop,
    asPath: typeof options.asPath === 'string' ? asPath(options.asPath) : undefined,
    communities: options.community,
    largeCommunities: options.largeCommunity,
    extendedCommunities: options.extendedCommunity,
    med: number('med'),
    localPreference: number('localPreference'),
    origin: options.origin,
    tag: options.tag,
  };
  const body = { policy, prefix, peer: options.peer, attributes };
  const answers = await askSpeakers(invocation, (each) =>
    each.ask('POST', '/v1/policy/test', body),
  );
  interface Verdict {
    readonly reason: {
      readonly verdict: string;
      readonly statement: string;
      readonly applied: readonly string[];
    };
    readonly result?: RouteView;
  }
  const rows = answers.map(({ node, body: verdict }) => ({ node, ...(verdict as Verdict) }));
  if (rows.some(({ reason }) => reason.verdict === 'reject')) process.exitCode = EXIT.failure;
  if (invocation.json) return printJson(rows);
  for (const { node, reason, result } of rows) {
    const set = reason.applied.length === 0 ? '' : `; set by ${reason.applied.join(', ')}`;
    printLine(`${node}  ${policy}: ${reason.verdict} by statement ${reason.statement}${set}`);
    if (result === undefined) continue;
    const { communities = [], largeCommunities = [], extendedCommunities = [] } = result;
    const all = [...communities, ...largeCommunities, ...extendedCommunities];
    printLine(
      `      next hop ${result.nextHop}, AS path ${result.asPath || '(empty)'}, preference ${result.localPreference ?? '-'}, MED ${result.med ?? '-'}, communities ${all.join(' ') || '-'}`,
    );
  }
}

function asPath(text: string): number[] {
  return text
    .split(/[\s,]+/)
    .filter((word) => word !== '')
    .map((word) => {
      if (/^\d{1,10}$/.test(word)) return Number(word);
      throw new CliError('bad-input', `--as-path has ${word}: write numbers, as in "65001 65002"`, {
        field: '--as-path',
        value: text,
      });
    });
}
