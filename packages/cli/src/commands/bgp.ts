import { suggest } from '@causeway/daemon/words';
import type { EventView, PeerView, StatusView } from '@causeway/speaker';
import { AgentClient } from '../agent-client.ts';
import { CliError, printError, replaceBigInt } from '../errors.ts';
import { printJson, printLine, printTable, printYaml, type Row } from '../output/print.ts';
import type { Invocation } from '../program/invocation.ts';
import { mergeRows, type NodeAnswer } from './agents.ts';
import { askSpeakers, duration, withSpeakers } from './speakers.ts';

/** Runs the speaker, or tells the one that runs to end for good. */
export async function speaker({ options, json }: Invocation): Promise<void> {
  const file = typeof options.config === 'string' ? options.config : undefined;
  const { drain } = options;
  if (drain === undefined) {
    const { runSpeaker } = await import('@causeway/speaker');
    return runSpeaker(file);
  }
  const named = options.socket;
  const socket =
    typeof named === 'string'
      ? named
      : (await import('@causeway/speaker')).loadProgramConfig(file).socket;
  const answer = await new AgentClient('this machine', socket, 'speaker').ask(
    'POST',
    '/v1/shutdown',
    typeof drain === 'string' ? { text: drain } : {},
  );
  if (json) printJson(answer);
  else printLine('the speaker ends; its neighbours are told');
}

export async function bgpStatus(invocation: Invocation): Promise<void> {
  const answers = await askSpeakers(invocation, (each) => each.get('/v1/status'));
  if (invocation.json) return printJson(mergeRows(answers));
  const rows = answers.map(({ node, body }) => ({ node, ...(body as StatusView) }));
  printTable(
    rows,
    [
      { heading: 'NODE', cell: ({ node }) => node },
      { heading: 'AS', cell: ({ asn }) => asn ?? 'not configured' },
      { heading: 'ROUTER ID', cell: ({ routerId }) => routerId },
      { heading: 'PEERS UP', cell: ({ peers }) => `${peers.established}/${peers.total}` },
      { heading: 'PREFIXES', cell: ({ prefixes }) => sum(prefixes) },
      { heading: 'PATHS', cell: ({ paths }) => sum(paths) },
      {
        heading: 'KERNEL',
        cell: ({ kernel }) =>
          kernel === undefined || kernel.mode === 'none'
            ? 'none'
            : `${kernel.mode} ${kernel.installed}${kernel.failed > 0 ? `, ${kernel.failed} fail` : ''}`,
      },
      {
        heading: 'BFD',
        cell: ({ bfd }) =>
          bfd && (bfd.connected ? `${bfd.up}/${bfd.sessions}` : 'no answer from its daemon'),
      },
      {
        heading: 'BMP',
        cell: ({ bmp }) => bmp.map((each) => `${each.station} ${String(each.state)}`),
      },
      { heading: 'RUNS', cell: ({ uptimeSeconds }) => duration(uptimeSeconds) },
      {
        heading: 'MEMORY',
        cell: ({ memoryBytes }) => `${Math.round(memoryBytes / 1_048_576)} MiB`,
      },
      {
        heading: 'RESTARTING',
        cell: ({ restarting }) => restarting && `waits for ${restarting.expected}`,
      },
    ],
    'no speakers',
  );
}

const sum = (values: Readonly<Record<string, number>>): number =>
  Object.values(values).reduce((total, each) => total + each, 0);

/** All neighbours, or one whole. A neighbour that only some nodes have is no error. */
export async function bgpPeers(invocation: Invocation, [name]: readonly string[]): Promise<void> {
  const answers = await askSpeakers(invocation, (each) => each.get('/v1/peers'));
  const rows = (mergeRows(answers) as (Row & PeerView & { node: string })[]).filter(
    (row) => name === undefined || row.name === name,
  );
  if (name !== undefined && rows.length === 0)
    throw new CliError('not-found', `no speaker here has a neighbour ${name}`, {
      field: 'name',
      value: name,
      hint: neighborHint(name, answers),
    });
  if (invocation.json) return printJson(rows);
  if (name !== undefined) return printYaml(rows.length === 1 ? rows[0] : rows);
  printTable(
    rows,
    [
      { heading: 'NODE', cell: ({ node }) => node },
      { heading: 'NEIGHBOR', cell: (row) => row.name },
      {
        heading: 'ADDRESS',
        cell: (row) => (row.interface ? `${row.address ?? ''}%${row.interface}` : row.address),
      },
      { heading: 'AS', cell: ({ asn }) => asn },
      { heading: 'STATE', cell: stateText },
      { heading: 'FOR', cell: ({ stateSeconds }) => duration(stateSeconds) },
      { heading: 'RECEIVED', cell: (row) => perFamily(row, 'received') },
      { heading: 'ACCEPTED', cell: (row) => perFamily(row, 'accepted') },
      { heading: 'ADVERTISED', cell: (row) => perFamily(row, 'advertised') },
      { heading: 'BFD', cell: ({ bfd }) => bfd?.state },
      { heading: 'WHY DOWN, OR LAST FALL', cell: whyDown },
    ],
    'no neighbours',
  );
}

/** People type a switch's name where a neighbour of it for each family has it in front. */
function neighborHint(name: string, answers: readonly NodeAnswer[]): string {
  const names = answers.flatMap(({ body }) => (body as PeerView[]).map((each) => each.name));
  const near = [...new Set(names)].filter((each) => each.startsWith(name));
  const one = near.length > 0 ? near.slice(0, 4).join(' or ') : suggest(name, names);
  return one === undefined ? 'causeway bgp peers lists them' : `did you mean ${one}?`;
}

const stateText = ({ state, adminDown, restart }: PeerView): string =>
  adminDown ? 'admin-down' : restart === undefined ? state : `${state} (routes kept)`;

/** `12+3`: IPv4 and IPv6, of the families that it has. */
const perFamily = (
  { families, state }: PeerView,
  field: 'received' | 'accepted' | 'advertised',
): string =>
  state === 'established' || field !== 'advertised'
    ? families.map((each) => each[field]).join('+')
    : '-';

function whyDown({ waitingFor, lastDown, state, downs }: PeerView): string | undefined {
  if (waitingFor === 'address') return 'waits: nobody is known on that link or route yet';
  if (waitingFor === 'bfd') return 'waits for BFD to come up (strict)';
  if (lastDown === undefined) return undefined;
  if (state === 'established')
    return downs === 0 ? undefined : `fell ${downs} times, last: ${lastDown.text}`;
  return lastDown.text;
}

export async function bgpReset(
  invocation: Invocation,
  [name = '']: readonly string[],
): Promise<void> {
  const { how = 'hard', text } = invocation.options;
  const body = { how, ...(typeof text === 'string' ? { text } : {}) };
  const path = `/v1/peers/${encodeURIComponent(name)}/reset`;
  const answers = await askSpeakers(invocation, (each) => each.ask('POST', path, body));
  if (invocation.json) return printJson(mergeRows(answers));
  for (const { node, body: peer } of answers)
    printLine(`${node}  ${name}: ${String(how)} reset, now ${(peer as PeerView).state}`);
}

export async function bgpConfig(invocation: Invocation, [owner]: readonly string[]): Promise<void> {
  const path = owner === undefined ? '/v1/config' : `/v1/config/${encodeURIComponent(owner)}`;
  const answers = await askSpeakers(invocation, (each) => each.get(path));
  if (invocation.json) return printJson(owner === undefined ? mergeRows(answers) : answers);
  if (owner !== undefined)
    return printYaml(Object.fromEntries(answers.map(({ node, body }) => [node, body])));
  printTable(
    mergeRows(answers),
    ['node', 'owner', 'neighbors', 'dynamicNeighbors', 'policies'].map((field) => ({
      heading: field === 'dynamicNeighbors' ? 'RANGES' : field.toUpperCase(),
      cell: (row) => row[field],
    })),
    'nobody has told the speakers anything yet',
  );
}

/** Until SIGINT or SIGTERM, or until the last speaker hangs up; one that does is named. */
export async function bgpEvents(invocation: Invocation): Promise<void> {
  const { peer, type } = invocation.options;
  const query = new URLSearchParams();
  if (typeof peer === 'string') query.set('peer', peer);
  if (typeof type === 'string') query.set('type', type);
  const stop = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => stop.abort());
  await withSpeakers(invocation, async (speakers) => {
    await Promise.all(
      speakers.map(async (each) => {
        try {
          for await (const line of each.stream(`/v1/events?${query}`, stop.signal)) {
            const event = line as EventView;
            printLine(
              invocation.json
                ? JSON.stringify({ node: each.node, ...event }, replaceBigInt)
                : `${each.node}  ${eventText(event)}`,
            );
          }
        } catch (error) {
          process.exitCode = printError(error, invocation.json);
        }
      }),
    );
  });
}

function eventText(event: EventView): string {
  const { type, at, peer } = event;
  switch (type) {
    case 'status': {
      const { established, total } = event.peers as { established: number; total: number };
      return `${established} of ${total} sessions are up; what follows happens now`;
    }
    case 'peer-state':
      return `${at}  ${peer}: ${event.from} -> ${event.to}`;
    case 'peer-up':
      return `${at}  ${peer}: up, ${event.address}`;
    case 'peer-down':
      return `${at}  ${peer}: ${event.established ? 'down' : 'no session'}: ${event.text}`;
    case 'bfd':
      return `${at}  ${peer}: BFD is ${event.state}`;
    case 'end-of-rib':
      return `${at}  ${peer}: ${event.received === true ? 'it has sent' : 'it was sent'} all ${event.family} routes`;
    case 'lost':
      return `${event.count} events were lost: this reader was too slow`;
    default: {
      const { type: _, at: __, peer: ___, ...rest } = event;
      const words = Object.entries(rest).map(([key, value]) => `${key} ${String(value)}`);
      return `${at}  ${peer === undefined ? '' : `${peer}: `}${type}: ${words.join(', ')}`;
    }
  }
}
