import { ApiClient } from '@causeway/daemon';
import { replaceBigInt } from '../errors.ts';
import { printJson, printLine, printTable, printYaml, type Row } from '../output/print.ts';
import type { Invocation } from '../program/invocation.ts';

/** The BMP station: `causeway bmp` runs it, the rest asks one that runs over its socket. */

export async function bmpStation({ options }: Invocation): Promise<void> {
  const { runStation } = await import('@causeway/bmp-station');
  await runStation(typeof options.config === 'string' ? options.config : undefined);
}

const SILENT =
  'is it running? causeway bmp --config FILE runs one; --socket names the socket of another';

const client = ({ options }: Invocation): ApiClient =>
  new ApiClient('BMP station', String(options.socket), undefined, SILENT);

/** The path with those of the options that are given as parameters. */
function pathOf(invocation: Invocation, path: string, names: readonly string[], more = {}): string {
  const query = new URLSearchParams(more);
  for (const name of names) {
    const value = invocation.options[name];
    if (value !== undefined) query.set(name, String(value));
  }
  return query.size === 0 ? path : `${path}?${query}`;
}

const get = (invocation: Invocation, path: string): Promise<unknown> =>
  client(invocation).ask('GET', path);

export async function bmpStatus(invocation: Invocation): Promise<void> {
  const status = await get(invocation, '/v1/status');
  if (invocation.json) printJson(status);
  else await printYaml(status);
}

export async function bmpRouters(invocation: Invocation): Promise<void> {
  const rows = (await get(invocation, pathOf(invocation, '/v1/routers', ['since']))) as Row[];
  if (invocation.json) return printJson(rows);
  printTable(
    rows,
    [
      { heading: 'ROUTER', cell: ({ name }) => name },
      { heading: 'ADDRESS', cell: ({ address }) => address },
      { heading: 'FEED', cell: ({ connected }) => (connected === true ? 'up' : 'gone') },
      { heading: 'SINCE', cell: ({ since }) => since },
      { heading: 'PEERS UP', cell: ({ peersUp, peers }) => `${String(peersUp)}/${String(peers)}` },
      { heading: 'ROUTES', cell: ({ routes }) => routes },
      { heading: 'SYSTEM', cell: ({ sysDescr }) => String(sysDescr).slice(0, 60) },
    ],
    'no router feeds this station',
  );
}

/** Who closed and why, in a few words. */
function causeText(cause: unknown): string {
  const { why, closedBy, name, text } = cause as Row;
  const by = closedBy === 'unknown' ? '' : `, closed by the ${String(closedBy)}`;
  const words = name === undefined ? '' : ` (${String(name)})`;
  return `${String(why)}${words}${by}${text === undefined ? '' : `: "${String(text)}"`}`;
}

export async function bmpPeers(invocation: Invocation): Promise<void> {
  const path = pathOf(invocation, '/v1/peers', ['router', 'state']);
  const rows = (await get(invocation, path)) as Row[];
  if (invocation.json) return printJson(rows);
  printTable(
    rows,
    [
      { heading: 'ROUTER', cell: ({ router }) => router },
      { heading: 'PEER', cell: ({ peer }) => peer },
      { heading: 'AS', cell: ({ asn }) => asn },
      { heading: 'STATE', cell: ({ state }) => state },
      { heading: 'SINCE', cell: ({ since }) => since },
      { heading: 'ROUTES', cell: ({ routes }) => routes },
      { heading: 'DOWNS/H', cell: ({ downsLastHour }) => downsLastHour },
      {
        heading: 'LAST FALL',
        cell: ({ lastDown }) => {
          const fall = lastDown as Row | undefined;
          return fall === undefined ? '-' : `${String(fall.at)}: ${causeText(fall.cause)}`;
        },
      },
    ],
    'no peers',
  );
}

export async function bmpRoutes(
  invocation: Invocation,
  [prefix]: readonly string[],
): Promise<void> {
  const path = pathOf(invocation, '/v1/routes', ['router', 'peer', 'view', 'family', 'limit'], {
    ...(prefix === undefined ? {} : { prefix }),
    ...(invocation.options.longer === true ? { lookup: 'longer' } : {}),
  });
  const page = (await get(invocation, path)) as { rows: Row[]; next?: number };
  if (invocation.json) return printJson(page);
  printTable(
    page.rows,
    [
      { heading: 'PREFIX', cell: (row) => row.prefix },
      { heading: 'ROUTER', cell: ({ router }) => router },
      { heading: 'PEER', cell: ({ peer }) => peer },
      { heading: 'VIEW', cell: ({ view }) => view },
      { heading: 'NEXT HOP', cell: ({ nextHop }) => nextHop },
      { heading: 'PATH', cell: ({ asPath }) => asPath },
      { heading: 'SINCE', cell: ({ since }) => since },
    ],
    'no such routes',
  );
  if (page.next !== undefined) printLine('there are more; ask for fewer, or raise --limit');
}

export async function bmpEvents(invocation: Invocation): Promise<void> {
  const path = pathOf(invocation, '/v1/events', ['router', 'peer', 'type', 'since', 'limit']);
  const rows = ((await get(invocation, path)) as Row[]).reverse();
  if (invocation.options.follow !== true) {
    if (invocation.json) return printJson(rows);
    for (const row of rows) printLine(eventText(row));
    if (rows.length === 0) printLine('nothing happened');
    return;
  }
  const print = (row: Row): void =>
    printLine(invocation.json ? JSON.stringify(row, replaceBigInt) : eventText(row));
  for (const row of rows) print(row);
  const stop = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => stop.abort());
  const { router, peer, type } = invocation.options;
  const types = type === undefined ? undefined : String(type).split(',');
  for await (const line of client(invocation).lines('/v1/events/watch', stop.signal)) {
    const { data, at, ...event } = line as Row;
    if (router !== undefined && event.router !== router) continue;
    if (peer !== undefined && event.peer !== peer) continue;
    if (types !== undefined && !types.includes(String(event.type))) continue;
    print({ ...event, at: new Date(Number(at)).toISOString(), ...(data as Row) });
  }
}

function eventText({ at, type, router, peer, ...data }: Row): string {
  const who = [router, peer].filter((name) => name !== undefined).join(' ');
  return `${String(at)}  ${String(type)}${who === '' ? '' : `  ${who}`}  ${eventWords(String(type), data)}`;
}

function eventWords(type: string, data: Row): string {
  switch (type) {
    case 'peer-down':
      return `${causeText(data.cause)}; ${String(data.routesLost)} prefixes went with it`;
    case 'peer-up':
      return `AS ${String(data.asn)}`;
    case 'table':
      return `${String(data.view)} ${String(data.family)}: ${String(data.routes)} routes`;
    case 'routes':
      return `${String(data.view)}: ${String(data.announced)} new, ${String(data.changed)} changed, ${String(data.withdrawn)} withdrawn`;
    case 'router-up':
      return `from ${String(data.address)}: ${String(data.sysDescr)}`;
    case 'router-down':
    case 'router-refused': {
      const { code, text } = data.reason as Row;
      const from = data.address === undefined ? '' : `${String(data.address)}: `;
      return `${from}${String(code)}${text === undefined ? '' : `: ${String(text)}`}`;
    }
    case 'fault':
      return `${String(data.fault)} ${String(data.state)}: ${String(data.headline)}`;
    default: {
      const { id: _, ...rest } = data;
      return JSON.stringify(rest);
    }
  }
}

export async function bmpFaults(invocation: Invocation, [id]: readonly string[]): Promise<void> {
  if (id !== undefined) {
    const fault = await get(invocation, `/v1/faults/${encodeURIComponent(id)}`);
    if (invocation.json) printJson(fault);
    else await printYaml(fault);
    return;
  }
  const path = pathOf(invocation, '/v1/faults', ['state', 'since', 'limit']);
  const faults = (await get(invocation, path)) as Row[];
  if (invocation.json) return printJson(faults);
  for (const { id: number, state, openedAt, headline, prefixes, sessions } of faults) {
    const { lost, reachable, gone } = prefixes as Row;
    printLine(`${String(number)}  ${String(openedAt)}  ${String(state)}: ${String(headline)}`);
    printLine(
      `    ${(sessions as Row[]).length} sessions, ${String(lost)} prefixes lost: ${String(reachable)} still have another way, ${String(gone)} are gone`,
    );
  }
  if (faults.length === 0) printLine('no faults');
}

export async function bmpWhy(invocation: Invocation, [prefix]: readonly string[]): Promise<void> {
  const why = (await get(
    invocation,
    pathOf(invocation, '/v1/why', ['since'], { prefix: prefix! }),
  )) as Row;
  if (invocation.json) printJson(why);
  else await printYaml(why);
}
