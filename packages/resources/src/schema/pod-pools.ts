import { Prefix } from '@causeway/ip';
import * as z from 'zod';
import { closed, maybe, open } from './build.ts';
import { cidr, dnsSubdomain, k8sSelector, metadata } from './common.ts';

type FamilyName = 'IPv4' | 'IPv6';

const cidrOf = (family: FamilyName): z.ZodString =>
  cidr.refine((value) => value.includes(':') === (family === 'IPv6'), {
    message: `must be an ${family} CIDR`,
  });

/** A block must hold a gateway and a pod, so the longest mask is one short of a single address. */
const longest = { IPv4: 31, IPv6: 127 } as const;

const maskSize = (family: FamilyName): z.ZodNumber =>
  z
    .int({ error: `must be a whole number, 1 to ${longest[family]}` })
    .min(1, `must be 1 to ${longest[family]}`)
    .max(
      longest[family],
      `must be 1 to ${longest[family]}: a CIDR needs room for a gateway and a pod`,
    );

function poolFamily(family: FamilyName) {
  return open({
    cidrs: z.array(cidrOf(family)).min(1, 'must hold at least one CIDR').max(1024),
    maskSize: maskSize(family).meta({
      description: 'The prefix length of what one node is given.',
    }),
  }).superRefine((pool, context) => {
    const fail = (path: (string | number)[], message: string, input: unknown): void =>
      context.addIssue({ code: 'custom', path, message, input });
    const ranges = pool.cidrs.map((text) => Prefix.tryParse(text, { hostBits: 'clear' }));
    ranges.forEach((range, index) => {
      if (range === undefined) return;
      const text = pool.cidrs[index];
      if (Prefix.length(range) > pool.maskSize) {
        fail(['cidrs', index], `must not be longer than maskSize ${pool.maskSize}`, text);
      }
      const twin = ranges.findIndex(
        (other, at) => at < index && other !== undefined && Prefix.overlaps(other, range),
      );
      if (twin >= 0) fail(['cidrs', index], `must not overlap ${pool.cidrs[twin]}`, text);
    });
  });
}

export const ciliumPodIPPool = open({
  apiVersion: z.literal('cilium.io/v2alpha1'),
  kind: z.literal('CiliumPodIPPool'),
  metadata: metadata(dnsSubdomain, false),
  spec: open({
    ipv4: maybe(poolFamily('IPv4')),
    ipv6: maybe(poolFamily('IPv6')),
    allowFirstIP: maybe(z.boolean()),
    allowLastIP: maybe(z.boolean()),
    podSelector: maybe(
      k8sSelector.meta({ description: 'Pods that are served from here if nothing names a pool.' }),
    ),
    namespaceSelector: maybe(k8sSelector),
  }).superRefine((spec, context) => {
    if (spec.ipv4 !== undefined || spec.ipv6 !== undefined) return;
    context.addIssue({
      code: 'custom',
      path: ['ipv4'],
      message: 'must be set unless ipv6 is: a pool without ranges gives nothing',
      input: undefined,
    });
  }),
  status: maybe(open({})),
}).meta({ description: 'Ranges that the operator cuts into CIDRs for the nodes.' });

const share = z.number().min(0, 'must be 0 to 1').max(1, 'must be 0 to 1');

const marks = closed({
  high: maybe(share.meta({ description: 'Share in use above which a node asks for more; 0.8.' })),
  low: maybe(share.meta({ description: 'Share in use below which it gives back; 0.3.' })),
  lowForSeconds: maybe(
    z
      .int()
      .min(0, 'must be 0 to 604800')
      .max(604_800, 'must be 0 to 604800')
      .meta({ description: 'For so long it must have been below; 600.' }),
  ),
}).superRefine((value, context) => {
  const { high = 0.8, low = 0.3 } = value;
  if (low < high) return;
  context.addIssue({
    code: 'custom',
    path: ['low'],
    message: `must be less than high, ${high}, or CIDRs would come and go`,
    input: low,
  });
});

const blockSize = closed({
  nodeSelector: maybe(k8sSelector),
  minPods: maybe(
    z
      .int()
      .min(1, 'must be 1 to 100000')
      .max(100_000, 'must be 1 to 100000')
      .meta({ description: 'Nodes whose Node says that they hold so many pods or more.' }),
  ),
  ipv4MaskSize: maybe(maskSize('IPv4')),
  ipv6MaskSize: maybe(maskSize('IPv6')),
}).superRefine((value, context) => {
  if (value.nodeSelector === undefined && value.minPods === undefined) {
    context.addIssue({
      code: 'custom',
      path: ['nodeSelector'],
      message: 'must be set unless minPods is; the pool has a maskSize for all other nodes',
      input: undefined,
    });
  }
  if (value.ipv4MaskSize === undefined && value.ipv6MaskSize === undefined) {
    context.addIssue({
      code: 'custom',
      path: ['ipv4MaskSize'],
      message: 'must be set unless ipv6MaskSize is',
      input: undefined,
    });
  }
});

export const podIPPoolOptions = open({
  apiVersion: z.literal('causeway.io/v1'),
  kind: z.literal('PodIPPoolOptions'),
  metadata: metadata(dnsSubdomain, false),
  spec: closed({
    nodeSelector: maybe(
      k8sSelector.meta({
        description: 'The place that the pool belongs to: only these nodes are given of it.',
      }),
    ),
    blockSizes: maybe(
      z.array(blockSize).max(64).meta({ description: 'The first that fits the node is taken.' }),
    ),
    marks: maybe(marks),
    preAllocate: maybe(
      z
        .int()
        .min(0, 'must be 0 to 65536')
        .max(65_536, 'must be 0 to 65536')
        .meta({ description: 'Free addresses that a node keeps ahead of need; 16.' }),
    ),
    closed: maybe(
      z.array(cidr).max(1024).meta({
        description: 'Ranges of the pool that drain: nothing new is given of them.',
      }),
    ),
  }),
}).meta({
  description: 'What a CiliumPodIPPool has no field for; its name is that of the pool.',
});

/** What a node asks for and what it is given, in the form of Cilium's multi-pool IPAM. */
export const nodePools = open({
  requested: maybe(
    z
      .array(
        open({
          pool: dnsSubdomain,
          needed: maybe(
            open({
              'ipv4-addrs': maybe(z.int().min(0).max(1_000_000)),
              'ipv6-addrs': maybe(z.int().min(0).max(1_000_000)),
            }),
          ),
        }),
      )
      .max(256),
  ),
  allocated: maybe(
    z.array(open({ pool: dnsSubdomain, cidrs: maybe(z.array(cidr).max(4096)) })).max(256),
  ),
});

export type CiliumPodIPPool = z.infer<typeof ciliumPodIPPool>;
export type PodIPPoolOptions = z.infer<typeof podIPPoolOptions>;
