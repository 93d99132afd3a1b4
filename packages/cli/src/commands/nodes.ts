import { CliError } from '../errors.ts';
import { printJson, printRows, type Row } from '../output/print.ts';
import { askAll, mergeRows } from './agents.ts';
import { hostEndpointsOf } from './host-endpoints.ts';
import { answers, field, printOne, type Query } from './queries.ts';

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
    askAll(target, hostEndpointsOf, invocation.json),
  );
  const rows = mergeRows(all);
  if (invocation.json) return printJson(rows);
  await printRows(
    rows.map(({ policy, audit, changed, ...row }) => ({
      ...row,
      ingress: field(policy, 'ingress') ?? 'unknown',
      egress: field(policy, 'egress') ?? 'unknown',
      mode: `${modeOf(audit)}${Object.keys(changed ?? {}).length > 0 ? ', changed here' : ''}`,
    })),
    ['node', 'identity', 'ingress', 'egress', 'mode', 'nodePolicies', 'labels'],
    'no node is an endpoint itself (hostEndpoint.enabled)',
  );
};

const modeOf = (audit: unknown): string => (audit === true ? 'on trial' : 'in force');

/** Puts a node's own policies on trial or in force, at once and over restarts. */
export const nodeAudit: Query = async (invocation, [wanted]) => {
  const audit = invocation.options.off !== true;
  const changed = await invocation.withTarget(async (target) => {
    const agent = target.agents.find(({ node }) => node === wanted);
    if (agent !== undefined) return agent.ask('PATCH', '/v1/host-endpoint', { audit });
    throw new CliError('not-found', `no agent asked is of node ${wanted}`, {
      field: 'name',
      value: wanted,
      hint: 'causeway node endpoints shows nodes that are endpoints themselves',
    });
  });
  await printOne(invocation, changed);
};
