import { request } from 'node:http';
import { createInterface } from 'node:readline';
import { until } from '@causeway/lab';
import type { Site } from './site.ts';

/** Shows the last drop between two places in the words of the node that dropped it, and wants a rule or a missing allow named. */
export async function explainDrop(site: Site, from: string, to: string): Promise<void> {
  const found = await findDrop(site, from, to);
  site.report.check(
    `the drop of ${from} to ${to} explains itself`,
    found !== undefined,
    found ?? 'no node tells of it',
  );
}

interface Counter {
  readonly reason: string;
  readonly packets: number;
}

/** All drops of all nodes by reason, as `causeway drops` shows them a node. */
export async function whatWasDropped(site: Site): Promise<void> {
  site.report.section('What was dropped so far, by reason');
  const totals = new Map<string, number>();
  for (const agent of site.agents) {
    const { counters } = (await agent.get('/v1/drops')) as { counters: Counter[] };
    for (const { reason, packets } of counters)
      totals.set(reason, (totals.get(reason) ?? 0) + packets);
  }
  for (const [reason, packets] of [...totals].sort(([, a], [, b]) => b - a))
    site.report.note(`${String(packets).padStart(6)} packets  ${reason}`);
  const byPolicy = ['policy-default', 'policy-deny'].every(
    (reason) => (totals.get(reason) ?? 0) > 0,
  );
  site.report.check(
    'drops by default deny and by deny rules are counted apart',
    byPolicy,
    [...totals.keys()].join(', '),
  );
}

/** Sends traffic and wants a verdict of audit for it: a packet that passed although a policy in audit mode would drop it. */
export async function expectAudit(
  site: Site,
  from: string,
  to: string,
  send: () => Promise<unknown>,
): Promise<void> {
  const addresses = await Promise.all([site.address(from, 'ipv4'), site.address(to, 'ipv4')]);
  const events: string[] = [];
  const streams = site.agents.map((agent) => {
    const call = request({
      socketPath: agent.socket,
      path: '/v1/monitor?type=verdict',
      agent: false,
    });
    call.on('response', (response) => {
      const lines = createInterface({ input: response });
      lines.on('line', (line) => events.push(`${agent.node.name}: ${line}`));
      // Destroyed at the end: to be expected.
      lines.on('error', () => {});
    });
    call.on('error', () => {});
    call.end();
    return call;
  });
  const found = (): string | undefined =>
    events.find(
      (line) =>
        line.includes('"policy-audit"') &&
        addresses.every((address) => line.includes(`"${address}"`)),
    );
  try {
    await until(
      'an audit event',
      async () => {
        await send();
        return found() === undefined ? 'none came' : undefined;
      },
      { timeoutMs: 5000 },
    ).catch(() => {});
  } finally {
    for (const stream of streams) stream.destroy();
  }
  const what = `${from} to ${to} is reported as what would have been dropped`;
  site.report.check(what, found() !== undefined, textOf(found()) ?? 'no node tells of it');
}

/** The event's own sentence, with its node in front. */
function textOf(line: string | undefined): string | undefined {
  if (line === undefined) return undefined;
  const brace = line.indexOf('{');
  const { text } = JSON.parse(line.slice(brace)) as { text?: string };
  return `${line.slice(0, brace)}${text ?? line.slice(brace)}`;
}

async function findDrop(site: Site, from: string, to: string): Promise<string | undefined> {
  const addresses = await Promise.all([site.address(from, 'ipv4'), site.address(to, 'ipv4')]);
  for (const agent of site.agents) {
    // The newest is first.
    const { recent } = (await agent.get('/v1/drops')) as { recent: { text: string }[] };
    const event = recent.find((each) =>
      addresses.every((address) => JSON.stringify(each).includes(`"${address}"`)),
    );
    if (event !== undefined) return `${agent.node.name}: ${event.text}`;
  }
  return undefined;
}
