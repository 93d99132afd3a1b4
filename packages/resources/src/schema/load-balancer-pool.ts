import { Address, Prefix } from '@causeway/ip';
import * as z from 'zod';
import { maybe, open } from './build.ts';
import { cidr, dnsSubdomain, ipAddress, k8sSelector, metadata } from './common.ts';

const block = open({
  cidr: maybe(cidr),
  start: maybe(ipAddress),
  stop: maybe(ipAddress.meta({ description: 'Included; start alone means one address.' })),
}).superRefine((value, context) => {
  const fail = (field: string, message: string, input?: unknown): void =>
    context.addIssue({ code: 'custom', path: [field], message, input });
  if (value.cidr !== undefined) {
    if (value.start !== undefined) fail('start', 'must be absent with cidr', value.start);
    if (value.stop !== undefined) fail('stop', 'must be absent with cidr', value.stop);
    return;
  }
  if (value.start === undefined) {
    fail('cidr', 'must be set unless start is');
    return;
  }
  const start = Address.tryParse(value.start);
  const stop = value.stop === undefined ? start : Address.tryParse(value.stop);
  if (start === undefined || stop === undefined) return;
  if (Address.family(start) !== Address.family(stop)) {
    fail('stop', `must be of the family of start, ${start}`, value.stop);
  } else if (Address.toBigInt(stop) < Address.toBigInt(start)) {
    fail('stop', `must not be before start, ${start}`, value.stop);
  }
});

const condition = open({
  type: z.string(),
  status: z.enum(['True', 'False', 'Unknown']),
  reason: maybe(z.string()),
  message: maybe(z.string()),
  lastTransitionTime: maybe(z.string()),
  observedGeneration: maybe(z.int()),
});

export const ciliumLoadBalancerIPPool = open({
  apiVersion: z.enum(['cilium.io/v2', 'cilium.io/v2alpha1']),
  kind: z.literal('CiliumLoadBalancerIPPool'),
  metadata: metadata(dnsSubdomain, false),
  spec: open({
    blocks: maybe(z.array(block).max(1024)),
    cidrs: maybe(
      z.array(block).max(1024).meta({ description: 'The name that blocks had until Cilium 1.15.' }),
    ),
    serviceSelector: maybe(k8sSelector.meta({ description: 'All services if absent.' })),
    allowFirstLastIPs: maybe(z.enum(['Yes', 'No'])),
    disabled: maybe(z.boolean().meta({ description: 'Gives nothing new; what is given stays.' })),
  }).superRefine((spec, context) => {
    if ((spec.blocks?.length ?? 0) + (spec.cidrs?.length ?? 0) > 0) return;
    context.addIssue({
      code: 'custom',
      path: ['blocks'],
      message: 'must hold at least one block',
      input: spec.blocks,
    });
  }),
  status: maybe(open({ conditions: maybe(z.array(condition)) })),
}).meta({ description: 'Addresses for Services of type LoadBalancer.' });

export type CiliumLoadBalancerIPPool = z.infer<typeof ciliumLoadBalancerIPPool>;

/** A stretch of addresses, both ends included. */
export interface AddressRange {
  readonly first: Address;
  readonly last: Address;
  /** Set if it was written as a CIDR, whose ends allowFirstLastIPs is about. */
  readonly prefix?: Prefix;
}

/** Both spellings of a pool's blocks, in their order. */
export function blocksOf({ spec }: CiliumLoadBalancerIPPool): AddressRange[] {
  return [...(spec.blocks ?? []), ...(spec.cidrs ?? [])].flatMap((each): AddressRange[] => {
    if (each.cidr !== undefined) {
      const prefix = Prefix.parse(each.cidr, { hostBits: 'clear' });
      return [{ first: Prefix.first(prefix), last: Prefix.last(prefix), prefix }];
    }
    if (each.start === undefined) return [];
    return [{ first: Address.parse(each.start), last: Address.parse(each.stop ?? each.start) }];
  });
}
