import { EXIT } from '../errors.ts';
import { printJson, printLine, printTable } from '../output/print.ts';
import type { Invocation } from '../program/invocation.ts';
import { askAll, type NodeAnswer } from './agents.ts';

interface Health {
  readonly name: string;
  readonly healthy: boolean;
  readonly detail: string;
}

/** The part of /v1/status that is shown; all of it comes with --json. */
interface Status {
  readonly ready: boolean;
  readonly reasons: readonly string[];
  readonly version: string;
  readonly modes: { readonly routing: string; readonly families: readonly string[] };
  readonly endpoints: { readonly total: number };
  readonly sources: readonly Health[];
  readonly reconcilers: readonly Health[];
}

/** Exit status 1 when a node is not ready: for scripts that wait. */
export async function status(invocation: Invocation): Promise<void> {
  const answers = await invocation.withTarget((target) =>
    askAll(target, (agent) => agent.get('/v1/status'), invocation.json),
  );
  const all = answers.map(({ node, body }: NodeAnswer) => ({ node, status: body as Status }));
  if (all.some(({ status: each }) => !each.ready)) process.exitCode = EXIT.failure;
  if (invocation.json) return printJson(all);
  printTable(
    all,
    [
      { heading: 'NODE', cell: ({ node }) => node },
      { heading: 'READY', cell: (row) => (row.status.ready ? 'yes' : 'no') },
      { heading: 'ROUTING', cell: (row) => row.status.modes.routing },
      { heading: 'FAMILIES', cell: (row) => row.status.modes.families },
      { heading: 'ENDPOINTS', cell: (row) => row.status.endpoints.total },
      { heading: 'VERSION', cell: (row) => row.status.version },
    ],
    'no nodes',
  );
  for (const { node, status: each } of all) {
    const ill = [...each.sources, ...each.reconcilers].filter(({ healthy }) => !healthy);
    for (const reason of each.reasons) printLine(`${node}: ${reason}`);
    for (const { name, detail } of ill) printLine(`${node}: ${name}: ${detail}`);
  }
}
