import type { AgentClient } from '../agent-client.ts';
import type { Target } from '../context.ts';
import { CliError, EXIT, printError, replaceBigInt } from '../errors.ts';
import { isRow, type Row } from '../output/print.ts';

export interface NodeAnswer {
  readonly node: string;
  readonly body: unknown;
}

/**
 * Asks every agent of the target at once. Those that do not answer are named on standard error and
 * make the exit status 5, the others' answers are still given; when none answers, the first error is thrown.
 */
export async function askAll(
  target: Pick<Target, 'name' | 'agents'>,
  ask: (agent: AgentClient) => Promise<unknown>,
  json: boolean,
): Promise<NodeAnswer[]> {
  if (target.agents.length === 0)
    throw new CliError('not-found', `context ${target.name} names no agents`, {
      field: '--context',
      value: target.name,
      hint: 'add them under contexts.NAME.agents in the context file',
    });
  const settled = await Promise.allSettled(target.agents.map(ask));
  const failed = settled.filter((each) => each.status === 'rejected');
  if (failed.length === settled.length) throw failed[0]?.reason;
  for (const each of failed) {
    printError(each.reason, json);
    process.exitCode = EXIT.unreachable;
  }
  return settled.flatMap((each, i) =>
    each.status === 'fulfilled' ? [{ node: target.agents[i]!.node, body: each.value }] : [],
  );
}

/**
 * The rows of all answers, each with the asked node in front: as `node`, or as `asked` where a row has
 * a `node` of its own. An answer that is an object counts as one row.
 */
export function mergeRows(answers: readonly NodeAnswer[]): Row[] {
  return answers.flatMap(({ node, body }) => {
    const rows = Array.isArray(body) ? body : [body];
    return rows.map((row) => {
      if (!isRow(row)) return { node, value: row };
      return Object.hasOwn(row, 'node') ? { asked: node, ...row } : { node, ...row };
    });
  });
}

/**
 * Rows that several nodes give alike become one, with the nodes in it: `all` when all that were asked
 * agree. What is the same everywhere is then read once, and what differs stands out.
 */
export function foldRows(rows: readonly Row[], asked: number): Row[] {
  const folded = new Map<string, { nodes: string[]; row: Row }>();
  for (const { node, ...row } of rows) {
    const key = JSON.stringify(row, replaceBigInt);
    const known = folded.get(key);
    if (known === undefined) folded.set(key, { nodes: [String(node)], row });
    else known.nodes.push(String(node));
  }
  return Array.from(folded.values(), ({ nodes, row }) => ({
    node: nodes.length === asked && asked > 1 ? 'all' : nodes.join(','),
    ...row,
  }));
}
