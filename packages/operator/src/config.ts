import { hostname } from 'node:os';
import { LOG_LEVELS } from '@causeway/daemon';
import {
  absolutePath,
  electionSettings,
  etcdSettings,
  maxConnectedClusters,
} from '@causeway/daemon/fields';
import { Address, Prefix } from '@causeway/ip';
import { z } from 'zod';

const seconds = (least: number, most: number) => z.int().min(least).max(most);
const address = z.string().refine((text) => Address.tryParse(text) !== undefined, {
  error: 'an IPv4 or IPv6 address',
});

const prefix = z.string().refine(isPrefix, {
  error: 'a prefix such as 192.0.2.0/24, or an address',
});

function isPrefix(text: string): boolean {
  try {
    Prefix.parseLoose(text);
    return true;
  } catch {
    return false;
  }
}

/** The operator's configuration file. */
export const operatorConfig = z.strictObject({
  cluster: z
    .strictObject({
      name: z
        .string()
        .max(32)
        .regex(/^([a-z0-9][-a-z0-9]*)?[a-z0-9]$/, 'must be lower-case letters, digits and dashes')
        .default('default'),
      /** 0: takes part in no mesh. */
      id: z.int().min(0).max(511).default(0),
      maxConnectedClusters,
    })
    .prefault({}),
  /** What this instance is called where the leader is told; the host's name if absent. */
  name: z.string().min(1).max(253).default(hostname().toLowerCase()),
  etcd: etcdSettings,
  /** Holds the API's socket and what an operator remembers of its store. */
  runDir: absolutePath.default('/run/causeway'),
  /** The API's questions, but no commands, also over TCP and without authentication: for a management network. */
  http: z.strictObject({ address, port: z.int().min(0).max(65_535) }).optional(),
  election: electionSettings,
  podCidrs: z
    .strictObject({
      /** For so long the CIDRs of a node whose CiliumNode was deleted stay its own. */
      nodeGoneSeconds: seconds(0, 86_400).default(30),
      /** For so long nothing new is given of a store that came back emptied: its nodes have yet to say what they hold. */
      emptiedGraceSeconds: seconds(0, 3600).default(30),
    })
    .prefault({}),
  claims: z
    .strictObject({
      /** How often claims without an owner's word are held against the pods. */
      checkSeconds: seconds(1, 3600).default(30),
    })
    .prefault({}),
  identities: z
    .strictObject({
      /** How often unused identities are looked for; one is removed when two rounds in a row found it unused. */
      collectSeconds: seconds(1, 86_400).default(300),
    })
    .prefault({}),
  loadBalancer: z
    .strictObject({
      /** Whether Services of type LoadBalancer without a loadBalancerClass are ours. */
      classless: z.boolean().default(true),
      /** Addresses that may never be VIPs, beside those of nodes, pods and services: the API server's, a router's. */
      reserved: z
        .array(z.strictObject({ cidr: prefix, owner: z.string().min(1) }))
        .max(1024)
        .default([]),
    })
    .prefault({}),
  bgp: z
    .strictObject({
      /** Where Secrets with passwords of sessions are; the agents' setting of this name. */
      secretsNamespace: z.string().min(1).max(63).default('kube-system'),
    })
    .prefault({}),
  /** Other clusters; taken part in only with a cluster id. */
  mesh: z
    .strictObject({
      /** Whether other clusters are told of the services that are global and shared. */
      exportServices: z.boolean().default(true),
      cache: z
        .strictObject({
          /** Whether the leader keeps a copy of every peer in the own store, for agents with `mesh.access: cache`. */
          enabled: z.boolean().default(false),
          /** One file for each peer in Cilium's form, beside the MeshPeer objects of the store. */
          configDir: absolutePath.default('/var/lib/cilium/kvstoremesh'),
          /** As the agents' settings of these names: a copy ages as what is read directly. */
          graceSeconds: seconds(1, 604_800).default(900),
          withdrawSeconds: seconds(0, 86_400).default(60),
        })
        .prefault({}),
      /** Where other clusters' `causeway mesh join` finds this one; absent: clusters join by hand. */
      join: z
        .strictObject({
          address: address.default('::'),
          port: z.int().min(0).max(65_535).default(9443),
          /** `https://HOST:PORT` by which others reach all instances' endpoints; told to a peer when it joins. */
          advertise: z
            .array(z.url({ protocol: /^https$/, error: 'must be an https URL' }))
            .max(16)
            .default([]),
          /** PEM files, as `causeway mesh expose` writes them. */
          certFile: absolutePath.default('/etc/causeway/mesh/server.crt'),
          keyFile: absolutePath.default('/etc/causeway/mesh/server.key'),
          /** Who has signed the certificates by which peers say that they leave. */
          caFile: absolutePath.default('/etc/causeway/mesh/trust.crt'),
          /** Which of them count no more; read whenever a peer says that it leaves. */
          revokedFile: absolutePath.default('/etc/causeway/mesh/revoked.pem'),
          /**
           * The store's user `root`, by which the leader takes a leaving peer's user away. Without it the user stays
           * until `causeway mesh expose` or `leave` is run.
           */
          root: z.strictObject({ certFile: absolutePath, keyFile: absolutePath }).optional(),
          /**
           * The directory of `causeway mesh expose`, authority's key and all: with it and `root` what came with an
           * invitation that nobody took, and certificates of who left or renewed, are revoked within seconds. Without it the
           * next `causeway mesh` command does that.
           */
          pki: absolutePath.optional(),
        })
        .optional(),
    })
    .prefault({}),
  log: z.enum(LOG_LEVELS).default('info'),
});

export type OperatorConfig = z.infer<typeof operatorConfig>;
