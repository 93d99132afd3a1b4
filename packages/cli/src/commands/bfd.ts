import { AgentClient } from '../agent-client.ts';
import { printError, replaceBigInt } from '../errors.ts';
import { printJson, printLine, printTable, type Row } from '../output/print.ts';
import type { Invocation } from '../program/invocation.ts';
import { askAll, mergeRows, type NodeAnswer } from './agents.ts';

/** The parts of a session's row that the table shows; `--json` gives all. */
interface SessionRow extends Row {
  readonly node: string;
  readonly key: string;
  readonly state: string;
  readonly signal: string;
  readonly detectionTime: number;
  readonly multiplier: number;
  readonly intervals: { readonly transmit: number; readonly remoteTx: number };
  readonly flaps: number;
  readonly upSince?: string;
  readonly lastDown?: { readonly at: string; readonly text: string };
  readonly problem?: { readonly message: string };
}

export async function bfdDaemon({ options }: Invocation): Promise<void> {
  const { runBfdDaemon } = await import('@causeway/bfd-daemon');
  await runBfdDaemon(typeof options.config === 'string' ? options.config : undefined);
}

export async function bfdSessions(invocation: Invocation): Promise<void> {
  const rows = mergeRows(await askDaemons(invocation, '/v1/sessions')) as SessionRow[];
  if (invocation.json) return printJson(rows);
  printTable(
    rows,
    [
      { heading: 'NODE', cell: ({ node }) => node },
      { heading: 'PEER', cell: ({ key }) => key },
      { heading: 'STATE', cell: ({ state }) => state },
      { heading: 'SIGNAL', cell: ({ signal }) => signal },
      { heading: 'SENDS', cell: ({ intervals }) => `${intervals.transmit} ms` },
      { heading: 'DETECTS', cell: ({ detectionTime }) => `${detectionTime} ms` },
      { heading: 'UP SINCE', cell: ({ upSince }) => upSince ?? '-' },
      { heading: 'FLAPS', cell: ({ flaps }) => flaps },
      {
        heading: 'LAST FALL, OR PROBLEM',
        cell: ({ lastDown, problem }) =>
          problem?.message ?? (lastDown === undefined ? '-' : `${lastDown.at}: ${lastDown.text}`),
      },
    ],
    'no BFD sessions',
  );
}

export async function bfdStatus(invocation: Invocation): Promise<void> {
  const answers = await askDaemons(invocation, '/v1/status');
  if (invocation.json) return printJson(mergeRows(answers));
  interface Status {
    readonly sessions: number;
    readonly up: number;
    readonly uptimeSeconds: number;
    readonly preference: { readonly type: string };
    readonly discarded: Readonly<Record<string, number>>;
    readonly loop: { readonly latestWake: number; readonly lateOver5ms: number };
  }
  const rows = answers.map(({ node, body }) => ({ node, ...(body as Status) }));
  printTable(
    rows,
    [
      { heading: 'NODE', cell: ({ node }) => node },
      { heading: 'SESSIONS', cell: ({ sessions }) => sessions },
      { heading: 'UP', cell: ({ up }) => up },
      { heading: 'RUNS', cell: ({ uptimeSeconds }) => `${uptimeSeconds} s` },
      { heading: 'PRIORITY', cell: ({ preference }) => preference.type },
      { heading: 'LATEST WAKE', cell: ({ loop }) => `${loop.latestWake.toFixed(1)} ms` },
      { heading: 'OVER 5 MS', cell: ({ loop }) => loop.lateOver5ms },
      {
        heading: 'DISCARDED',
        cell: ({ discarded }) =>
          Object.entries(discarded)
            .filter(([, count]) => count > 0)
            .map(([reason, count]) => `${reason}=${count}`),
      },
    ],
    'no BFD daemons',
  );
}

/** Until SIGINT or SIGTERM, or until the last daemon hangs up; one that does is named. */
export async function bfdEvents(invocation: Invocation): Promise<void> {
  const stop = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => stop.abort());
  await withDaemons(invocation, async (daemons) => {
    await Promise.all(
      daemons.map(async (daemon) => {
        try {
          for await (const event of daemon.stream('/v1/events', stop.signal)) {
            const row = { node: daemon.node, ...(event as Row) };
            printLine(invocation.json ? JSON.stringify(row, replaceBigInt) : eventText(row));
          }
        } catch (error) {
          process.exitCode = printError(error, invocation.json);
        }
      }),
    );
  });
}

function eventText({ node, type, session, change, key }: Row): string {
  const row = session as SessionRow | undefined;
  const fall = change as { at: string; from: string; to: string; text: string } | undefined;
  switch (type) {
    case 'changed':
      return `${node}  ${fall?.at}  ${row?.key}: ${fall?.from} -> ${fall?.to}: ${fall?.text}`;
    case 'current':
      return `${node}  ${row?.key}: ${row?.state}`;
    case 'removed':
      return `${node}  ${String(key)}: removed`;
    case 'synced':
      return `${node}  that is all for now; what follows are changes`;
    default:
      return `${node}  ${String(type)}`;
  }
}

const askDaemons = (invocation: Invocation, path: string): Promise<NodeAnswer[]> =>
  withDaemons(invocation, (daemons, name) =>
    askAll({ name, agents: daemons }, (daemon) => daemon.get(path), invocation.json),
  );

/** The daemon stands beside each node's agent, unless a socket is named. */
function withDaemons<T>(
  invocation: Invocation,
  work: (daemons: readonly AgentClient[], name: string) => Promise<T>,
): Promise<T> {
  const { socket } = invocation.options;
  if (typeof socket === 'string')
    return work([new AgentClient('this machine', socket, 'BFD daemon')], socket);
  return invocation.withTarget(({ agents, name }) =>
    work(
      agents.map((agent) => agent.beside('BFD daemon', 'bfd.sock')),
      name,
    ),
  );
}
