import type { Resource } from '@causeway/resources';
import { expectAudit, explainDrop } from './drops.ts';
import { manifests, type Site } from './site.ts';

/** The database of the articles: TCP 6379, for employees only. */
export async function protectedDatabase(site: Site): Promise<void> {
  site.report.section('Only employees reach the protected database');
  const before = await Promise.all([
    site.tcp(
      'before the policy a visitor reaches the database',
      'visitor',
      'protected-db',
      6379,
      'answered',
    ),
  ]);
  await site.expect(before.flat());
  await whatIf(site, 'protected-db/protected-db.yaml', 'default/visitor', 'default/protected-db');
  await site.apply('protected-db/protected-db.yaml');
  const after = await Promise.all([
    site.tcp('an employee reaches it on 6379', 'employee', 'protected-db', 6379, 'answered'),
    site.tcp('a visitor does not', 'visitor', 'protected-db', 6379, 'timeout'),
    site.tcp('an employee does not on any other port', 'employee', 'protected-db', 6380, 'timeout'),
    site.tcp('a pod on the same node does not', 'intern', 'protected-db', 6379, 'timeout'),
  ]);
  await site.expect(after.flat());
  await explainDrop(site, 'visitor', 'protected-db');
  await trace(site, 'default/employee', 'default/protected-db', 6379, true);
  await trace(site, 'default/visitor', 'default/protected-db', 6379, false);
}

export async function shopPolicy(site: Site): Promise<void> {
  site.report.section('Only the frontend calls the backend, on its two ports');
  await site.apply('shop/policy.yaml');
  const udp = site.both(async (family) => {
    const address = await site.address('backend-1', family);
    return {
      what: 'the frontend reaches it on UDP 7007',
      wanted: 'answered',
      attempt: (seconds) =>
        site.lab.traffic.udp(site.place('frontend-2'), address, 7007, { seconds }),
    };
  });
  const service = site.both(async (family) => {
    const address = await site.service('backend', family);
    return {
      what: 'a visitor does not reach it through its service either',
      wanted: 'timeout',
      attempt: (seconds) => site.lab.traffic.http(site.place('visitor'), address, 80, { seconds }),
    };
  });
  const expectations = await Promise.all([
    site.http(
      'the frontend reaches the backend on 8080',
      'frontend-1',
      'backend-1',
      8080,
      'answered',
    ),
    udp,
    site.http('the frontend does not on 9090', 'frontend-1', 'backend-1', 9090, 'timeout'),
    site.http('a visitor does not', 'visitor', 'backend-2', 8080, 'timeout'),
    service,
  ]);
  await site.expect(expectations.flat());
  await explainDrop(site, 'visitor', 'backend-2');
}

export async function recipes(site: Site): Promise<void> {
  site.report.section('Recipe: deny everything, then let a namespace in');
  await site.apply('recipes/deny-all.yaml');
  const denied = await Promise.all([
    site.http('nobody reaches a pod of namespace quiet', 'visitor', 'quiet/quiet', 80, 'timeout'),
    site.http('its own node does, as health checks must', 'a2', 'quiet/quiet', 80, 'answered'),
  ]);
  await site.expect(denied.flat());
  await explainDrop(site, 'visitor', 'quiet/quiet');
  await site.apply('recipes/allow-from-namespace.yaml');
  const letIn = await Promise.all([
    site.http(
      'a pod of a namespace of team operations does now',
      'operations/operator',
      'quiet/quiet',
      80,
      'answered',
    ),
    site.http('others still do not', 'visitor', 'quiet/quiet', 80, 'timeout'),
  ]);
  await site.expect(letIn.flat());

  site.report.section('Recipe: deny one, whatever else allows it');
  await site.apply('recipes/deny-one.yaml');
  const one = await Promise.all([
    site.http('a visitor reaches the frontend', 'visitor', 'frontend-1', 8000, 'answered'),
    site.http('an intern does not', 'intern', 'frontend-1', 8000, 'timeout'),
  ]);
  await site.expect(one.flat());
  await explainDrop(site, 'intern', 'frontend-1');

  site.report.section('Recipe: out to one network, less a part of it, on a range of ports');
  await site.apply('recipes/egress-cidr.yaml');
  const out = await Promise.all([
    site.http(
      'the reporter reaches the network outside on port 8080',
      'reporter',
      'outside',
      8080,
      'answered',
    ),
    site.http('not on port 80', 'reporter', 'outside', 80, 'timeout'),
    site.http('not on port 9000', 'reporter', 'outside', 9000, 'timeout'),
    site.http('not the part that is taken out', 'reporter', 'far-outside', 8080, 'timeout'),
    site.http('nor anything in the cluster', 'reporter', 'frontend-1', 8000, 'timeout'),
  ]);
  await site.expect(out.flat());
  await explainDrop(site, 'reporter', 'far-outside');
}

/** A policy that only watches, then the same one in force. */
export async function auditFirst(site: Site): Promise<void> {
  site.report.section('A policy tried before it bites: audit mode');
  const [baseline] = await site.apply('recipes/cluster-baseline.yaml');
  const watched = await site.http(
    'what it would drop still passes',
    'visitor',
    'audited',
    80,
    'answered',
  );
  await site.expect(watched);
  const address = await site.address('audited', 'ipv4');
  await expectAudit(site, 'visitor', 'audited', () =>
    site.lab.traffic.http(site.place('visitor'), address, 80),
  );
  const enforced = structuredClone(baseline) as Resource;
  delete enforced.metadata.annotations;
  await (await site.cluster.store()).apply([enforced]);
  site.report.note('took the audit annotation away');
  const pings = site.both(async (family) => {
    const address = await site.address('audited', family);
    return {
      what: 'then ping passes, as the policy says',
      wanted: 'answered',
      attempt: (seconds) => site.lab.traffic.ping(site.place('visitor'), address, { seconds }),
    };
  });
  const after = await Promise.all([
    pings,
    site.http('and the rest does not', 'visitor', 'audited', 80, 'timeout'),
  ]);
  await site.expect(after.flat());
}

async function whatIf(site: Site, file: string, from: string, to: string): Promise<void> {
  const node = nodeOf(site, to);
  const { status, body } = await site.lab
    .agent(node)
    .ask('POST', '/v1/policy/what-if', { manifests: manifests(file) });
  const text = JSON.stringify(body);
  // Pods elsewhere are named by their labels.
  const named =
    status === 200 &&
    [from, to].every((name) => text.includes(name) || text.includes(`app=${name.split('/')[1]}`));
  site.report.check(
    `what-if says beforehand that ${from} would lose ${to}`,
    named,
    named ? '' : text.slice(0, 200),
  );
}

/** What an agent says beforehand of a connection; `node` is where the side is that its policies are for. */
export async function trace(
  site: Site,
  from: string,
  to: string,
  port: number,
  allowed: boolean,
  node = nodeOf(site, to),
): Promise<void> {
  const { body } = await site.lab
    .agent(node)
    .ask('POST', '/v1/policy/trace', { from, to, port, protocol: 'TCP' });
  const answer = body as { allowed?: boolean; text?: string };
  site.report.check(
    `policy trace ${from} to ${to} port ${port} says ${allowed ? 'allowed' : 'denied'}`,
    answer.allowed === allowed,
    answer.text ?? JSON.stringify(body).slice(0, 200),
  );
}

function nodeOf(site: Site, pod: string): string {
  return site.lab.pods.find((candidate) => `${candidate.namespace}/${candidate.name}` === pod)!
    .node;
}
