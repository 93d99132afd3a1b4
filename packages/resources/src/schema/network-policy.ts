import * as z from 'zod';
import { closed, maybe, open } from './build.ts';
import { cidr, dnsSubdomain, k8sSelector, metadata, port, portName, protocol } from './common.ts';

// Shapes only: what may stand together and what is enforced is decided by the policy package, which
// validation asks too.

const networkPolicyPort = closed({
  protocol: maybe(protocol),
  port: maybe(z.union([port, portName], { error: 'must be a port number or a port name' })),
  endPort: maybe(port),
});

const peer = closed({
  podSelector: maybe(k8sSelector),
  namespaceSelector: maybe(k8sSelector),
  ipBlock: maybe(closed({ cidr, except: maybe(z.array(cidr)) })),
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
