import { absolutePath, etcdSettings, maxConnectedClusters } from '@causeway/daemon/fields';
import { Address, Prefix } from '@causeway/ip';
import { z } from 'zod';

/** Fields whose text is checked by our own parsers, so that one place says what an address is. */
const address = z.string().transform((text, context) => {
  const parsed = Address.tryParse(text);
  if (parsed !== undefined) return parsed;
  context.addIssue({
    code: 'custom',
    message: 'must be an IPv4 or IPv6 address such as 192.0.2.1 or 2001:db8::1',
  });
  return z.NEVER;
});

const cidr = z.string().transform((text, context) => {
  try {
    return Prefix.parse(text);
  } catch (error) {
    context.addIssue({
      code: 'custom',
      message: `must be a CIDR such as 10.0.0.0/8: ${(error as Error).message}`,
    });
    return z.NEVER;
  }
});

/** Labels of the node's own endpoint, here and at the API. */
export const hostLabels = z
  .record(z.string().min(1).max(317), z.string().max(63))
  .refine((labels) => Object.keys(labels).length <= 64, 'must not be more than 64 labels');

const cidrs = z.array(cidr).max(4096);
const port = z.int().min(1).max(65_535);
const interfaceName = z
  .string()
  .regex(
    /^(?!\.{1,2}$)[^/:\s\0]{1,15}\*?$/,
    'must be an interface name of 1 to 15 characters, with a final * for all that start so',
  );
// Cilium 1.19's rule for cluster names (clustermesh-kvstore.md, section 1.1).
const clusterName = z
  .string()
  .max(32)
  .regex(/^([a-z0-9][-a-z0-9]*)?[a-z0-9]$/, 'must be lower-case letters, digits and dashes');
const nodeName = z
  .string()
  .max(253)
  .regex(/^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$/, 'must be lower-case letters, digits, dashes and dots');
const entries = (fallback: number, max = 16_777_216) => z.int().min(16).max(max).default(fallback);

export const FAMILIES = ['ipv4', 'ipv6'] as const;

export const RUN_DIRECTORY = '/run/causeway';

/** Everything that a node's configuration file can say; the comments are its documentation. */
export const configSchema = z.strictObject({
  cluster: z
    .strictObject({
      name: clusterName.default('default'),
      /** 0: takes part in no mesh. */
      id: z.int().min(0).max(511).default(0),
      maxConnectedClusters,
    })
    .prefault({}),
  node: z
    .strictObject({
      /** Name of the node's CiliumNode resource. Default: the host's name in lower case. */
      name: nodeName.optional(),
      /** Addresses by which other nodes reach this one. Default: those of its resource, else of the devices. */
      addresses: z.array(address).max(64).default([]),
    })
    .prefault({}),
  etcd: etcdSettings,
  /** Other clusters; taken part in only with a cluster id. */
  mesh: z
    .strictObject({
      /** One file for each peer in Cilium's form, beside the MeshPeer objects of the store. */
      configDir: absolutePath.default('/var/lib/cilium/clustermesh'),
      /** `cache`: peers are read from the copy that the operator keeps of them in the own store. */
      access: z.enum(['direct', 'cache']).default('direct'),
      /** For so long what a peer out of reach said last stays in force. */
      graceSeconds: z.int().min(1).max(604_800).default(900),
      /** Over so long its services' backends are then withdrawn; everything else of it follows. */
      withdrawSeconds: z.int().min(0).max(86_400).default(60),
      /** For so long a start waits for peers before it takes what they do not say for gone. */
      syncTimeoutSeconds: z.int().min(0).max(3600).default(60),
      /** What peers said last, on the own disk: a start while one is out of reach goes on with it. */
      keep: z
        .strictObject({
          enabled: z.boolean().default(true),
          /** Default: `peers` in stateDir; about 150 bytes an entry. */
          directory: absolutePath.optional(),
        })
        .prefault({}),
    })
    .prefault({}),
  /**
   * How pods of other nodes are reached, of this cluster and of others. `hybrid`: directly where both nodes have the
   * same label causeway.io/routing-zone or, without it, share a layer 2; by tunnel otherwise.
   */
  routingMode: z.enum(['tunnel', 'native', 'hybrid']).default('tunnel'),
  tunnel: z
    .strictObject({
      port: z.int().min(1).max(65535).default(8472),
      underlayFamily: z.enum(FAMILIES).default('ipv4'),
    })
    .prefault({}),
  families: z
    .array(z.enum(FAMILIES))
    .min(1)
    .max(2)
    .refine((list) => new Set(list).size === list.length, 'must not name a family twice')
    .default(['ipv4', 'ipv6']),
  ipam: z
    .strictObject({
      /** How long a released address rests: longer than connections and caches that still know it as the old pod's. */
      quarantineSeconds: z.int().min(1).max(86_400).default(30),
    })
    .prefault({}),
  nativeRouting: z
    .strictObject({
      /**
       * Who knows the direct way to other nodes' pods, with routingMode native or hybrid. `l2`: this node, by a route for each
       * CIDR of each node on its networks. `bgp`: the network, which nodes announce their CIDRs to; the default
       * route leads there, and the node's routes do not grow with the cluster.
       */
      mode: z.enum(['l2', 'bgp']).default('l2'),
    })
    .prefault({}),
  /** What the store's kinds about BGP say of this node is carried out by `causeway speaker`. */
  bgp: z
    .strictObject({
      enabled: z.boolean().default(true),
      /** The speaker's API. Default: speaker.sock in the run directory. */
      socket: absolutePath.optional(),
      /** Where Secrets with passwords of sessions are looked for. */
      secretsNamespace: nodeName.default('kube-system'),
    })
    .prefault({}),
  /** Ranges whose addresses the network carries as they are; never masqueraded. */
  nativeRoutingCIDRs: cidrs.default([]),
  masquerade: z
    .strictObject({
      enabled: z.boolean().default(true),
      exceptions: cidrs.default([]),
      /** First and last source port for masqueraded flows; reserved from the node's own sockets. */
      ports: z
        .tuple([z.int().min(1024).max(65535), z.int().min(1024).max(65535)])
        .refine(([first, last]) => last - first >= 255, 'must span at least 256 ports')
        .default([49152, 65535]),
    })
    .prefault({}),
  /** Devices that carry traffic to other nodes and the world. Empty: those with the node's addresses or a default route. */
  devices: z.array(interfaceName).max(64).default([]),
  /** MTU of the network between nodes. Default: the least of the devices'. */
  mtu: z.int().min(1280).max(65535).optional(),
  socketLB: z
    .strictObject({ enabled: z.boolean().default(true), pods: z.boolean().default(true) })
    .prefault({}),
  /** Ranges of service addresses; pods of services outside them work all the same. */
  serviceCIDRs: cidrs.default([]),
  loadBalancing: z
    .strictObject({
      /** Of ClusterIPs; what is reached from outside is always spread by maglev. */
      algorithm: z.enum(['random', 'maglev']).default('random'),
      /**
       * How packets from outside go on to backends on other nodes. `snat`: as this node's own, and the answers come
       * back by it. `dsr`: with the client's address, and the backend's node answers directly; the network must carry
       * an IPv4 option and an IPv6 destination option between nodes, or the tunnel carries them. `hybrid`: dsr for
       * TCP. A Service's annotation service.cilium.io/forwarding-mode goes before it.
       */
      mode: z.enum(['snat', 'dsr', 'hybrid']).default('snat'),
      /** ClusterIPs answer clients outside of the cluster too, if the network brings these here. */
      externalClusterIPs: z.boolean().default(false),
      /**
       * Where edge nodes (label causeway.io/edge) take DSR services: `native` and `generic` are XDP's modes, `auto`
       * the first that the driver is good for, `off` leaves all to tc.
       */
      edgeXDP: z.enum(['auto', 'native', 'generic', 'off']).default('auto'),
    })
    .prefault({}),
  /**
   * Whether CiliumEgressGatewayPolicies are carried out. Pods reach their gateway by the tunnel device, which
   * routingMode native has only for this. Default: with routingMode tunnel or hybrid.
   */
  egressGateway: z.strictObject({ enabled: z.boolean().optional() }).prefault({}),
  policy: z
    .strictObject({
      /** `default`: a direction is enforced once a policy selects the pod; `always`; `never`. */
      enforcement: z.enum(['default', 'always', 'never']).default('default'),
      /** Whether the node itself reaches its own pods whatever the policy: kubelet's probes. */
      allowLocalhost: z.enum(['always', 'policy']).default('always'),
      /** Selectors that name no cluster match the own cluster only. */
      defaultLocalCluster: z.boolean().default(true),
      /** Every verdict is only reported. */
      auditAll: z.boolean().default(false),
    })
    .prefault({}),
  /**
   * The node itself as an endpoint with labels: policies that select them are in force for what it sends and is sent
   * by its network devices, and others know it by them. For a machine whose only workload is itself, too.
   */
  hostEndpoint: z
    .strictObject({
      enabled: z.boolean().default(false),
      /** As a pod's; other nodes and clusters select it by them. */
      labels: hostLabels.default({}),
      /** Namespace whose policies take it for one of their pods. */
      namespace: z
        .string()
        .max(63)
        .regex(/^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/, 'must be the name of a namespace')
        .default('default'),
      /** What would be dropped is only told of, until somebody has looked at that and says false. */
      audit: z.boolean().default(true),
      /** TCP ports of Kubernetes API servers, here and elsewhere, which no policy cuts off. */
      apiServerPorts: z.array(port).max(16).default([6443]),
      /** What else no policy cuts off. */
      lifelines: z
        .array(
          z.strictObject({
            direction: z.enum(['ingress', 'egress']),
            protocol: z.enum(['TCP', 'UDP']),
            port,
            /** The other end; any without it. */
            address: address.optional(),
          }),
        )
        .max(256)
        .default([]),
    })
    .prefault({}),
  runDir: absolutePath.default(RUN_DIRECTORY),
  /**
   * On a disk: what is to outlive a reboot, the peers' last state and what was said of the host endpoint by hand.
   * Default: /var/lib/causeway; where runDir is not its own default, `state` in it, for two agents must not share one.
   */
  stateDir: absolutePath.optional(),
  bpffs: absolutePath.default('/sys/fs/bpf/causeway'),
  /** Root of the cgroup v2 tree whose sockets are load balanced. Default: found in /proc/mounts. */
  cgroup: absolutePath.optional(),
  limits: z
    .strictObject({
      endpoints: entries(4096, 65_535),
      /** Ways of pods to egress gateways: pods by destinations. */
      egressRoutes: entries(65_536),
      ipcache: entries(512_000),
      conntrack: entries(262_144),
      nat: entries(131_072),
      policy: entries(262_144),
      services: entries(65_536),
      backends: entries(262_144),
      /** Rows of 64 backends each to choose from: one or more a service, twice that while it changes. */
      serviceSlots: entries(131_072),
      /** Lines that wait for one slow reader of the monitor before the oldest are lost. */
      monitorBuffer: entries(4096, 65_536),
      monitorClients: z.int().min(1).max(64).default(8),
      requestBytes: z.int().min(4096).max(67_108_864).default(4_194_304),
      requestSeconds: z.int().min(1).max(600).default(60),
    })
    .prefault({}),
  log: z
    .strictObject({
      level: z.enum(['trace', 'debug', 'info', 'warn', 'error', 'silent']).default('info'),
    })
    .prefault({}),
  /** Pretends that the kernel lacks these features, to see what the agent says then. */
  simulate: z
    .strictObject({ missingFeatures: z.array(z.string().max(64)).max(32).default([]) })
    .prefault({}),
});

export type ConfigInput = z.input<typeof configSchema>;
export type ParsedConfig = z.output<typeof configSchema>;
export type AgentConfig = Omit<ParsedConfig, 'node' | 'stateDir'> & {
  readonly stateDir: string;
  readonly node: ParsedConfig['node'] & { readonly name: string };
};
