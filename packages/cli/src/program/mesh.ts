import type { Command } from 'commander';
import { addMeshJoin } from './mesh-join.ts';
import { addMeshPeers } from './mesh-peers.ts';

/** Other clusters: what is read of them, and how one joins and leaves. */
export function addMesh(program: Command): void {
  const mesh = program
    .command('mesh')
    .description('the clusters that are one network with this one');
  addMeshPeers(mesh);
  addMeshJoin(mesh);
}
