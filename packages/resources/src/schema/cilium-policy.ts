import * as z from 'zod';
import { closed, maybe, open, text, unsupported } from './build.ts';
import { cidr, ciliumSelector, dnsSubdomain, ipOrCidr, isPortName, metadata } from './common.ts';
import { cidrWithExceptions } from './network-policy.ts';

/** Entities of Cilium 1.19. */
export const entity = z.enum([
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
  cidr: maybe(ipOrCidr),
  cidrGroupRef: maybe(dnsSubdomain),
  cidrGroupSelector: maybe(ciliumSelector),
  except: maybe(z.array(cidr)),
})
  .superRefine((rule, context) => {
    const given = [rule.cidr, rule.cidrGroupRef, rule.cidrGroupSelector].filter(
      (each) => each !== undefined,
    ).length;
    if (given === 1) return;
    context.addIssue({
      code: 'custom',
      message: 'must hold exactly one of cidr, cidrGroupRef and cidrGroupSelector',
      input: rule,
    });
  })
  .superRefine(cidrWithExceptions);

const isCiliumPort = (value: string): boolean =>
  /^(0|[1-9]\d{0,4})$/.test(value) ? Number(value) <= 65535 : isPortName(value.toLowerCase());

const portProtocol = closed({
  port: maybe(
    text(isCiliumPort, 'a port number 0 to 65535 in quotes ("0" is every port), or a port name'),
  ),
  endPort: maybe(z.int().min(0).max(65535)),
  protocol: maybe(z.enum(['TCP', 'UDP', 'SCTP', 'ANY', ''])),
}).superRefine((each, context) => {
  if (!each.endPort) return;
  const first = Number(each.port);
  if (each.port !== undefined && Number.isNaN(first)) {
    context.addIssue({
      code: 'custom',
      path: ['endPort'],
      message: 'must be absent with a named port',
      input: each.endPort,
    });
  } else if (each.endPort < (each.port === undefined ? 0 : first)) {
    context.addIssue({
      code: 'custom',
      path: ['endPort'],
      message: `must not be less than port ${each.port}`,
      input: each.endPort,
    });
  }
});

const portDenyRule = closed({ ports: maybe(z.array(portProtocol).max(40)) });

const L7 = 'rules above layer 4 are not enforced yet';
const portRule = closed({
  ports: maybe(z.array(portProtocol).max(40)),
  // An empty `rules: {}` asks for nothing and is harmless.
  rules: maybe(
    closed({
      http: unsupported(`HTTP ${L7}`),
      kafka: unsupported(`Kafka ${L7}`),
      dns: unsupported(`DNS ${L7}`),
      l7proto: unsupported(`proxy ${L7}`),
      l7: unsupported(`proxy ${L7}`),
    }),
  ),
  terminatingTLS: unsupported('TLS termination is not done yet'),
  originatingTLS: unsupported('TLS origination is not done yet'),
  serverNames: unsupported('TLS server names are not enforced yet'),
  listener: unsupported('redirection to a proxy is not done yet'),
});

/** ICMP type names that Cilium takes, with their numbers (IANA icmp-parameters, icmpv6-parameters). */
export const ICMP_TYPES = Object.freeze({
  IPv4: {
    EchoReply: 0,
    DestinationUnreachable: 3,
    Redirect: 5,
    Echo: 8,
    EchoRequest: 8,
    RouterAdvertisement: 9,
    RouterSelection: 10,
    TimeExceeded: 11,
    ParameterProblem: 12,
    Timestamp: 13,
    TimestampReply: 14,
    Photuris: 40,
    ExtendedEchoRequest: 42,
    ExtendedEchoReply: 43,
  },
  IPv6: {
    DestinationUnreachable: 1,
    PacketTooBig: 2,
    TimeExceeded: 3,
    ParameterProblem: 4,
    EchoRequest: 128,
    EchoReply: 129,
    MulticastListenerQuery: 130,
    MulticastListenerReport: 131,
    MulticastListenerDone: 132,
    RouterSolicitation: 133,
    RouterAdvertisement: 134,
    NeighborSolicitation: 135,
    NeighborAdvertisement: 136,
    RedirectMessage: 137,
    RouterRenumbering: 138,
    ICMPNodeInformationQuery: 139,
    ICMPNodeInformationResponse: 140,
    InverseNeighborDiscoverySolicitation: 141,
    InverseNeighborDiscoveryAdvertisement: 142,
    HomeAgentAddressDiscoveryRequest: 144,
    HomeAgentAddressDiscoveryReply: 145,
    MobilePrefixSolicitation: 146,
    MobilePrefixAdvertisement: 147,
    DuplicateAddressRequestCodeSuffix: 157,
    DuplicateAddressConfirmationCodeSuffix: 158,
    ExtendedEchoRequest: 160,
    ExtendedEchoReply: 161,
  },
} as const satisfies Record<string, Record<string, number>>);

const icmpField = closed({
  family: maybe(z.enum(['IPv4', 'IPv6', ''])),
  type: z.union([z.int().min(0).max(255), z.string()], {
    error: 'must be an ICMP type: 0 to 255, or a name such as EchoRequest',
  }),
}).superRefine((field, context) => {
  if (typeof field.type === 'number') return;
  const names = ICMP_TYPES[field.family === 'IPv6' ? 'IPv6' : 'IPv4'];
  if (Object.hasOwn(names, field.type)) return;
  if (/^\d{1,3}$/.test(field.type) && Number(field.type) <= 255) return;
  context.addIssue({
    code: 'custom',
    path: ['type'],
    message: `must be 0 to 255 or one of ${Object.keys(names).join(', ')}`,
    input: field.type,
  });
});
const icmpRule = closed({ fields: maybe(z.array(icmpField).max(40)) });

const REQUIRES = 'deprecated in Cilium and not enforced; use a deny rule';
const GROUPS = 'cloud provider groups are not resolved';
const NODES = 'node selectors in peers are not enforced yet; use entities host and remote-node';
const authentication = maybe(
  closed({
    mode: z.literal('disabled', {
      error: 'mutual authentication is not enforced yet; only "disabled" is taken',
    }),
  }),
);

const ingressPeers = {
  fromEndpoints: maybe(z.array(ciliumSelector)),
  fromCIDR: maybe(z.array(ipOrCidr)),
  fromCIDRSet: maybe(z.array(cidrRule)),
  fromEntities: maybe(z.array(entity)),
  fromRequires: unsupported(REQUIRES),
  fromGroups: unsupported(GROUPS),
  fromNodes: unsupported(NODES),
};
const egressPeers = {
  toEndpoints: maybe(z.array(ciliumSelector)),
  toCIDR: maybe(z.array(ipOrCidr)),
  toCIDRSet: maybe(z.array(cidrRule)),
  toEntities: maybe(z.array(entity)),
  toRequires: unsupported(REQUIRES),
  toGroups: unsupported(GROUPS),
  toNodes: unsupported(NODES),
  toServices: unsupported('peers by Service are not enforced yet; select the pods instead'),
  toFQDNs: unsupported('DNS names are not enforced yet; use toCIDR'),
};
const allowPorts = { toPorts: maybe(z.array(portRule)), icmps: maybe(z.array(icmpRule)) };
const denyPorts = { toPorts: maybe(z.array(portDenyRule)), icmps: maybe(z.array(icmpRule)) };

const ingressRule = closed({ ...ingressPeers, ...allowPorts, authentication }).superRefine(onePeer);
const ingressDenyRule = closed({ ...ingressPeers, ...denyPorts }).superRefine(onePeer);
const egressRule = closed({ ...egressPeers, ...allowPorts, authentication }).superRefine(onePeer);
const egressDenyRule = closed({ ...egressPeers, ...denyPorts }).superRefine(onePeer);

/** As in Cilium, a rule names its peers in one way, and ICMP types do not stand beside ports. */
function onePeer(rule: object, context: z.core.$RefinementCtx): void {
  const given = Object.entries(rule)
    .filter(([key, value]) => /^(from|to(?!Ports))/.test(key) && value?.length > 0)
    .map(([key]) => key);
  for (const other of given.slice(1)) {
    context.addIssue({
      code: 'custom',
      path: [other],
      message: `must not stand beside ${given[0]}: write two rules`,
    });
  }
  const { toPorts, icmps } = rule as { toPorts?: unknown[]; icmps?: unknown[] };
  if (toPorts?.length && icmps?.length) {
    context.addIssue({
      code: 'custom',
      path: ['icmps'],
      message: 'must not stand beside toPorts: write two rules',
    });
  }
}

const ruleShape = {
  endpointSelector: maybe(ciliumSelector),
  nodeSelector: unsupported('policies for nodes (the host firewall) are not enforced yet'),
  ingress: maybe(z.array(ingressRule)),
  ingressDeny: maybe(z.array(ingressDenyRule)),
  egress: maybe(z.array(egressRule)),
  egressDeny: maybe(z.array(egressDenyRule)),
  enableDefaultDeny: maybe(closed({ ingress: maybe(z.boolean()), egress: maybe(z.boolean()) })),
  labels: maybe(
    z.array(closed({ key: z.string(), value: maybe(z.string()), source: maybe(z.string()) })),
  ),
  description: maybe(z.string()),
  log: maybe(closed({ value: maybe(z.string()) })),
};

const rule = closed(ruleShape).superRefine((each, context) => {
  // With nodeSelector the refusal of that field says enough.
  if (each.endpointSelector !== undefined || Object.hasOwn(each, 'nodeSelector')) return;
  context.addIssue({
    code: 'custom',
    path: ['endpointSelector'],
    message: 'must be set; {} selects every endpoint in scope',
  });
});

const body = { spec: maybe(rule), specs: maybe(z.array(rule)), status: maybe(open({})) };

function oneBody(policy: { spec?: unknown; specs?: unknown[] }, context: z.core.$RefinementCtx) {
  if (policy.spec !== undefined || policy.specs?.length) return;
  context.addIssue({ code: 'custom', path: ['spec'], message: 'must be set, or specs' });
}

export const ciliumNetworkPolicy = open({
  apiVersion: z.literal('cilium.io/v2'),
  kind: z.literal('CiliumNetworkPolicy'),
  metadata: metadata(dnsSubdomain, true),
  ...body,
})
  .superRefine(oneBody)
  .meta({ description: 'Allow and deny rules for endpoints of one namespace, layers 3 and 4.' });

export const ciliumClusterwideNetworkPolicy = open({
  apiVersion: z.literal('cilium.io/v2'),
  kind: z.literal('CiliumClusterwideNetworkPolicy'),
  metadata: metadata(dnsSubdomain, false),
  ...body,
})
  .superRefine(oneBody)
  .meta({ description: 'Allow and deny rules for endpoints of all namespaces, layers 3 and 4.' });

export type CiliumRule = z.infer<typeof rule>;
export type CiliumNetworkPolicy = z.infer<typeof ciliumNetworkPolicy>;
export type CiliumClusterwideNetworkPolicy = z.infer<typeof ciliumClusterwideNetworkPolicy>;
