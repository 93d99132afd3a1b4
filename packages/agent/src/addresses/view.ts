import { type Address, Prefix } from '@causeway/ip';
import { type Claim, ownerText, type PoolStats } from '@causeway/ipam';
import type { MovedAddress } from '../host/routes.ts';
import { STATIC } from './choice.ts';
import type { HeldBlock } from './held.ts';
import { capacityOf, type DemandRow } from './node-demand.ts';

/** `GET /v1/ipam`: which addresses this node has, how far each CIDR is, what is asked for, and what stays. */
export interface IpamView {
  readonly node: string;
  readonly cidrs: readonly CidrView[];
  readonly demand: readonly DemandRow[];
  /** Why the operator does not give what is asked for. */
  readonly operatorError: string | null;
  readonly claims: readonly ClaimView[];
  readonly moved: readonly MovedAddress[];
}

export interface CidrView {
  readonly cidr: Prefix;
  readonly family: 'ipv4' | 'ipv6';
  /** Null: one of the node's own podCIDRs. */
  readonly pool: string | null;
  readonly phase: HeldBlock['phase'];
  /** The node that has it now, of one that was taken. */
  readonly holder: string | null;
  readonly capacity: number;
  readonly used: number;
  readonly resting: number;
  readonly claimed: number;
}

export interface ClaimView extends Omit<Claim, 'owner'> {
  readonly owner: string;
  /** Why the record is not what it should be. */
  readonly problem: string | null;
}

export interface IpamViewParts {
  readonly node: string;
  readonly blocks: readonly HeldBlock[];
  readonly stats: readonly PoolStats[];
  readonly demand: readonly DemandRow[];
  readonly operatorError: string | undefined;
  readonly claims: Iterable<Claim>;
  readonly problems: ReadonlyMap<Address, string>;
  readonly moved: readonly MovedAddress[];
  readonly covers: (address: Address) => boolean;
}

/** Of the cluster's claims only those that this node has a part in. Pure. */
export function ipamView(parts: IpamViewParts): IpamView {
  const { node, blocks, stats, demand, operatorError, claims, problems, moved, covers } = parts;
  const byPrefix = new Map(stats.map((each) => [each.prefix, each]));
  return {
    node,
    cidrs: blocks.map(({ cidr, pool, phase, holder }) => {
      const use = byPrefix.get(cidr);
      return {
        cidr,
        family: Prefix.family(cidr),
        pool: pool === STATIC ? null : pool,
        phase,
        holder: holder ?? null,
        capacity: capacityOf(cidr),
        used: Number(use?.used ?? 0n),
        resting: Number(use?.quarantined ?? 0n),
        claimed: Number(use?.claimed ?? 0n),
      };
    }),
    demand,
    operatorError: operatorError ?? null,
    claims: Array.from(claims)
      .filter(
        ({ address, at, home, from, standby }) =>
          [at, home, from, standby?.node].includes(node) || covers(address),
      )
      .map((claim) => ({
        ...claim,
        owner: ownerText(claim.owner),
        problem: problems.get(claim.address) ?? null,
      })),
    moved,
  };
}
