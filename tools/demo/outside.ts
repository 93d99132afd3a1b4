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
