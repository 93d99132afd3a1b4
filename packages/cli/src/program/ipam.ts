import type { Command } from 'commander';
import { runs } from './invocation.ts';

const load = () => import('../commands/ipam.ts');

/** Addresses of the whole cluster, read from its store: they answer wherever the operator is, and without it. */
export function addIpam(program: Command): void {
  const ipam = program
    .command('ipam')
    .description('pools, pod CIDRs, addresses that stay, and the plan of them all');
  runs(
    ipam
      .command('pools')
      .description('what each pool has, gave and has left, and who waits for it'),
    async () => (await load()).ipamPools,
  );
  runs(
    ipam.command('nodes').description('the pod CIDRs of every node, with the pods in them'),
    async () => (await load()).ipamNodes,
  );
  runs(
    ipam.command('claims').description('addresses that stay with an owner, and where they are'),
    async () => (await load()).ipamClaims,
  );
  runs(
    ipam
      .command('vips')
      .description('addresses of Services of type LoadBalancer, and why others wait for one'),
    async () => (await load()).ipamVips,
  );
  runs(
    ipam
      .command('plan')
      .description('regions, VPCs, clusters and their ranges as a tree, with use'),
    async () => (await load()).ipamPlan,
  );
  runs(
    ipam
      .command('drain')
      .description(
        'what a range that is to go has left; spec.closed of its PodIPPoolOptions closes it',
      )
      .argument('<cidr>')
      .option('--restart-list', 'only the workloads to restart, one a line'),
    async () => (await load()).ipamDrain,
  );
  runs(
    ipam
      .command('why')
      .description('whose an address is, and everything that has to do with it')
      .argument('<address>'),
    async () => (await load()).ipamWhy,
  );
  runs(
    ipam
      .command('release')
      .description('take all pod CIDRs of a node that will not come back')
      .argument('<node>')
      .option('--force', 'needed: pods that still run there lose their addresses to others'),
    async () => (await load()).ipamRelease,
  );
  runs(
    ipam
      .command('switch')
      .description('hand an address over to its second endpoint, by one update')
      .argument('<address>')
      .argument('<node>', 'where the second endpoint waits'),
    async () => (await load()).ipamSwitch,
  );
}
