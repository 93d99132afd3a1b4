import { printJson, printLine, printTable } from '../output/print.ts';
import type { Invocation } from '../program/invocation.ts';
import { askAll } from './agents.ts';

/** Of `GET /v1/bgp` of an agent, what is shown. */
interface BgpView {
  readonly clusterConfig: string | null;
  readonly synced: boolean;
  readonly announcements: readonly {
    readonly prefix: string;
    readonly source: string;
    readonly announced: boolean;
    readonly to: readonly {
      readonly neighbor: string;
      readonly communities: readonly string[];
      readonly largeCommunities: readonly string[];
      readonly localPreference?: number;
    }[];
    readonly reason: string;
  }[];
  readonly problems: readonly string[];
}

/** What each node wants announced, by which object, and why not. What was sent, `advertised` tells. */
export async function bgpAnnouncements(
  { withTarget, json, options }: Invocation,
  [prefix]: readonly string[],
): Promise<void> {
  const answers = await withTarget((target) =>
    askAll(target, (agent) => agent.get('/v1/bgp'), json),
  );
  const views = answers.map(({ node, body }) => ({ node, ...(body as BgpView) }));
  const rows = views.flatMap(({ node, announcements }) =>
    announcements
      .filter((row) => prefix === undefined || row.prefix === prefix)
      .filter((row) => options.refused !== true || !row.announced)
      .map((row) => ({ node, ...row })),
  );
  if (json) return printJson(rows);
  printTable(
    rows,
    [
      { heading: 'NODE', cell: ({ node }) => node },
      { heading: 'PREFIX', cell: (row) => row.prefix },
      { heading: 'SOURCE', cell: ({ source }) => source },
      { heading: 'TO', cell: ({ to }) => to.map(({ neighbor }) => neighbor) },
      {
        heading: 'WITH',
        cell: ({ to }) => [
          ...new Set(
            to.flatMap(({ communities, largeCommunities, localPreference }) => [
              ...communities,
              ...largeCommunities,
              ...(localPreference === undefined ? [] : [`preference ${localPreference}`]),
            ]),
          ),
        ],
      },
      { heading: 'WHY', cell: ({ reason }) => reason },
    ],
    'nothing to announce',
  );
  for (const { node, synced, problems } of views) {
    if (!synced) printLine(`${node}: not everything has been read yet; its speaker goes on`);
    for (const problem of problems) printLine(`${node}: ${problem}`);
  }
}
