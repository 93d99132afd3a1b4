import type { Site } from './site.ts';

/** Shows the last drop between two places in the words of the node that dropped it, and wants a rule or a missing allow named. */
export async function explainDrop(site: Site, from: string, to: string): Promise<void> {
  const found = await findEvent(site, from, to, 'recent');
  site.report.check(
    `the drop of ${from} to ${to} explains itself`,
    found !== undefined,
    found ?? 'no node tells of it',
  );
}

/** Wants an audit event: a packet that passed although a policy in audit mode would drop it. */
export async function expectAudit(site: Site, from: string, to: string): Promise<void> {
  const found = await findEvent(site, from, to, 'audited');
  site.report.check(
    `${from} to ${to} is reported as what would have been dropped`,
    found !== undefined,
    found ?? 'no node tells of it',
  );
}

async function findEvent(
  site: Site,
  from: string,
  to: string,
  part: string,
): Promise<string | undefined> {
  const addresses = await Promise.all([site.address(from, 'ipv4'), site.address(to, 'ipv4')]);
  for (const agent of site.cluster.agents) {
    const body = (await agent.get('/v1/drops')) as Record<string, unknown>;
    const events = Array.isArray(body[part]) ? (body[part] as Record<string, unknown>[]) : [];
    for (const event of events.toReversed()) {
      const text = JSON.stringify(event);
      if (addresses.every((address) => text.includes(`"${address}"`)))
        return `${agent.node.name}: ${typeof event.text === 'string' ? event.text : text}`;
    }
  }
  return undefined;
}
