import type { Address, Family, Prefix } from '@causeway/ip';
import type { DeviceView } from './devices.ts';
import type { MtuPlan } from './mtu.ts';
import type { Way } from './ways.ts';

/** One route that the node should have; `device` is a name, or the index of a foreign device. */
export interface DesiredRoute {
  readonly prefix: Prefix;
  /** `unreachable`: what comes for it and was not taken up before is answered, not sent on. */
  readonly device: 'cw_host' | 'unreachable' | number;
  readonly via?: Address;
  readonly source?: Address;
  readonly mtu?: number;
}

/** A node of this or another cluster as the routes see it. */
export interface RoutedNode {
  readonly cluster: string;
  readonly name: string;
  readonly way: Way['type'];
  /** By which it is reached, best first. */
  readonly addresses: readonly Address[];
  readonly podCIDRs: readonly Prefix[];
}

export interface RouteProblem {
  readonly cluster: string;
  readonly node: string;
  readonly prefix: Prefix;
  /** `elsewhere`: the node is not on our layer 2. `overlap`: the prefix is another's already. */
  readonly type: 'elsewhere' | 'overlap';
  readonly reason: string;
}

/** An address that is elsewhere than in the CIDR that holds it, or in none. */
export type MovedAddress = { readonly address: Address } & (
  | /** On this node. */ { readonly type: 'here' }
  | /** It was here, or is of a CIDR of this node. */ {
      readonly type: 'forward';
      readonly node: string;
      /** The network sends for it there. */
      readonly announced: boolean;
    }
  | /** Neither is of this node. */ { readonly type: 'there'; readonly node: string }
);

export interface RouteInputs {
  /** Whose nodes have the moved addresses. */
  readonly cluster: string;
  /** `bgp`: the network knows the direct ways to other nodes' pods; the default route leads there. */
  readonly direct: 'l2' | 'bgp';
  /** The way to a node that is not known yet. */
  readonly otherwise: Way['type'];
  readonly families: readonly Family[];
  /** Own pod CIDRs with their gateways. */
  readonly local: readonly { readonly prefix: Prefix; readonly gateway: Address }[];
  readonly remote: readonly RoutedNode[];
  readonly moved: readonly MovedAddress[];
  /** Service addresses that this node announces: the network sends them here, the default route back. */
  readonly attracted: readonly Prefix[];
  readonly devices: readonly DeviceView[];
  readonly mtu: MtuPlan;
}
