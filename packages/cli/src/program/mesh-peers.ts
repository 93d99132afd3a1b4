import type { Command } from 'commander';
import { runs } from './invocation.ts';

const peers = () => import('../commands/mesh-peers.ts');

/** What is read of other clusters. */
export function addMeshPeers(mesh: Command): void {
  runs(
    mesh
      .command('status')
      .description('whether every node reads every peer; exit status 1 if one does not'),
    async () => (await peers()).status,
  );
  runs(
    mesh.command('peers').description('each peer: state, age, what is known of it'),
    async () => (await peers()).list,
  );
  runs(
    mesh.command('services').description('what other clusters are told of our services'),
    async () => (await import('../commands/mesh-services.ts')).list,
  );
  runs(
    mesh
      .command('why')
      .description('whose an address is among the clusters, or why a peer is as it is')
      .argument('<what>', 'an address, or the name of a peer cluster'),
    async () => (await peers()).why,
  );
}
