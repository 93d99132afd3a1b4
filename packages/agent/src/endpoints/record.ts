import type { RecordKind } from '@causeway/daemon';
import { Address, Mac } from '@causeway/ip';
import { z } from 'zod';

/**
 * How far an attachment got. Written before the step is taken, so that after a crash the record
 * names everything that may exist:
 *
 *     allocated   addresses are reserved; interface, pins and map rows may or may not be there
 *     ready       the caller was told of success
 *     deleting    the caller asked for removal; anything may be gone already
 */
export const STEPS = ['allocated', 'ready', 'deleting'] as const;
export type Step = (typeof STEPS)[number];

const address = z.custom<Address>((value) => typeof value === 'string' && Address.is(value));
const mac = z.custom<Mac>((value) => typeof value === 'string' && Mac.is(value));
const addresses = z.strictObject({ ipv4: address.optional(), ipv6: address.optional() });

const schema = z.strictObject({
  id: z.int().min(1).max(65535),
  step: z.enum(STEPS),
  containerId: z.string(),
  ifname: z.string(),
  hostIfname: z.string(),
  /** 0 until the interface exists. */
  hostIfindex: z.int().min(0),
  netns: z.string(),
  /** Device and inode of the namespace, decimal: paths and pids are used again, the pair is not while it lives. */
  netnsIdentity: z.string(),
  addresses,
  gateways: addresses,
  mac,
  hostMac: mac,
  mtu: z.int(),
  /** The host side belongs to another plugin: we take our programs off it, but leave it. */
  chained: z.boolean(),
  podNamespace: z.string().optional(),
  podName: z.string().optional(),
  podUid: z.string().optional(),
  /** Labels that the caller of ADD gave. */
  callerLabels: z.record(z.string(), z.string()),
  /** The last known security labels and their number: in force until the store says otherwise. */
  labels: z.string(),
  identity: z.int().min(0).max(0xffff_ffff),
  namedPorts: z.array(z.strictObject({ name: z.string(), port: z.int(), protocol: z.int() })),
  policyAudit: z.boolean(),
  /** Ready, and silent: another endpoint has its addresses until the hand-over. */
  standby: z.boolean().optional(),
  /** Why nothing of it passes, although its pod runs: another has its addresses. */
  stopped: z.string().optional(),
});

/** What the run directory keeps of an endpoint. */
export type EndpointRecord = z.infer<typeof schema>;

export const endpointRecord: RecordKind<EndpointRecord> = {
  format: 'causeway-endpoint',
  version: 1,
  parse: (payload) => schema.parse(payload),
};

export const attachmentKey = (of: { containerId: string; ifname: string }): string =>
  `${of.containerId}/${of.ifname}`;

/** Whether packets are its; a silent endpoint has none, nor has one that was stopped. */
export const inForce = ({ standby, stopped }: EndpointRecord): boolean =>
  standby !== true && stopped === undefined;
