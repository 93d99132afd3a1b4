import { Prefix } from '@causeway/ip';
import * as z from 'zod';
import { closed, maybe, open } from './build.ts';
import { cidr, dnsSubdomain, k8sSelector, metadata, port, portName, protocol } from './common.ts';

const networkPolicyPort = closed({
  protocol: maybe(protocol),
  port: maybe(z.union([port, portName], { error: 'must be a port number or a port name' })),
  endPort: maybe(port),
}).superRefine((each, context) => {
  if (each.endPort === undefined) return;
  if (typeof each.port !== 'number') {
    context.addIssue({
      code: 'custom',
      path: ['port'],
      message: 'must be a number when endPort is set',
      input: each.port,
    });
  } else if (each.endPort < each.port) {
    context.addIssue({
      code: 'custom',
      path: ['endPort'],
      message: `must not be less than port ${each.port}`,
      input: each.endPort,
    });
  }
});

/** Exceptions must lie inside the CIDR: outside they would do nothing and look as if they did. */
export const cidrWithExceptions = (
  block: { cidr?: string; except?: string[] },
  context: z.core.$RefinementCtx,
): void => {
  if (block.cidr === undefined) return;
  const outer = Prefix.tryParse(block.cidr, { hostBits: 'clear' });
  block.except?.forEach((text, index) => {
    const inner = Prefix.tryParse(text, { hostBits: 'clear' });
    if (!outer || !inner || (Prefix.covers(outer, inner) && outer !== inner)) return;
    context.addIssue({
      code: 'custom',
      path: ['except', index],
      message: `must lie inside ${outer} and be smaller`,
      input: text,
    });
  });
};

const ipBlock = closed({ cidr, except: maybe(z.array(cidr)) }).superRefine(cidrWithExceptions);

const peer = closed({
  podSelector: maybe(k8sSelector),
  namespaceSelector: maybe(k8sSelector),
  ipBlock: maybe(ipBlock),
}).superRefine((each, context) => {
  const selects = each.podSelector !== undefined || each.namespaceSelector !== undefined;
  if (each.ipBlock !== undefined && selects) {
    context.addIssue({
      code: 'custom',
      path: ['ipBlock'],
      message: 'must not stand beside podSelector or namespaceSelector',
      input: each.ipBlock,
    });
  } else if (each.ipBlock === undefined && !selects) {
    context.addIssue({
      code: 'custom',
      message: 'must hold podSelector, namespaceSelector or ipBlock',
      input: each,
    });
  }
});

export const networkPolicy = open({
  apiVersion: z.literal('networking.k8s.io/v1'),
  kind: z.literal('NetworkPolicy'),
  metadata: metadata(dnsSubdomain, true),
  spec: closed({
    podSelector: k8sSelector.default({}),
    policyTypes: maybe(z.array(z.enum(['Ingress', 'Egress'])).max(2)),
    ingress: maybe(
      z.array(closed({ from: maybe(z.array(peer)), ports: maybe(z.array(networkPolicyPort)) })),
    ),
    egress: maybe(
      z.array(closed({ to: maybe(z.array(peer)), ports: maybe(z.array(networkPolicyPort)) })),
    ),
  }),
}).meta({
  description: "Kubernetes' NetworkPolicy: what may reach the selected pods, or they reach.",
});

export type NetworkPolicy = z.infer<typeof networkPolicy>;
export type NetworkPolicyPeer = z.infer<typeof peer>;
