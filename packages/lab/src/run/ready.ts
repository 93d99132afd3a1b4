import { LabError } from '../errors.ts';
import { until } from '../host/wait.ts';
import type { LabAgent } from './agents.ts';
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

/** Waits until every node knows every other and the identity of every pod's address. */
export async function tablesComplete(
  agents: readonly LabAgent[],
  podAddresses: readonly string[],
  timeoutMs: number,
  signal?: AbortSignal,
): Promise<void> {
  const nodes = agents.map((agent) => agent.node.name);
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
