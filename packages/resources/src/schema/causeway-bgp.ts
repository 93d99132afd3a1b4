import { Prefix } from '@causeway/ip';
import * as z from 'zod';
import {
  afi,
  asn,
  listName,
  peerConfigRef,
  portNumber,
  routerId,
  safi,
  seconds,
  selector,
  unicastAddress,
} from './bgp-fields.ts';
import { closed, maybe, namedList, open, text } from './build.ts';
import { dnsSubdomain, metadata } from './common.ts';

// What Cilium's kinds for BGP have no field for. Each object extends the Cilium object of its own
// name, as CiliumBGPNodeConfigOverride extends a node: manifests for Cilium stay as they are.

const apiVersion = z.literal('causeway.io/v1');

/** Host bits in a routing policy are a slip of the pen: refused, not cleared. */
const exactPrefix = text(
  (value) => Prefix.tryParse(value) !== undefined,
  'a prefix without bits beyond its length, such as 10.0.0.0/8 or fd00::/48',
);

const milliseconds = z
  .int({ error: 'must be 10 to 60000 milliseconds' })
  .min(10, 'must be 10 to 60000 milliseconds')
  .max(60_000, 'must be 10 to 60000 milliseconds');

const bfd = closed({
  intervalMilliseconds: maybe(
    milliseconds.meta({ description: 'How often packets go out and may come in; 300.' }),
  ),
  multiplier: maybe(
    z
      .int()
      .min(1, 'must be 1 to 255')
      .max(255, 'must be 1 to 255')
      .meta({ description: 'So many lost in a row mean down; 3.' }),
  ),
  multihop: maybe(z.boolean().meta({ description: 'RFC 5883, for a peer that is routed to.' })),
  strict: maybe(z.boolean().meta({ description: 'No session before BFD is up.' })),
  auth: maybe(
    closed({
      type: z.enum(['Simple', 'KeyedMD5', 'MeticulousMD5', 'KeyedSHA1', 'MeticulousSHA1']),
      keyID: z.int().min(0, 'must be 0 to 255').max(255, 'must be 0 to 255'),
      secretRef: dnsSubdomain,
    }),
  ),
}).meta({ description: 'A BFD session for each peer, held by the bfd daemon (RFC 5880).' });

const importRule = closed({
  prefix: exactPrefix,
  minLength: maybe(z.int().min(0).max(128)),
  maxLength: maybe(z.int().min(0).max(128)),
}).superRefine((rule, context) => {
  const prefix = Prefix.tryParse(rule.prefix);
  if (prefix === undefined) return;
  const least = Prefix.length(prefix);
  const most = Prefix.family(prefix) === 'ipv4' ? 32 : 128;
  const fail = (field: 'minLength' | 'maxLength', message: string): void =>
    context.addIssue({ code: 'custom', path: [field], message, input: rule[field] });
  for (const field of ['minLength', 'maxLength'] as const) {
    const value = rule[field];
    if (value !== undefined && (value < least || value > most)) {
      fail(field, `must be ${least} to ${most} with prefix ${rule.prefix}`);
    }
  }
  const { minLength, maxLength } = rule;
  if (minLength !== undefined && maxLength !== undefined && minLength > maxLength) {
    fail('maxLength', `must not be less than minLength, ${minLength}`);
  }
});

const family = closed({
  afi,
  safi,
  addPath: maybe(
    closed({
      receive: maybe(z.boolean()),
      send: maybe(z.int().min(1, 'must be 1 to 64').max(64, 'must be 1 to 64')),
    }),
  ),
  maxPrefixes: maybe(
    closed({
      limit: z.int().min(1, 'must be 1 to 10000000').max(10_000_000, 'must be 1 to 10000000'),
      warnAtPercent: maybe(z.int().min(1, 'must be 1 to 100').max(100, 'must be 1 to 100')),
      action: maybe(
        z.enum(['Warn', 'Reset', 'Refuse']).meta({
          description: 'Beyond the limit: only say so, end the session, or take no more; Reset.',
        }),
      ),
      restartAfterSeconds: maybe(seconds(1, 86_400)),
    }),
  ),
  import: maybe(
    z.array(importRule).max(4096).meta({
      description:
        'What is taken of what the peer announces. Absent or empty: nothing. A prefix alone is meant exactly; minLength and maxLength say which longer ones too.',
    }),
  ),
  transit: maybe(
    z.boolean().meta({
      description:
        'Routes learned from other peers are told to this one as well. Default: true with routeReflectorClient, else false.',
    }),
  ),
  longLivedStaleSeconds: maybe(seconds(0, 16_777_215)),
});

export const bgpPeerOptions = open({
  apiVersion,
  kind: z.literal('BGPPeerOptions'),
  metadata: metadata(dnsSubdomain, false),
  spec: closed({
    description: maybe(z.string().max(255)),
    passive: maybe(z.boolean().meta({ description: 'Waits for the peer to connect.' })),
    bfd: maybe(bfd),
    ttlSecurity: maybe(
      closed({
        hops: z.int().min(1, 'must be 1 to 254').max(254, 'must be 1 to 254').meta({
          description: 'How far away the peer may be; 1 is next door (RFC 5082).',
        }),
      }),
    ),
    routeReflectorClient: maybe(z.boolean()),
    nextHop: maybe(z.enum(['Self', 'Unchanged'])),
    extendedNextHop: maybe(
      z.boolean().meta({ description: 'IPv4 routes with IPv6 next hops (RFC 8950).' }),
    ),
    extendedMessages: maybe(z.boolean().meta({ description: 'RFC 8654; on by default.' })),
    gracefulRestartHelper: maybe(
      z.boolean().meta({ description: "Keeps a restarting peer's routes; on by default." }),
    ),
    adminDown: maybe(z.boolean()),
    timers: maybe(
      closed({
        delayOpenSeconds: maybe(seconds(1, 240)),
        idleHoldSeconds: maybe(seconds(1, 3600)),
      }),
    ),
    families: maybe(z.array(family).max(2)),
  }),
})
  .superRefine(({ spec }, context) => {
    spec.families?.forEach((each, index) => {
      each.import?.forEach((rule, at) => {
        const prefix = Prefix.tryParse(rule.prefix);
        if (prefix === undefined || Prefix.family(prefix) === each.afi) return;
        context.addIssue({
          code: 'custom',
          path: ['spec', 'families', index, 'import', at, 'prefix'],
          message: `must be of family ${each.afi}`,
          input: rule.prefix,
        });
      });
    });
  })
  .meta({
    description:
      'What a CiliumBGPPeerConfig has no field for; its name is that of the CiliumBGPPeerConfig that it extends.',
  });

const dynamicPeer = closed({
  name: listName,
  prefix: exactPrefix,
  peerASNs: z.union([z.enum(['Any', 'Internal', 'External']), z.array(asn).min(1).max(1024)], {
    error: 'must be Any, Internal, External, or a list of AS numbers',
  }),
  limit: z.int().min(1, 'must be 1 to 10000').max(10_000, 'must be 1 to 10000'),
  peerConfigRef: maybe(peerConfigRef),
}).meta({ description: 'Sessions that anybody of a range may open, up to a limit.' });

const nodePeer = closed({
  name: listName,
  nodeSelector: maybe(selector.meta({ description: 'Without it every other node is meant.' })),
  addressFamily: z.enum(['ipv4', 'ipv6']),
  peerASN: maybe(asn.meta({ description: "Default: the instance's own (iBGP)." })),
  peerConfigRef: maybe(peerConfigRef),
}).meta({
  description:
    'One peer for each node of the cluster that the selector means: full mesh, or reflectors by label.',
});

const bmpStation = closed({
  name: listName,
  address: unicastAddress,
  port: portNumber,
  monitor: maybe(
    z
      .array(
        z.enum(['PrePolicy', 'PostPolicy', 'LocRIB', 'AdjRIBOutPrePolicy', 'AdjRIBOutPostPolicy']),
      )
      .meta({
        description: 'Which routes are told (RFC 7854, 8671, 9069); PrePolicy and LocRIB.',
      }),
  ),
  statisticsSeconds: maybe(seconds(1, 86_400)),
});

export const bgpClusterOptions = open({
  apiVersion,
  kind: z.literal('BGPClusterOptions'),
  metadata: metadata(dnsSubdomain, false),
  spec: closed({
    bgpInstances: namedList(
      closed({
        name: listName,
        clusterID: maybe(
          routerId.meta({ description: 'Of this reflector (RFC 4456); its router id if absent.' }),
        ),
        listenAddresses: maybe(z.array(unicastAddress).max(16)),
        gracefulRestart: maybe(
          closed({
            restartTimeSeconds: maybe(seconds(1, 4095)),
            deferralSeconds: maybe(seconds(1, 3600)),
          }),
        ),
        multipath: maybe(
          closed({
            ebgp: maybe(z.int().min(1, 'must be 1 to 64').max(64, 'must be 1 to 64')),
            ibgp: maybe(z.int().min(1, 'must be 1 to 64').max(64, 'must be 1 to 64')),
          }),
        ),
        kernelRoutes: maybe(
          closed({
            mode: z.enum(['None', 'All', 'Prefixes', 'SameRack']),
            prefixes: maybe(z.array(exactPrefix).max(4096)),
            table: maybe(z.int().min(1).max(0xffff_ffff)),
            metric: maybe(z.int().min(1).max(0xffff_ffff)),
          })
            .superRefine((value, context) => {
              if (value.mode !== 'Prefixes') return;
              if ((value.prefixes?.length ?? 0) > 0) return;
              context.addIssue({
                code: 'custom',
                path: ['prefixes'],
                message: 'must hold at least one prefix with mode Prefixes',
                input: value.prefixes,
              });
            })
            .meta({
              description:
                'Which learned routes go to the kernel; None. SameRack: those whose next hop is on a network of the node.',
            }),
        ),
        dynamicPeers: maybe(namedList(dynamicPeer, 64)),
        nodePeers: maybe(namedList(nodePeer, 16)),
        bmpStations: maybe(namedList(bmpStation, 8)),
      }),
      16,
    ).min(1, 'must hold at least one instance'),
  }),
}).meta({
  description:
    'What a CiliumBGPClusterConfig has no field for; its name is that of the CiliumBGPClusterConfig that it extends.',
});

export type BGPPeerOptions = z.infer<typeof bgpPeerOptions>;
export type BGPClusterOptions = z.infer<typeof bgpClusterOptions>;
