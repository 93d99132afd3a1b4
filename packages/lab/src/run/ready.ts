import { LabError } from '../errors.ts';
import { until } from '../host/wait.ts';
import type { LabAgent } from './agents.ts';
import type { LabProgram } from './program.ts';
import type { LabRouter } from './routers.ts';

/** Waits until the routers' sessions among themselves are up. */
export async function routersReady(
  routers: readonly LabRouter[],
  timeoutMs: number,
  signal?: AbortSignal,
): Promise<void> {
  await Promise.all(
    routers.map((router) =>
      until(`router ${router.name}`, () => router.missing(), {
        timeoutMs,
        hint: `its logs are ${Object.values(router.logs).join(', ')}`,
        ...(signal === undefined ? {} : { signal }),
      }),
    ),
  );
}

/** Waits until every operator (or inventory) answers and one of them leads. */
export async function operatorsReady(
  operators: readonly (LabProgram & { leads(): Promise<boolean> })[],
  timeoutMs: number,
  signal?: AbortSignal,
): Promise<void> {
  if (operators.length === 0) return;
  const look = async (): Promise<string | undefined> => {
    for (const operator of operators) {
      const missing = await operator.missing();
      if (missing !== undefined) return `${operator.place}: ${missing}`;
    }
    for (const operator of operators) if (await operator.leads()) return undefined;
    return 'none leads';
  };
  await until('operators', look, {
    timeoutMs,
    hint: `their logs are ${operators.map(({ log }) => log).join(', ')}`,
    ...(signal === undefined ? {} : { signal }),
  });
}

/** Waits until every agent says that it is ready and that it takes pods. */
export async function agentsReady(
  agents: readonly LabAgent[],
  timeoutMs: number,
  signal?: AbortSignal,
): Promise<void> {
  await Promise.all(
    agents.map((agent) =>
      until(`agent on ${agent.node.name}`, () => agent.missing(), {
        timeoutMs,
        hint: `its log is ${agent.log}`,
        ...(signal === undefined ? {} : { signal }),
      }),
    ),
  );
}

/** Labels by Kubernetes' rules, as far as a choice of nodes needs them. */
export function selects(
  selector: LabelSelector | undefined,
  labels: Readonly<Record<string, string>>,
): boolean {
  const { matchLabels = {}, matchExpressions = [] } = selector ?? {};
  return (
    Object.entries(matchLabels).every(([key, value]) => labels[key] === value) &&
    matchExpressions.every(({ key, operator, values = [] }) => {
      const value = labels[key];
      const among = value !== undefined && values.includes(value);
      if (operator === 'In') return among;
      if (operator === 'NotIn') return !among;
      return (value !== undefined) === (operator === 'Exists');
    })
  );
}

export interface LabelSelector {
  readonly matchLabels?: Readonly<Record<string, string>> | undefined;
  readonly matchExpressions?:
    | readonly {
        readonly key: string;
        readonly operator: string;
        readonly values?: readonly string[] | undefined;
      }[]
    | undefined;
}

/**
 * Waits until all sessions of the nodes' speakers are up, those of BFD too where `guarded` says that the
 * neighbour has it; a node that a selector means has at least one.
 */
export async function speakersReady(
  agents: readonly LabAgent[],
  selectors: readonly (LabelSelector | undefined)[],
  guarded: (remote: string) => boolean,
  timeoutMs: number,
  signal?: AbortSignal,
): Promise<void> {
  await Promise.all(
    agents.map(async (agent) => {
      const { speaker, node } = agent;
      if (speaker === undefined) return;
      const meant = selectors.some((selector) => selects(selector, node.labels));
      await until(
        `sessions of ${node.name}`,
        async () => {
          const missing = await speaker.missing();
          if (missing !== undefined) return missing;
          const sessions = await agent.sessions();
          if (sessions.length === 0) return meant ? 'it has none' : undefined;
          const down = sessions.filter((session) => !session.established);
          if (down.length > 0)
            return `not up: ${down.map(({ remote, state }) => `${remote} (${state})`).join(', ')}`;
          const bare = sessions.filter(({ remote, bfd = 'up' }) => bfd !== 'up' && guarded(remote));
          if (bare.length === 0) return undefined;
          return `BFD is not up: ${bare.map(({ remote, bfd }) => `${remote} (${bfd})`).join(', ')}`;
        },
        {
          timeoutMs,
          hint: `its log is ${speaker.log}`,
          ...(signal === undefined ? {} : { signal }),
        },
      );
    }),
  );
}

/** Waits until every agent says of every peer that it is read and followed. */
export async function peersReady(
  agents: readonly LabAgent[],
  peers: readonly string[],
  timeoutMs: number,
  signal?: AbortSignal,
): Promise<void> {
  if (peers.length === 0) return;
  await Promise.all(
    agents.map((agent) =>
      until(
        `peers of ${agent.node.name}`,
        async () => {
          const rows = (await agent.get('/v1/tables/mesh-peers')) as readonly {
            readonly name: string;
            readonly state: string;
            readonly reason?: string;
          }[];
          const bad = peers.flatMap((name) => {
            const row = rows.find((each) => each.name === name);
            if (row?.state === 'ready') return [];
            return [`${name} is ${row?.state ?? 'not known'}: ${row?.reason ?? ''}`];
          });
          return bad.length === 0 ? undefined : bad.join('; ');
        },
        { timeoutMs, hint: `its log is ${agent.log}`, ...(signal === undefined ? {} : { signal }) },
      ),
    ),
  );
}

/** Waits until every node knows the nodes named and the identity of every pod's address. */
export async function tablesComplete(
  agents: readonly LabAgent[],
  nodes: readonly string[],
  podAddresses: readonly string[],
  timeoutMs: number,
  signal?: AbortSignal,
): Promise<void> {
  await Promise.all(
    agents.map((agent) =>
      until(
        `tables of ${agent.node.name}`,
        async () => {
          const missingNodes = absent(nodes, namesIn(await agent.get('/v1/nodes'), 'name'));
          if (missingNodes.length > 0) return `it does not know ${some('node', missingNodes)}`;
          const known = namesIn(await agent.get('/v1/ipcache'), 'prefix');
          const missing = podAddresses.filter(
            (address) =>
              !known.has(address) && !known.has(`${address}/${address.includes(':') ? 128 : 32}`),
          );
          return missing.length > 0
            ? `its ipcache lacks ${some('address', missing)}`
            : agent.missing();
        },
        { timeoutMs, hint: `its log is ${agent.log}`, ...(signal === undefined ? {} : { signal }) },
      ),
    ),
  );
}

function namesIn(rows: unknown, field: string): ReadonlySet<string> {
  if (!Array.isArray(rows))
    throw new LabError('agent-failed', 'an agent answered with something that is no list of rows', {
      value: rows,
    });
  return new Set(
    rows.flatMap((row) => {
      const value =
        typeof row === 'object' && row !== null
          ? (row as Record<string, unknown>)[field]
          : undefined;
      return typeof value === 'string' ? [value] : [];
    }),
  );
}

function absent(wanted: readonly string[], present: ReadonlySet<string>): string[] {
  return wanted.filter((name) => !present.has(name));
}

function some(what: string, names: readonly string[]): string {
  return `${names.length} ${what}(s): ${names.slice(0, 3).join(', ')}${names.length > 3 ? ' ...' : ''}`;
}
