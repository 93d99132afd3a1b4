import type {
  Asn,
  DecisionConfig,
  MultipathConfig,
  PeerConfig,
  PolicyLibrary,
  RouterId,
} from '@causeway/bgp';
import type { Address, Prefix } from '@causeway/ip';
import type { DynamicNeighborConfig, NeighborConfig } from './neighbor-schema.ts';
import type { BmpStationSettings, KernelSettings, OwnerConfig } from './schema.ts';

/** A neighbour with its secret read, ready for the core. */
export type Neighbor = Omit<NeighborConfig, 'passwordFile' | 'asn'> & {
  /** A list only of neighbours that a range made. */
  readonly asn: PeerConfig['asn'];
};
export type DynamicNeighbor = Omit<DynamicNeighborConfig, 'template'> & {
  readonly template: Omit<DynamicNeighborConfig['template'], 'passwordFile'>;
};

export interface ListenAddress {
  readonly address: Address;
  readonly port: number;
}

export type KernelConfig = Omit<KernelSettings, 'prefixes'> & {
  readonly prefixes: readonly Prefix[] | undefined;
};

export type BmpStation = Omit<BmpStationSettings, 'name'> & { readonly name: string };

/** What all owners together want, checked and complete. */
export interface Settings {
  readonly asn: Asn;
  readonly routerId: RouterId;
  readonly clusterId: RouterId | undefined;
  readonly listen: readonly ListenAddress[];
  readonly gracefulRestart: OwnerConfig['gracefulRestart'];
  readonly multipath: MultipathConfig | undefined;
  readonly decision: DecisionConfig | undefined;
  readonly attributeBytes: number | undefined;
  readonly neighbors: ReadonlyMap<string, Neighbor>;
  readonly dynamicNeighbors: ReadonlyMap<string, DynamicNeighbor>;
  readonly library: PolicyLibrary;
  readonly kernel: KernelConfig;
  readonly bmp: ReadonlyMap<string, BmpStation>;
  readonly bfdSocket: string | undefined;
}
