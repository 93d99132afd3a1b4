import { z } from 'zod';
import { routing } from './router-schema.ts';

/**
 * The form of a lab file. What one field may hold stands here; what fields must agree on (a node's
 * rack exists, ids are unique) stands in check.ts.
 */

const placeName = z
  .string()
  .regex(
    /^[a-z0-9]([-a-z0-9]{0,30}[a-z0-9])?$/,
    'must be 1 to 32 of a-z, 0-9 and "-", no "-" at an end',
  );
const kubeName = z
  .string()
  .regex(/^[a-z0-9]([-a-z0-9.]{0,61}[a-z0-9])?$/, 'must be 1 to 63 of a-z, 0-9, "-" and "."');
const cidrText = z
  .string()
  .regex(/^[0-9a-fA-F:.]+\/[0-9]{1,3}$/, 'must be a prefix such as 10.1.0.0/16 or fd00:1::/48');
const addressText = z
  .string()
  .regex(/^[0-9a-fA-F:.]+$/, 'must be an address such as 10.1.0.5 or fd00:1::5');
const labels = z.record(z.string().min(1).max(317), z.string().max(63));
const port = z.int().min(1).max(65535);
const mtu = z.int().min(1280).max(9000);
const family = z.enum(['ipv4', 'ipv6']);
const bothPrefixes = { ipv4: cidrText.optional(), ipv6: cidrText.optional() };

/**
 * A server that a pod or outside host runs from the start. `http` answers every request with the
 * place's name, `tcp` and `udp` send back what comes; before it `tcp` says the place's name and the
 * client's address as it is seen there, `udp` the name.
 */
const serve = z.strictObject({
  port,
  type: z.enum(['http', 'tcp', 'udp']),
  /** The container port's name, for services and policies that go by name. */
  name: z
    .string()
    .regex(
      /^(?=.*[a-z])[a-z0-9]([-a-z0-9]{0,13}[a-z0-9])?$/,
      'must be 1 to 15 of a-z, 0-9 and "-" with a letter',
    )
    .optional(),
});

const rack = z.strictObject({
  name: placeName,
  ...bothPrefixes,
  mtu: mtu.default(1500),
  /**
   * Another rack that this one is cabled to, so that both are one layer 2: an access switch below an
   * aggregation switch. Prefixes and routers are the uppermost one's.
   */
  uplink: placeName.optional(),
  /** Becomes the label topology.kubernetes.io/zone of its nodes; `rack` is a label of theirs always. */
  zone: kubeName.optional(),
});

const router = z.strictObject({
  name: placeName,
  racks: z.array(placeName).max(64).default([]),
  routing: routing.default({ type: 'static' }),
});

const link = z.strictObject({
  between: z.tuple([placeName, placeName]),
  ...bothPrefixes,
  mtu: mtu.default(1500),
});

/** Left out, addresses are taken from the rack in order. */
const addresses = z
  .strictObject({ ipv4: addressText.optional(), ipv6: addressText.optional() })
  .prefault({});

const host = z.strictObject({
  name: placeName,
  rack: placeName,
  addresses,
  serve: z.array(serve).max(64).default([]),
});

const node = z.strictObject({
  name: placeName,
  rack: placeName,
  /** With `count: 4` the entry stands for name1 to name4. */
  count: z.int().min(1).max(200).optional(),
  addresses,
  labels: labels.default({}),
  /** Further keys for this node's agent, over the cluster's: `hostEndpoint` makes it a server of its own. */
  agent: z.record(z.string(), z.unknown()).default({}),
  /** Servers of the machine itself. */
  serve: z.array(serve).max(64).default([]),
});

const pod = z.strictObject({
  name: kubeName,
  namespace: kubeName.default('default'),
  /** With `count: 4` the entry stands for name-1 to name-4, as a StatefulSet's for name-0 to name-3. */
  count: z.int().min(1).max(1000).optional(),
  labels: labels.default({}),
  annotations: z.record(z.string().min(1).max(317), z.string().max(4096)).default({}),
  /**
   * The pods belong to a StatefulSet of this name, which is written too: they have ordinals, and one that
   * is moved comes again under its name.
   */
  statefulSet: z.boolean().default(false),
  /** Left out, pods go round the cluster's nodes. */
  node: placeName.optional(),
  /** `netns` is a bare namespace; `containerd` a real container through the node's own containerd. */
  runtime: z.enum(['netns', 'containerd']).default('netns'),
  serve: z.array(serve).max(64).default([]),
});

const podCIDRs = z.strictObject({
  ...bothPrefixes,
  /** Prefix lengths of the part that each node gets. */
  nodeLength: z
    .strictObject({
      ipv4: z.int().min(8).max(30).default(24),
      ipv6: z.int().min(16).max(126).default(64),
    })
    .prefault({}),
});

const cluster = z.strictObject({
  name: z
    .string()
    .regex(
      /^[a-z0-9]([-a-z0-9]{0,30}[a-z0-9])?$/,
      'must be 1 to 32 of a-z, 0-9 and "-", no "-" at an end',
    ),
  id: z.int().min(1).max(255),
  families: z.array(family).min(1).max(2).default(['ipv4', 'ipv6']),
  routing: z
    .strictObject({
      /** `hybrid`: directly between nodes of one routing zone, else by the tunnel. */
      mode: z.enum(['tunnel', 'native', 'hybrid']).default('tunnel'),
      underlayFamily: family.default('ipv4'),
      tunnelPort: port.default(8472),
      /**
       * With mode native: nodes run the BFD daemon and the speaker beside the agent and announce their
       * pod CIDRs by BGP, as the cluster's CiliumBGP... manifests say; nobody is told routes by the plan.
       */
      bgp: z.boolean().default(false),
    })
    .prefault({}),
  podCIDRs: podCIDRs.prefault({}),
  /**
   * `static`: the plan gives every node its part of `podCIDRs`. `pools`: nodes come without any, and the
   * operators give them CIDRs of the cluster's CiliumPodIPPools, which lie inside `podCIDRs`.
   */
  ipam: z.enum(['static', 'pools']).default('static'),
  /** Instances of `causeway operator`, each on a machine of its own beside the store; one leads. */
  operators: z.int().min(0).max(3).default(0),
  serviceCIDRs: z.array(cidrText).max(2).default([]),
  masquerade: z
    .strictObject({
      enabled: z.boolean().default(true),
      exceptions: z.array(cidrText).max(64).default([]),
    })
    .prefault({}),
  socketLB: z
    .strictObject({ enabled: z.boolean().default(true), pods: z.boolean().default(true) })
    .prefault({}),
  /** The rack on which the cluster's etcd and operators stand; the first node's if left out. */
  etcd: z
    .strictObject({
      rack: placeName.optional(),
      /**
       * With a mesh: peers reach the store through `etcd grpc-proxy`, one process for each peer, so that all of its
       * nodes cost the store one watch.
       */
      proxy: z.boolean().default(false),
    })
    .prefault({}),
  /**
   * With it the cluster has no nodes: it is an inventory of what stands outside of every cluster, and these are
   * the instances of `causeway inventory`, each on a machine of its own beside the store.
   */
  inventory: z
    .strictObject({
      instances: z.int().min(1).max(3).default(1),
      /** Files for them, relative to the lab file; they find them in /run/causeway/inventory. */
      files: z.array(z.string().min(1)).max(100).default([]),
      /** Further keys for their configuration, passed on as they stand. */
      config: z.record(z.string(), z.unknown()).default({}),
    })
    .optional(),
  namespaces: z
    .array(z.strictObject({ name: kubeName, labels: labels.default({}) }))
    .max(1000)
    .default([]),
  nodes: z.array(node).max(200).default([]),
  pods: z.array(pod).max(1000).default([]),
  /** Files or directories of manifests, relative to the lab file; Pods in them are started too. */
  manifests: z.array(z.string().min(1)).max(100).default([]),
  /** Further keys for the operators' configuration, passed on as they stand. */
  operator: z.record(z.string(), z.unknown()).default({}),
  /** Further keys for the agents' configuration (map sizes and the like), passed on as they stand. */
  agent: z.record(z.string(), z.unknown()).default({}),
});

/**
 * Which clusters of the lab read each other. With it every store speaks TLS, takes client certificates and has
 * users with rights of their own; an inventory is read and reads nobody.
 */
const mesh = z.strictObject({
  /** `files`: the lab writes Cilium's file for every peer onto the nodes; `token`: `causeway mesh token` and `join`. */
  by: z.enum(['files', 'token']).default('files'),
  /** Pairs by name; left out, everybody reads everybody. */
  pairs: z
    .array(z.tuple([placeName, placeName]))
    .max(120)
    .optional(),
});

export const labFileSchema = z.strictObject({
  description: z.string().max(2000).default(''),
  racks: z.array(rack).min(1).max(64),
  routers: z.array(router).max(64).default([]),
  links: z.array(link).max(256).default([]),
  hosts: z.array(host).max(64).default([]),
  clusters: z.array(cluster).min(1).max(16),
  mesh: mesh.optional(),
});

export type LabFile = z.infer<typeof labFileSchema>;
export type LabCluster = LabFile['clusters'][number];
export type LabRack = LabFile['racks'][number];
export type LabPod = LabCluster['pods'][number];
export type Serve = z.infer<typeof serve>;
