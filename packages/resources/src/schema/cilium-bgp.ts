import * as z from 'zod';
import {
  afi,
  asn,
  conditions,
  interfaceName,
  largeCommunity,
  listName,
  peerConfigRef,
  portNumber,
  safi,
  seconds,
  selector,
  standardCommunity,
  unicastAddress,
  wellKnownCommunity,
} from './bgp-fields.ts';
import { closed, maybe, namedList, open } from './build.ts';
import { dnsSubdomain, metadata } from './common.ts';

// Cilium's kinds for BGP (1.19), v2 with what v2alpha1 had beside it. Specs take their own fields
// only: a misspelt setting of a routing protocol must not be passed over in silence.

export const apiVersion = z.enum(['cilium.io/v2', 'cilium.io/v2alpha1']);
const status = maybe(open({ conditions: maybe(conditions) }));

export const autoDiscovery = closed({
  mode: z.enum(['DefaultGateway', 'Unnumbered']),
  defaultGateway: maybe(closed({ addressFamily: z.enum(['ipv4', 'ipv6']) })),
  unnumbered: maybe(closed({ interface: interfaceName })),
})
  .superRefine((value, context) => {
    const wants = value.mode === 'DefaultGateway' ? 'defaultGateway' : 'unnumbered';
    const other = wants === 'unnumbered' ? 'defaultGateway' : 'unnumbered';
    const fail = (path: string, message: string, input?: unknown): void =>
      context.addIssue({ code: 'custom', path: [path], message, input });
    if (value[wants] === undefined) fail(wants, `must be set with mode ${value.mode}`);
    if (value[other] !== undefined) fail(other, `must be absent with mode ${value.mode}`);
  })
  .meta({
    description:
      'DefaultGateway: the peer is the gateway of the best default route. Unnumbered: the peer is the router heard on an interface by its link-local address.',
  });

const peer = closed({
  name: listName,
  peerAddress: maybe(unicastAddress),
  peerASN: maybe(
    z
      .int({ error: 'must be an AS number, or 0 for any' })
      .min(0, 'must be an AS number, or 0 for any')
      .max(0xffff_ffff, 'must be an AS number, 1 to 4294967295')
      .meta({ description: "0 or absent: whatever the peer's OPEN says." }),
  ),
  autoDiscovery: maybe(autoDiscovery),
  peerConfigRef: maybe(peerConfigRef),
}).superRefine((value, context) => {
  const both = value.peerAddress !== undefined && value.autoDiscovery !== undefined;
  const neither = value.peerAddress === undefined && value.autoDiscovery === undefined;
  if (!both && !neither) return;
  context.addIssue({
    code: 'custom',
    path: ['peerAddress'],
    message: both
      ? 'must be absent with autoDiscovery, which finds it'
      : 'must be set, or autoDiscovery in its place',
    input: value.peerAddress,
  });
});

const instance = closed({
  name: listName,
  localASN: maybe(asn.meta({ description: 'May be left to a CiliumBGPNodeConfigOverride.' })),
  localPort: maybe(
    portNumber.meta({ description: 'Without it no connections are taken, only opened.' }),
  ),
  peers: maybe(namedList(peer, 1024)),
});

export const ciliumBgpClusterConfig = open({
  apiVersion,
  kind: z.literal('CiliumBGPClusterConfig'),
  metadata: metadata(dnsSubdomain, false),
  spec: closed({
    nodeSelector: maybe(selector.meta({ description: 'Without it every node is meant.' })),
    bgpInstances: namedList(instance, 16).min(1, 'must hold at least one instance'),
  }),
  status,
}).meta({ description: 'Which nodes speak BGP, as which AS, with whom.' });

const family = closed({
  afi,
  safi,
  advertisements: maybe(
    selector.meta({
      description: 'CiliumBGPAdvertisements by label; without it nothing is announced.',
    }),
  ),
});

const timers = closed({
  connectRetryTimeSeconds: maybe(seconds(1, 2_147_483_647)),
  holdTimeSeconds: maybe(seconds(3, 65_535)),
  keepAliveTimeSeconds: maybe(seconds(1, 65_535)),
}).superRefine((value, context) => {
  const hold = value.holdTimeSeconds ?? 90;
  const keepalive = value.keepAliveTimeSeconds;
  if (keepalive === undefined || keepalive <= hold) return;
  context.addIssue({
    code: 'custom',
    path: ['keepAliveTimeSeconds'],
    message: `must not be more than the hold time, ${hold} s`,
    input: keepalive,
  });
});

export const ciliumBgpPeerConfig = open({
  apiVersion,
  kind: z.literal('CiliumBGPPeerConfig'),
  metadata: metadata(dnsSubdomain, false),
  spec: closed({
    transport: maybe(
      closed({
        peerPort: maybe(portNumber),
        localPort: maybe(
          portNumber.meta({ description: 'v2alpha1; taken and without effect, as in Cilium.' }),
        ),
        sourceInterface: maybe(
          interfaceName.meta({ description: 'The session is opened from its address.' }),
        ),
      }),
    ),
    timers: maybe(timers),
    authSecretRef: maybe(
      dnsSubdomain.meta({
        description: "A Secret with a key `password` (RFC 2385) in the agent's secrets namespace.",
      }),
    ),
    gracefulRestart: maybe(
      closed({ enabled: z.boolean(), restartTimeSeconds: maybe(seconds(1, 4095)) }),
    ),
    ebgpMultihop: maybe(
      z
        .int()
        .min(1, 'must be a TTL, 1 to 255')
        .max(255, 'must be a TTL, 1 to 255')
        .meta({ description: 'TTL of packets to an eBGP peer; 1 when absent.' }),
    ),
    families: maybe(
      z
        .array(family)
        .max(16)
        .superRefine((families, context) => {
          const seen = new Set<string>();
          families.forEach((each, index) => {
            const key = `${each.afi}/${each.safi}`;
            if (seen.has(key)) {
              context.addIssue({
                code: 'custom',
                path: [index],
                message: `must not stand twice: ${key}`,
                input: key,
              });
            }
            seen.add(key);
          });
        }),
    ),
  }).default({}),
  status,
}).meta({ description: 'Settings of sessions that peers share.' });

const attributes = closed({
  communities: maybe(
    closed({
      standard: maybe(z.array(standardCommunity).max(255)),
      wellKnown: maybe(z.array(wellKnownCommunity).max(255)),
      large: maybe(z.array(largeCommunity).max(255)),
    }),
  ),
  localPreference: maybe(
    z
      .int()
      .min(0, 'must be 0 to 4294967295')
      .max(0xffff_ffff, 'must be 0 to 4294967295')
      .meta({ description: 'Told to iBGP peers only (RFC 4271 section 5.1.5).' }),
  ),
});

const length = (most: number) =>
  maybe(z.int().min(0, `must be 0 to ${most}`).max(most, `must be 0 to ${most}`));

const advertisement = closed({
  advertisementType: z.enum([
    'PodCIDR',
    'CiliumPodIPPool',
    'Service',
    'Interface',
    'EgressGateway',
  ]),
  selector: maybe(
    selector.meta({
      description:
        'Services by label, or by io.kubernetes.service.namespace and io.kubernetes.service.name; CiliumEgressGatewayPolicies by label. Without it none is meant.',
    }),
  ),
  service: maybe(
    closed({
      addresses: z
        .array(z.enum(['LoadBalancerIP', 'ClusterIP', 'ExternalIP']))
        .min(1, 'must hold at least one of LoadBalancerIP, ClusterIP, ExternalIP'),
      aggregationLengthIPv4: length(31),
      aggregationLengthIPv6: length(127),
    }),
  ),
  interface: maybe(closed({ name: interfaceName })),
  attributes: maybe(attributes),
}).superRefine((value, context) => {
  const { advertisementType: type } = value;
  const fail = (path: string, message: string, input?: unknown): void =>
    context.addIssue({ code: 'custom', path: [path], message, input });
  for (const [field, owner] of [
    ['service', 'Service'],
    ['interface', 'Interface'],
  ] as const) {
    if (type === owner && value[field] === undefined) fail(field, `must be set with type ${type}`);
    if (type !== owner && value[field] !== undefined) {
      fail(field, `must be absent with type ${type}`, value[field]);
    }
  }
  if (type === 'PodCIDR' && value.selector !== undefined) {
    fail(
      'selector',
      'must be absent with type PodCIDR: all pod CIDRs of the node are announced',
      value.selector,
    );
  }
});

export const ciliumBgpAdvertisement = open({
  apiVersion,
  kind: z.literal('CiliumBGPAdvertisement'),
  metadata: metadata(dnsSubdomain, false),
  spec: closed({ advertisements: z.array(advertisement).max(256) }),
  status,
}).meta({
  description: 'What is announced, with which attributes; peers choose it by its labels.',
});

export type CiliumBGPClusterConfig = z.infer<typeof ciliumBgpClusterConfig>;
export type CiliumBGPPeerConfig = z.infer<typeof ciliumBgpPeerConfig>;
export type CiliumBGPAdvertisement = z.infer<typeof ciliumBgpAdvertisement>;
