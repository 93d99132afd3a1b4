import * as z from 'zod';
import { closed, maybe, notEnforced, open } from './build.ts';
import { cidr, ciliumSelector, dnsSubdomain, ipOrCidr, metadata } from './common.ts';

// Shapes only: what may stand together and what is enforced is decided by the policy package, which
// validation asks too.

/** Entities of Cilium 1.19. */
const entity = z.enum([
  'all',
  'world',
  'world-ipv4',
  'world-ipv6',
  'cluster',
  'host',
  'remote-node',
  'health',
  'init',
  'unmanaged',
  'kube-apiserver',
  'ingress',
  'none',
]);

const cidrRule = closed({
  cidr: maybe(cidr),
  cidrGroupRef: maybe(dnsSubdomain),
  cidrGroupSelector: maybe(ciliumSelector),
  except: maybe(z.array(cidr)),
});

const ports = maybe(
  z
    .array(
      closed({
        port: maybe(
          z.string().meta({ description: 'Number or name, in quotes; "0" is every port.' }),
        ),
        endPort: maybe(z.int().min(0).max(65535)),
        protocol: maybe(z.string().meta({ description: 'TCP, UDP, SCTP or ANY (the default).' })),
      }),
    )
    .max(40),
);

const portRule = closed({
  ports,
  rules: notEnforced('rules above layer 4 are'),
  terminatingTLS: notEnforced('TLS termination is'),
  originatingTLS: notEnforced('TLS origination is'),
  serverNames: notEnforced('TLS server names are'),
  listener: notEnforced('redirection to a proxy is'),
});
const portDenyRule = closed({ ports });

const icmpRule = closed({
  fields: maybe(
    z
      .array(
        closed({
          family: maybe(z.enum(['IPv4', 'IPv6', ''])),
          type: z.union([z.int().min(0).max(255), z.string()], {
            error: 'must be an ICMP type: 0 to 255, or a name such as EchoRequest',
          }),
        }),
      )
      .max(40),
  ),
});

const authentication = maybe(
  closed({ mode: z.string().meta({ description: 'Only "disabled"; others are refused.' }) }),
);

const ingressPeers = {
  fromEndpoints: maybe(z.array(ciliumSelector)),
  fromCIDR: maybe(z.array(ipOrCidr)),
  fromCIDRSet: maybe(z.array(cidrRule)),
  fromEntities: maybe(z.array(entity)),
  fromRequires: notEnforced('requirements, deprecated in Cilium, are'),
  fromGroups: notEnforced("cloud providers' groups are"),
  fromNodes: maybe(z.array(ciliumSelector)),
};
const egressPeers = {
  toEndpoints: maybe(z.array(ciliumSelector)),
  toCIDR: maybe(z.array(ipOrCidr)),
  toCIDRSet: maybe(z.array(cidrRule)),
  toEntities: maybe(z.array(entity)),
  toRequires: notEnforced('requirements, deprecated in Cilium, are'),
  toGroups: notEnforced("cloud providers' groups are"),
  toNodes: maybe(z.array(ciliumSelector)),
  toServices: notEnforced('peers by Service are'),
  toFQDNs: notEnforced('peers by DNS name are'),
};
const allowPorts = { toPorts: maybe(z.array(portRule)), icmps: maybe(z.array(icmpRule)) };
const denyPorts = { toPorts: maybe(z.array(portDenyRule)), icmps: maybe(z.array(icmpRule)) };

const rule = closed({
  endpointSelector: maybe(ciliumSelector),
  nodeSelector: maybe(
    ciliumSelector.meta({
      description:
        'Nodes that are endpoints themselves, by their labels; in cluster-wide policies only.',
    }),
  ),
  ingress: maybe(z.array(closed({ ...ingressPeers, ...allowPorts, authentication }))),
  ingressDeny: maybe(z.array(closed({ ...ingressPeers, ...denyPorts }))),
  egress: maybe(z.array(closed({ ...egressPeers, ...allowPorts, authentication }))),
  egressDeny: maybe(z.array(closed({ ...egressPeers, ...denyPorts }))),
  enableDefaultDeny: maybe(closed({ ingress: maybe(z.boolean()), egress: maybe(z.boolean()) })),
  labels: maybe(
    z.array(closed({ key: z.string(), value: maybe(z.string()), source: maybe(z.string()) })),
  ),
  description: maybe(z.string()),
  log: maybe(closed({ value: maybe(z.string()) })),
});

const body = { spec: maybe(rule), specs: maybe(z.array(rule)), status: maybe(open({})) };

export const ciliumNetworkPolicy = open({
  apiVersion: z.literal('cilium.io/v2'),
  kind: z.literal('CiliumNetworkPolicy'),
  metadata: metadata(dnsSubdomain, true),
  ...body,
}).meta({ description: 'Allow and deny rules for endpoints of one namespace, layers 3 and 4.' });

export const ciliumClusterwideNetworkPolicy = open({
  apiVersion: z.literal('cilium.io/v2'),
  kind: z.literal('CiliumClusterwideNetworkPolicy'),
  metadata: metadata(dnsSubdomain, false),
  ...body,
}).meta({ description: 'Allow and deny rules for endpoints of all namespaces, layers 3 and 4.' });

export type CiliumRule = z.infer<typeof rule>;
export type CiliumNetworkPolicy = z.infer<typeof ciliumNetworkPolicy>;
export type CiliumClusterwideNetworkPolicy = z.infer<typeof ciliumClusterwideNetworkPolicy>;
