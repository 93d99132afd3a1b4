import * as z from 'zod';
import { maybe, open } from './build.ts';
import { cidr, dnsSubdomain, ipAddress, ipOrCidr, metadata } from './common.ts';
import { nodePools } from './pod-pools.ts';

export const ciliumCidrGroup = open({
  apiVersion: z.enum(['cilium.io/v2', 'cilium.io/v2alpha1']),
  kind: z.literal('CiliumCIDRGroup'),
  metadata: metadata(dnsSubdomain, false),
  spec: open({ externalCIDRs: z.array(ipOrCidr) }),
}).meta({ description: 'A named set of CIDRs that policies refer to by name or label.' });

const pair = open({ ipv4: maybe(ipAddress), ipv6: maybe(ipAddress) });

export const ciliumNode = open({
  apiVersion: z.literal('cilium.io/v2'),
  kind: z.literal('CiliumNode'),
  metadata: metadata(dnsSubdomain, false),
  spec: open({
    addresses: maybe(
      z.array(
        open({
          type: z.enum([
            'InternalIP',
            'ExternalIP',
            'CiliumInternalIP',
            'Hostname',
            'InternalDNS',
            'ExternalDNS',
          ]),
          ip: z.string(),
        }).superRefine((each, context) => {
          if (!each.type.endsWith('IP') || ipAddress.safeParse(each.ip).success) return;
          context.addIssue({
            code: 'custom',
            path: ['ip'],
            message: 'must be an IP address',
            input: each.ip,
          });
        }),
      ),
    ),
    ipam: maybe(open({ podCIDRs: maybe(z.array(cidr)), pools: maybe(nodePools) })),
    health: maybe(pair),
    ingress: maybe(pair),
    encryption: maybe(open({ key: maybe(z.int().min(0).max(255)) })),
    bootid: maybe(z.string()),
    nodeidentity: maybe(z.int()),
  }).default({}),
  status: maybe(
    open({
      ipam: maybe(open({ 'operator-status': maybe(open({ error: maybe(z.string()) })) })),
    }),
  ),
}).meta({ description: "A node as the network sees it: its addresses and its pods' CIDRs." });

export type CiliumCIDRGroup = z.infer<typeof ciliumCidrGroup>;
export type CiliumNode = z.infer<typeof ciliumNode>;
