import { ApiClient, silentLog } from '@causeway/daemon';
import type { DryRun, InstanceStatus, MemberView, WhyView } from '@causeway/inventory';
import { CliError, EXIT } from '../errors.ts';
import { printJson, printLine, printTable, printYaml } from '../output/print.ts';
import type { Invocation } from '../program/invocation.ts';

/** The inventory of machines outside: `run` is the program, `diff` tries a configuration, the rest asks one that runs. */

/** Lists of 100,000 endpoints take a while. */
const TIMEOUT_MS = 60_000;

export async function inventoryRun({ options }: Invocation): Promise<void> {
  const { runInventory } = await import('@causeway/inventory');
  await runInventory(String(options.config));
}

/** Where an instance listens on a machine of its own. */
const SOCKET = '/run/causeway/inventory.sock';
const SILENT =
  'is it running? causeway inventory run --config FILE runs one; --socket names the socket of another, --context lab:NAME/CLUSTER that of a lab';

/** The instance behind `--socket`, else a lab's, of several the one that leads, else this machine's. */
async function ask(
  invocation: Invocation,
  method: 'GET' | 'POST' | 'PUT' | 'DELETE',
  path: string,
  body?: unknown,
): Promise<unknown> {
  const { socket } = invocation.options;
  const named = typeof socket === 'string' ? [socket] : await socketsOf(invocation);
  const clients = named.map((each) => new ApiClient('inventory', each, TIMEOUT_MS, SILENT));
  const [first, ...others] = clients;
  for (const each of others.length === 0 ? [] : clients) {
    const status = (await each.ask('GET', '/v1/status').catch(() => undefined)) as
      | InstanceStatus
      | undefined;
    if (status?.leader === true) return each.ask(method, path, body);
  }
  return first!.ask(method, path, body);
}

async function socketsOf(invocation: Invocation): Promise<readonly string[]> {
  const context = invocation.contextName;
  if (context?.startsWith('lab:') !== true) return [SOCKET];
  const sockets = await invocation.withTarget(async ({ inventories }) => inventories);
  if (sockets.length > 0) return sockets;
  throw new CliError('not-found', `${context} has no inventory`, {
    field: '--context',
    value: context,
    hint: 'causeway lab places NAME shows the lab’s; an inventory is a cluster of its own, as in lab:two-clusters/machines',
  });
}

export async function inventoryStatus(invocation: Invocation): Promise<void> {
  const status = (await ask(invocation, 'GET', '/v1/status')) as InstanceStatus;
  if (invocation.json) return printJson(status);
  const { sources, ...rest } = status;
  await printYaml(rest);
  if (!status.leader) return;
  printLine('');
  printTable(
    sources,
    [
      { heading: 'SOURCE', cell: ({ name }) => name },
      { heading: 'TYPE', cell: ({ type }) => type },
      { heading: 'STATE', cell: ({ report }) => report.state },
      { heading: 'ENDPOINTS', cell: ({ items }) => items },
      { heading: 'LEFT OUT', cell: ({ leftOut }) => leftOut },
      { heading: 'REFUSED', cell: ({ refused }) => refused.count },
      { heading: 'WARNINGS', cell: ({ warnings }) => warnings },
      {
        heading: 'WITHHELD',
        cell: ({ withheld }) =>
          withheld &&
          `${withheld.count} of ${withheld.of}, ${Math.ceil(withheld.secondsLeft)} s left`,
      },
      {
        heading: 'MESSAGE',
        cell: ({ report, refused }) => report.message ?? refused.newest[0]?.message,
      },
    ],
    'it has no sources',
  );
}

const memberColumns = [
  { heading: 'NAME', cell: ({ name }: MemberView) => name },
  { heading: 'SOURCE', cell: ({ source }: MemberView) => source },
  { heading: 'ADDRESSES', cell: ({ addresses }: MemberView) => addresses },
  { heading: 'PLATFORM', cell: ({ platform }: MemberView) => platform },
  { heading: 'IDENTITY', cell: ({ identity }: MemberView) => identity },
  { heading: 'STATE', cell: ({ state }: MemberView) => state },
  { heading: 'LABELS', cell: ({ labels }: MemberView) => labels.filter(isTheirs) },
];

/** What every endpoint says in the same words is not shown in a table. */
const isTheirs = (label: string): boolean => !/^k8s:(io\.|causeway\.io\/platform)/.test(label);

export async function inventoryList(invocation: Invocation): Promise<void> {
  const { options } = invocation;
  const query = new URLSearchParams({ limit: String(options.limit) });
  for (const name of ['source', 'label']) {
    if (options[name] !== undefined) query.set(name, String(options[name]));
  }
  const rows = (await ask(invocation, 'GET', `/v1/endpoints?${query}`)) as MemberView[];
  if (invocation.json) return printJson(rows);
  printTable(rows, memberColumns, 'no endpoints');
}

export async function inventoryConflicts(invocation: Invocation): Promise<void> {
  const rows = (await ask(invocation, 'GET', '/v1/conflicts')) as DryRun['conflicts'];
  if (invocation.json) return printJson(rows);
  printConflicts(rows, 'every address has one claimant');
}

const who = ({ name, source }: MemberView): string => `${name} (${source})`;

function printConflicts(rows: DryRun['conflicts'], empty: string): void {
  printTable(
    rows,
    [
      { heading: 'ADDRESS', cell: ({ address }) => address },
      { heading: 'HELD BY', cell: ({ holder }) => who(holder) },
      { heading: 'REFUSED TO', cell: ({ refused }) => refused.map(who) },
    ],
    empty,
  );
}

export async function inventoryWhy(
  invocation: Invocation,
  [address = '']: readonly string[],
): Promise<void> {
  const path = `/v1/why?address=${encodeURIComponent(address)}`;
  const why = (await ask(invocation, 'GET', path)) as WhyView;
  if (invocation.json) return printJson(why);
  const { verdict, ...rest } = why;
  printLine(verdict.replace(/\p{Cc}/gu, '?'));
  if (why.holder !== undefined) await printYaml(rest);
}

export async function inventoryAccept(
  invocation: Invocation,
  [source = '']: readonly string[],
): Promise<void> {
  const done = (await ask(invocation, 'POST', '/v1/accept', { source })) as {
    removed: number;
  };
  if (invocation.json) return printJson(done);
  printLine(`${done.removed} endpoints of ${source} are taken away`);
}

export async function inventoryDiff(invocation: Invocation): Promise<void> {
  const wait = Number(invocation.options.wait);
  if (!(wait > 0 && wait <= 86_400)) {
    const given = String(invocation.options.wait);
    throw new CliError('bad-usage', `--wait must be 1 to 86400 seconds, not ${given}`, {
      field: '--wait',
      value: given,
    });
  }
  const { dryRun, host, readConfig } = await import('@causeway/inventory');
  const hosted = host(readConfig(String(invocation.options.config)), silentLog);
  await using _kv = hosted.kv;
  const stop = new AbortController();
  process.once('SIGINT', () => stop.abort());
  let told = '';
  const run = await dryRun(hosted, wait, stop.signal, (sources) => {
    const names = sources.map(({ name, report }) => `${name} (${report.message ?? report.state})`);
    if (names.join() === told) return;
    told = names.join();
    process.stderr.write(`waiting for source ${names.join(', ')}\n`);
  });
  // What is missing of the answer could be anything: no script may take it for all.
  if (!run.complete) process.exitCode = EXIT.failure;
  if (invocation.json) return printJson(run);
  printDryRun(run);
}

const SIGNS = { add: '+', change: '~', remove: '-' } as const;

function printDryRun(run: DryRun): void {
  printTable(
    run.changes,
    [
      { heading: ' ', cell: ({ action }) => SIGNS[action] },
      { heading: 'ADDRESS', cell: ({ address }) => address },
      { heading: 'NAME', cell: ({ after, before }) => (after ?? before)?.name },
      { heading: 'SOURCE', cell: ({ after, before }) => (after ?? before)?.source },
      {
        heading: 'LABELS',
        cell: ({ after, before }) => (after ?? before)?.labels.filter(isTheirs),
      },
      {
        heading: 'BEFORE',
        cell: ({ action, before }) => (action === 'change' ? before?.labels.filter(isTheirs) : ''),
      },
    ],
    run.complete
      ? 'the store is as the sources would have it'
      : 'no change by the sources that have answered',
  );
  const { changes, conflicts, identities, nodes, sources, unpublished, warnings } = run;
  const count = (action: keyof typeof SIGNS) =>
    changes.filter((change) => change.action === action).length;
  printLine('');
  printLine(
    `${count('add')} to add, ${count('change')} to change, ${count('remove')} to remove; ` +
      `${identities.add.length} new identities, ${nodes.add.length} new nodes, ${nodes.remove.length} nodes to remove`,
  );
  if (conflicts.length > 0) {
    printLine('\nClaimed by more than one:');
    printConflicts(conflicts, '');
  }
  for (const { address, reason } of unpublished.slice(0, 20)) {
    printLine(`${address} gets no entry: ${reason}`);
  }
  for (const { name, withheld } of sources) {
    if (withheld === undefined) continue;
    printLine(
      `source ${name} would take ${withheld.count} of ${withheld.of} away: a run withholds that for ${Math.ceil(withheld.secondsLeft)} s, or until accepted`,
    );
  }
  for (const { name, refused } of sources) {
    for (const each of refused.newest.slice(0, 20)) {
      printLine(`source ${name} refuses ${each.id}: ${each.message}`);
    }
  }
  for (const member of warnings.slice(0, 20)) {
    printLine(`${who(member)}: ${member.warnings.join('; ')}`);
  }
  if (run.complete) return;
  for (const { name, report, synced, type } of sources) {
    if (synced || type === 'gone') continue;
    printLine(
      `source ${name} has not answered (${report.message ?? report.state}): what it said before would stay`,
    );
  }
}
