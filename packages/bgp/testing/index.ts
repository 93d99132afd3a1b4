export { ignoreEffects, Neighbor, type NeighborOptions, type Told } from './neighbor.ts';
export { VirtualNetwork, type VirtualNetworkOptions, type VirtualSpeaker } from './network.ts';
export { type Random, seeded } from './random.ts';
export {
  type Announcer,
  type OpenShape,
  rawAttributes,
  rawEndOfRib,
  rawKeepalive,
  rawOpen,
  rawUpdates,
  rawWithdrawals,
} from './raw.ts';
export {
  makeTable,
  type SampleAttributes,
  type SampleSet,
  type TableFamily,
  type TableShape,
} from './table.ts';
