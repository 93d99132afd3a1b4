import * as z from 'zod';
import { interfaceName } from './bgp-fields.ts';
import { maybe, open } from './build.ts';
import { cidr, dnsSubdomain, ipAddress, k8sSelector, metadata } from './common.ts';

const gateway = open({
  nodeSelector: maybe(k8sSelector),
  interface: maybe(interfaceName),
  egressIP: maybe(ipAddress),
}).superRefine((value, context) => {
  if (value.interface === undefined || value.egressIP === undefined) return;
  context.addIssue({
    code: 'custom',
    path: ['egressIP'],
    message: 'must be absent with interface: one of them says the address',
    input: value.egressIP,
  });
});

export const ciliumEgressGatewayPolicy = open({
  apiVersion: z.literal('cilium.io/v2'),
  kind: z.literal('CiliumEgressGatewayPolicy'),
  metadata: metadata(dnsSubdomain, false),
  spec: open({
    selectors: z
      .array(
        open({
          podSelector: maybe(k8sSelector),
          namespaceSelector: maybe(k8sSelector),
          nodeSelector: maybe(k8sSelector),
        }),
      )
      .min(1, 'must hold at least one selector')
      .max(256),
    destinationCIDRs: z.array(cidr).min(1, 'must hold at least one CIDR').max(1024),
    excludedCIDRs: maybe(z.array(cidr).max(1024)),
    egressGateway: maybe(gateway),
    egressGateways: maybe(
      z
        .array(gateway)
        .max(64)
        .meta({ description: 'In this order: the first that lives has the traffic.' }),
    ),
  }).superRefine((spec, context) => {
    if (spec.egressGateway !== undefined || (spec.egressGateways?.length ?? 0) > 0) return;
    context.addIssue({
      code: 'custom',
      path: ['egressGateway'],
      message: 'must be set unless egressGateways is',
      input: undefined,
    });
  }),
  status: maybe(open({})),
}).meta({ description: 'Which pods leave the cluster by which gateway, with which address.' });

export type CiliumEgressGatewayPolicy = z.infer<typeof ciliumEgressGatewayPolicy>;
