import { CliError } from '../errors.ts';
import { printJson, printRows, type Row } from '../output/print.ts';
import { askAll, mergeRows } from './agents.ts';
import { answers, field, type Query } from './queries.ts';

/** How each node asked reaches the pods of each other one. */
export const nodeWays: Query = async (invocation) => {
  const all = await answers(invocation, '/v1/nodes');
  const rows = all.flatMap(({ node, body }) =>
    (body as Row[]).flatMap(({ name, cluster, way }) =>
      way === undefined
        ? []
        : [
            {
              node,
              to: name,
              cluster,
              way: `${String(field(way, 'type'))}${field(way, 'changing') === true ? ' (soon)' : ''}`,
              because: field(way, 'because'),
            },
          ],
    ),
  );
  if (invocation.json) printJson(rows);
  else await printRows(rows, ['node', 'to', 'cluster', 'way', 'because'], 'no other nodes');
};

/** Nodes that are endpoints themselves. */
export const nodeEndpoints: Query = async (invocation) => {
  const all = await invocation.withTarget((target) =>
    askAll(
      target,
      async (agent) => {
        try {
          return [await agent.get('/v1/host-endpoint')];
        } catch (error) {
          const unlike = error instanceof CliError && error.field === 'hostEndpoint.enabled';
          if (unlike) return [];
          throw error;
        }
      },
      invocation.json,
    ),
  );
  const rows = mergeRows(all);
  if (invocation.json) return printJson(rows);
  await printRows(
    rows.map(({ policy, audit, ...row }) => ({
      ...row,
      ingress: field(policy, 'ingress') ?? 'unknown',
      egress: field(policy, 'egress') ?? 'unknown',
      mode: audit === true ? 'on trial' : 'in force',
    })),
    ['node', 'identity', 'ingress', 'egress', 'mode', 'labels'],
    'no node is an endpoint itself (hostEndpoint.enabled)',
  );
};
