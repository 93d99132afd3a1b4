import * as z from 'zod';
import { maybe, open } from './build.ts';
import {
  cidr,
  dnsLabel,
  dnsSubdomain,
  ipAddress,
  metadata,
  port,
  portName,
  protocol,
} from './common.ts';

const condition = open({
  type: z.string(),
  status: z.enum(['True', 'False', 'Unknown']),
  reason: maybe(z.string()),
  message: maybe(z.string()),
});

export const namespace = open({
  apiVersion: z.literal('v1'),
  kind: z.literal('Namespace'),
  metadata: metadata(dnsLabel, false),
  spec: maybe(open({})),
  status: maybe(open({ phase: maybe(z.string()) })),
}).meta({ description: 'A namespace; policies select namespaces by its labels.' });

const container = open({
  name: dnsLabel,
  image: maybe(z.string()),
  ports: maybe(
    z.array(
      open({
        name: maybe(portName),
        containerPort: port,
        hostPort: maybe(port),
        protocol: protocol.default('TCP'),
      }),
    ),
  ),
});

export const pod = open({
  apiVersion: z.literal('v1'),
  kind: z.literal('Pod'),
  metadata: metadata(dnsSubdomain, true),
  spec: open({
    nodeName: maybe(dnsSubdomain),
    serviceAccountName: maybe(dnsSubdomain),
    hostNetwork: maybe(z.boolean()),
    hostname: maybe(dnsLabel),
    subdomain: maybe(dnsLabel),
    containers: z.array(container).default([]),
    initContainers: maybe(z.array(container)),
  }).default({ containers: [] }),
  status: maybe(
    open({
      phase: maybe(z.enum(['Pending', 'Running', 'Succeeded', 'Failed', 'Unknown'])),
      podIP: maybe(z.string()),
      podIPs: maybe(z.array(open({ ip: ipAddress }))),
      hostIP: maybe(z.string()),
      hostIPs: maybe(z.array(open({ ip: ipAddress }))),
      conditions: maybe(z.array(condition)),
    }),
  ),
}).meta({
  description: 'A pod: the parts of it that networking reads. The rest is kept as it is.',
});

export const node = open({
  apiVersion: z.literal('v1'),
  kind: z.literal('Node'),
  metadata: metadata(dnsSubdomain, false),
  spec: maybe(
    open({
      podCIDR: maybe(cidr),
      podCIDRs: maybe(z.array(cidr)),
      providerID: maybe(z.string()),
      unschedulable: maybe(z.boolean()),
    }),
  ),
  status: maybe(
    open({
      addresses: maybe(z.array(open({ type: z.string(), address: z.string() }))),
      allocatable: maybe(z.record(z.string(), z.union([z.string(), z.number()]))),
      conditions: maybe(z.array(condition)),
    }),
  ),
}).meta({ description: 'A node of the cluster, as Kubernetes names it.' });

export type Namespace = z.infer<typeof namespace>;
export type Pod = z.infer<typeof pod>;
export type Node = z.infer<typeof node>;
