import type { CommandResult } from '@causeway/lab';
import { iperfServer } from '../../bench/lib/traffic.ts';
import type { Site } from './site.ts';

const SECONDS = 12;

/**
 * Keeps one TCP connection to the database, a line every 20 ms, each of which must come back. Runs in
 * the pod; prints one line of JSON.
 */
const CONVERSATION = `
const [address, port, seconds] = process.argv.slice(1);
const socket = require('node:net').connect(Number(port), address);
let sent = 0, echoed = 0, rest = '', last = performance.now(), gap = 0, error = null;
socket.setEncoding('utf8');
socket.on('data', (text) => {
  const lines = (rest + text).split('\\n');
  rest = lines.pop();
  for (const line of lines) if (line === 'line ' + echoed) { echoed += 1; gap = Math.max(gap, performance.now() - last); last = performance.now(); }
});
socket.on('error', (e) => { error = e.code; });
const timer = setInterval(() => socket.write('line ' + sent++ + '\\n'), 20);
setTimeout(() => { clearInterval(timer); setTimeout(() => { console.log(JSON.stringify({ sent, echoed, gap: Math.round(gap), error })); process.exit(); }, 500); }, seconds * 1000);
`;

interface Conversation {
  readonly sent: number;
  readonly echoed: number;
  readonly gap: number;
  readonly error: string | null;
}

interface Transfer {
  readonly error?: string;
  readonly end: { readonly sum_received: { readonly bytes: number; readonly seconds: number } };
  readonly intervals: readonly { readonly sum: { readonly bytes: number } }[];
}

/** Agents are killed and started again under a bulk transfer and a conversation that policy allows. */
export async function killAgents(site: Site): Promise<void> {
  site.report.section('An agent is killed in the middle of a transfer');
  const { lab } = site;
  const nodes = ['a1', 'a2'];
  await using _server = await iperfServer(lab.prefix(site.place('intern')));
  const db = await site.address('protected-db', 'ipv6');
  const target = await site.address('intern', 'ipv4');
  const bulk = lab.exec(site.place('employee'), [
    'iperf3',
    '-J',
    '-c',
    target,
    '-t',
    String(SECONDS),
    '-b',
    '300M',
  ]);
  const talk = lab.exec(site.place('employee'), [
    process.execPath,
    '-e',
    CONVERSATION,
    db,
    '6379',
    String(SECONDS),
  ]);
  await new Promise((resolve) => setTimeout(resolve, 1500));
  for (const node of nodes) await lab.agent(node).kill('SIGKILL');
  site.report.note(`killed the agents on ${nodes.join(' and ')} (SIGKILL)`);
  await new Promise((resolve) => setTimeout(resolve, 1500));
  const down = lab.traffic.tcp(site.place('employee'), db, 6379);
  const still = lab.traffic.tcp(site.place('visitor'), db, 6379, { seconds: 1 });
  site.report.check(
    'with the agents dead new connections go through',
    (await down).outcome === 'answered',
    (await down).outcome,
  );
  site.report.check(
    'and policy stays in force',
    (await still).outcome === 'timeout',
    (await still).outcome,
  );
  for (const node of nodes) await lab.agent(node).start();
  await lab.settled();
  site.report.note('started them again; every table is reconciled');
  judgeTransfer(site, await bulk);
  judgeConversation(site, await talk);
}

function judgeTransfer(site: Site, result: CommandResult): void {
  const transfer = JSON.parse(result.stdout) as Transfer;
  const empty = transfer.intervals.filter(({ sum }) => sum.bytes === 0).length;
  const { bytes, seconds } = transfer.end.sum_received;
  const met = transfer.error === undefined && empty === 0;
  const rate = `${((bytes * 8) / seconds / 1e6).toFixed(0)} Mbit/s of 300 asked for, ${empty} empty seconds`;
  site.report.check(
    'the bulk transfer went on through kill and restart',
    met,
    transfer.error ?? rate,
  );
}

function judgeConversation(site: Site, result: CommandResult): void {
  const { sent, echoed, gap, error } = JSON.parse(result.stdout) as Conversation;
  site.report.check(
    'every line of the open connection to the database came back',
    error === null && sent === echoed && sent > 0,
    error ?? `${echoed} of ${sent} lines, longest wait ${gap} ms`,
  );
}
