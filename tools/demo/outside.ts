import { trace } from './policy.ts';
import type { Site } from './site.ts';

/** Machines in no cluster and without an agent, by their labels in the inventory. */
export async function outsideMachines(site: Site): Promise<void> {
  site.report.section('A bare-metal server and a VM outside of all clusters, by their labels');
  const inventory = site.lab.clusters.find(({ inventories }) => inventories.length > 0)!;
  const db = 'protected-db';
  await site.expect(
    (
      await Promise.all([
        site.tcp(
          'the policy of the pods lets no bare-metal server in',
          'metal-1',
          db,
          6379,
          'timeout',
        ),
        site.tcp('nor a VM', 'vm-1', db, 6379, 'timeout'),
      ])
    ).flat(),
  );
  await site.apply('outside/protected-db.yaml');
  await site.expect(
    (
      await Promise.all([
        site.tcp(
          'the bare-metal server metal-1, an employee, reaches the database now',
          'metal-1',
          db,
          6379,
          'answered',
        ),
        site.tcp('on no other port', 'metal-1', db, 6380, 'timeout'),
        site.tcp('the VM vm-1, a visitor, does not', 'vm-1', db, 6379, 'timeout'),
      ])
    ).flat(),
  );
  await trace(site, await site.address('metal-1', 'ipv4'), `default/${db}`, 6379, true);
  await trace(site, await site.address('vm-1', 'ipv4'), `default/${db}`, 6379, false);
  const text = site.example('outside/machines.yaml');
  for (const each of inventory.inventories)
    each.put('machines.yaml', text.replace('labels: {app: visitor}', 'labels: {app: employee}'));
  site.report.note('the list says now that vm-1 is an employee');
  await site.expect(
    await site.tcp('a moment later the VM is let in', 'vm-1', db, 6379, 'answered'),
  );
}

/** A server with an agent of its own is a node of one endpoint, which is itself: policy by label, in and out. */
export async function serverWithAgent(site: Site): Promise<void> {
  site.report.section('A bare-metal server with an agent of its own: a node of one endpoint');
  const server = 'metal-2';
  const cluster = site.lab.clusters.find(({ agents }) =>
    agents.some(({ node }) => node.name === server),
  )!;
  await site.expect(
    (
      await Promise.all([
        site.tcp(
          'before the policy a visitor reads its archive',
          'visitor',
          server,
          6379,
          'answered',
        ),
        site.http('and it reaches the world outside', server, 'outside', 80, 'answered'),
      ])
    ).flat(),
  );
  await site.applyIn(cluster, 'outside/archive.yaml');
  await site.expect(
    (
      await Promise.all([
        site.tcp('an employee of cluster1 reads it', 'employee', server, 6379, 'answered'),
        site.tcp('on no other port', 'employee', server, 6380, 'timeout'),
        site.tcp('a visitor does not', 'visitor', server, 6379, 'timeout'),
        site.http(
          'it reaches the rebel base of its cluster',
          server,
          'rebel-base-2',
          80,
          'answered',
        ),
        site.http('not the one of the other cluster', server, 'rebel-base-1', 80, 'timeout'),
        site.http('nor the world outside', server, 'outside', 80, 'timeout'),
      ])
    ).flat(),
  );
  const own = await site.address(server, 'ipv4');
  for (const [from, allowed] of [
    ['employee', true],
    ['visitor', false],
  ] as const)
    await trace(site, await site.address(from, 'ipv4'), own, 6379, allowed, server);
}
