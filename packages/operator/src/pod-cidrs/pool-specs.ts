import { Prefix } from '@causeway/ip';
import type { BlockSizeRule, Place, PoolRanges, PoolSpec } from '@causeway/ipam';
import {
  type CiliumPodIPPool,
  type PodIPPoolOptions,
  type Selector,
  selects,
} from '@causeway/resources';

/** A pool with its options, as the planner asks for it. */
export function poolSpecOf(pool: CiliumPodIPPool, options: PodIPPoolOptions | undefined): PoolSpec {
  const { ipv4, ipv6 } = pool.spec;
  const { nodeSelector, blockSizes, closed } = options?.spec ?? {};
  return {
    name: pool.metadata.name,
    ...(ipv4 === undefined ? {} : { ipv4: rangesOf(ipv4) }),
    ...(ipv6 === undefined ? {} : { ipv6: rangesOf(ipv6) }),
    ...(nodeSelector === undefined ? {} : { place: placeOf(nodeSelector) }),
    ...(blockSizes === undefined ? {} : { blockSizes: blockSizes.map(ruleOf) }),
    ...(closed === undefined ? {} : { closed: closed.map(prefixOf) }),
  };
}

/** Host bits are taken and mean nothing, as in Cilium. */
const prefixOf = (text: string): Prefix => Prefix.parse(text, { hostBits: 'clear' });

const rangesOf = (ranges: { cidrs: readonly string[]; maskSize: number }): PoolRanges => ({
  cidrs: ranges.cidrs.map(prefixOf),
  maskSize: ranges.maskSize,
});

export function placeOf(selector: Selector): Place {
  const { matchLabels = {}, matchExpressions = [] } = selector;
  return {
    matches: (labels) => selects(selector, labels),
    specificity: Object.keys(matchLabels).length + matchExpressions.length,
    text: textOf(selector),
  };
}

/** A selector as people type it: `rack=r1,zone in (a,b)`. */
export function textOf({ matchLabels = {}, matchExpressions = [] }: Selector): string {
  const parts = [
    ...Object.entries(matchLabels).map(([key, value]) => `${key}=${value}`),
    ...matchExpressions.map(({ key, operator, values = [] }) => {
      switch (operator) {
        case 'In':
          return `${key} in (${values.join(',')})`;
        case 'NotIn':
          return `${key} notin (${values.join(',')})`;
        case 'Exists':
          return key;
        case 'DoesNotExist':
          return `!${key}`;
        default:
          return operator satisfies never;
      }
    }),
  ];
  return parts.join(',') || 'every node';
}

type BlockSize = NonNullable<PodIPPoolOptions['spec']['blockSizes']>[number];

function ruleOf({ nodeSelector, minPods, ipv4MaskSize, ipv6MaskSize }: BlockSize): BlockSizeRule {
  return {
    ...(nodeSelector === undefined ? {} : { matches: (labels) => selects(nodeSelector, labels) }),
    ...(minPods === undefined ? {} : { minPods }),
    ...(ipv4MaskSize === undefined ? {} : { ipv4MaskSize }),
    ...(ipv6MaskSize === undefined ? {} : { ipv6MaskSize }),
  };
}
