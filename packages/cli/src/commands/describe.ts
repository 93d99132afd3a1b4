import { type Resource, redacted } from '@causeway/resources';
import type { Target } from '../context.ts';
import { printJson, printLine, printYaml } from '../output/print.ts';
import type { Invocation } from '../program/invocation.ts';
import { mergeRows } from './agents.ts';
import { kindOf } from './kinds.ts';

/** The object, and what the agents make of it: for a pod its endpoint, for a service its backends. */
export async function describe(
  invocation: Invocation,
  [kindName, name]: readonly string[],
): Promise<void> {
  const kind = kindOf(kindName!);
  const ref = kind.namespaced
    ? { namespace: String(invocation.options.namespace), name: name! }
    : { name: name! };
  const { object, agents } = await invocation.withTarget(async (target) => {
    const found = await (await target.store()).get(kind.kind, ref);
    return { object: redacted(found as Resource), agents: await seenByAgents(target, found) };
  });
  if (invocation.json) return printJson({ object, agents });
  await printYaml(object);
  for (const { about, rows } of agents) {
    printLine(`# ${about}`);
    await printYaml(rows);
  }
}

interface Seen {
  readonly about: string;
  readonly rows: unknown;
}

async function seenByAgents(target: Target, object: Resource): Promise<Seen[]> {
  if (object.kind === 'Pod') {
    const agent = target.agents.find(({ node }) => node === object.spec.nodeName);
    if (agent === undefined) return [];
    const { namespace, name } = object.metadata;
    const rows = mergeRows([{ node: agent.node, body: await agent.get('/v1/endpoints') }]);
    const own = rows.filter((row) => row.podNamespace === namespace && row.podName === name);
    return [{ about: `endpoint on ${agent.node}`, rows: own }];
  }
  if (object.kind === 'Service') {
    const agent = target.agents[0];
    if (agent === undefined) return [];
    const query = new URLSearchParams({
      namespace: object.metadata.namespace ?? 'default',
      name: object.metadata.name,
    });
    return [
      {
        about: `why ${agent.node} has these backends`,
        rows: await agent.get(`/v1/services/why?${query}`),
      },
    ];
  }
  return [];
}
