import type { Prefix } from '@causeway/ip';
import type { PodCidr, PoolStats } from '@causeway/ipam';
import type { NodeDemand } from './node-demand.ts';
import type { PoolWish } from './stored-pools.ts';

/** What the keeper asks of the rest of the node, once there is one. */
export interface KeeperPorts {
  /** The addresses of the node. */
  readonly pool: {
    setCidrs(cidrs: readonly PodCidr[]): void;
    stats(): PoolStats[];
  };
  readonly demand: NodeDemand;
  /** All claims of addresses in it that were made before it came here are known. */
  readonly claimsKnown: (cidr: Prefix) => boolean;
  /** A claim of an address in it waits for the store: nobody else could know of it. */
  readonly claimsPending: (cidr: Prefix) => boolean;
  /** Others send for it here. */
  readonly announced: (cidr: Prefix) => boolean;
  /** Nobody is told any more to send for it here. */
  readonly withdrawn: (cidr: Prefix) => boolean;
  /** The operator's records of blocks, as far as they are known. */
  readonly records: {
    of(cidr: Prefix): { recorded: boolean; takenBy: string | undefined } | undefined;
    follow(blocks: ReadonlyMap<Prefix, boolean>): void;
  };
  /** No pod speaks with an address of it. */
  readonly silent: (cidr: Prefix) => boolean;
  readonly want: (wish: PoolWish) => void;
  /** Called when something was taken by another, or has come back. */
  readonly onTaken: () => void;
}
