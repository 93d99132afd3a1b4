import * as z from 'zod';
import {
  asn,
  conditions,
  listName,
  peerConfigRef,
  portNumber,
  routerId,
  unicastAddress,
} from './bgp-fields.ts';
import { closed, maybe, namedList, open } from './build.ts';
import { apiVersion, autoDiscovery } from './cilium-bgp.ts';
import { dnsSubdomain, metadata } from './common.ts';

// Cilium's kinds for BGP that are of one node each: what a person says is different on it, and what follows.

export const ciliumBgpNodeConfigOverride = open({
  apiVersion,
  kind: z.literal('CiliumBGPNodeConfigOverride'),
  metadata: metadata(dnsSubdomain, false),
  spec: closed({
    bgpInstances: namedList(
      closed({
        name: listName,
        routerID: maybe(routerId),
        localPort: maybe(portNumber),
        localASN: maybe(asn),
        peers: maybe(
          namedList(
            closed({
              name: listName,
              localAddress: maybe(unicastAddress),
              localPort: maybe(
                portNumber.meta({ description: 'Taken and without effect, as in Cilium.' }),
              ),
            }),
            1024,
          ),
        ),
      }),
      16,
    ).min(1, 'must hold at least one instance'),
  }),
}).meta({
  description: 'What is different on one node; its name is that of the node.',
});

const nodePeer = open({
  name: z.string(),
  peerAddress: maybe(z.string()),
  peerASN: maybe(z.int()),
  autoDiscovery: maybe(autoDiscovery),
  localAddress: maybe(z.string()),
  peerConfigRef: maybe(peerConfigRef),
});

const nodeInstance = open({
  name: z.string(),
  localASN: maybe(z.int()),
  routerID: maybe(z.string()),
  localPort: maybe(z.int()),
  peers: maybe(z.array(nodePeer)),
});

const peerStatus = open({
  name: z.string(),
  peerAddress: z.string(),
  peerASN: maybe(z.int()),
  peeringState: maybe(
    z.string().meta({
      description:
        'idle, connect, active, open_sent, open_confirm, established; unknown when nobody can say.',
    }),
  ),
  establishedTime: maybe(z.string().meta({ description: 'Only of a session that is up.' })),
  timers: maybe(
    open({
      appliedHoldTimeSeconds: maybe(z.int()),
      appliedKeepaliveSeconds: maybe(z.int()),
    }),
  ),
  routeCount: maybe(
    z.array(
      open({
        afi: z.string(),
        safi: z.string(),
        received: maybe(z.int()),
        advertised: maybe(z.int()),
      }),
    ),
  ),
});

const instanceStatus = open({
  name: z.string(),
  localASN: maybe(z.int()),
  peers: maybe(z.array(peerStatus)),
});

export const ciliumBgpNodeConfig = open({
  apiVersion,
  kind: z.literal('CiliumBGPNodeConfig'),
  metadata: metadata(dnsSubdomain, false),
  spec: open({ bgpInstances: z.array(nodeInstance).default([]) }),
  status: maybe(
    open({ bgpInstances: maybe(z.array(instanceStatus)), conditions: maybe(conditions) }),
  ),
}).meta({
  description:
    'What holds for one node, and how its sessions are. For reading: the operator writes the spec, the agent the status.',
});

export type CiliumBGPNodeConfigOverride = z.infer<typeof ciliumBgpNodeConfigOverride>;
export type CiliumBGPNodeConfig = z.infer<typeof ciliumBgpNodeConfig>;
