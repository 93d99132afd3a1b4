import { z } from 'zod';

// An interface name as the kernel takes it (dev_valid_name): 1 to 15 bytes, no '/', ':' or space,
// neither "." nor "..".
const interfaceName = z
  .string()
  .regex(
    /^(?!\.{1,2}$)[^/:\s\0]{1,15}$/,
    'an interface name: 1 to 15 characters without "/", ":" or spaces',
  );

// The CNI specification (1.1, "Parameters"): starts with an alphanumeric, then alphanumerics, '_',
// '.' and '-'. Runtimes use 64 hex digits; 200 keeps it inside a file name and a link's alias.
const containerId = z
  .string()
  .regex(
    /^[A-Za-z0-9][A-Za-z0-9_.-]{0,199}$/,
    'a container id: 1 to 200 of [A-Za-z0-9_.-], starting alphanumeric',
  );

const path = z
  .string()
  .max(4096)
  .regex(/^\/[^\0]*$/, 'an absolute path');

const kubernetesName = z
  .string()
  .regex(/^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$/, 'a Kubernetes object name');

const labels = z
  .record(z.string().min(1).max(317), z.string().max(63))
  .refine((value) => Object.keys(value).length <= 256, 'at most 256 labels');

export const attachment = z.strictObject({ containerId, ifname: interfaceName });

export const attachBody = z.strictObject({
  containerId,
  ifname: interfaceName,
  netns: path,
  podNamespace: kubernetesName.optional(),
  podName: kubernetesName.optional(),
  podUid: z.string().max(128).optional(),
  labels: labels.optional(),
  cniVersion: z.string().max(32).optional(),
  mtu: z.int().min(1280).max(65535).optional(),
  chained: z
    .strictObject({
      hostIfname: interfaceName,
      addresses: z.strictObject({
        ipv4: z.string().max(64).optional(),
        ipv6: z.string().max(64).optional(),
      }),
    })
    .optional(),
});

export const gcBody = z.strictObject({ validAttachments: z.array(attachment).max(100_000) });

export const patchBody = z.strictObject({ policyAudit: z.boolean().optional() });

/** An end of a traced flow: an endpoint id, `namespace/pod`, an address, an entity or labels. */
const flowEnd = z.union([
  z.string().min(1).max(512),
  z.strictObject({
    endpoint: z.int().min(1).max(65535).optional(),
    pod: z.string().max(512).optional(),
    address: z.string().max(64).optional(),
    identity: z.int().min(0).max(0xffff_ffff).optional(),
    labels: z.array(z.string().max(400)).max(256).optional(),
  }),
]);

export const traceBody = z.strictObject({
  from: flowEnd,
  to: flowEnd,
  port: z.int().min(0).max(65535).optional(),
  protocol: z.string().max(16).optional(),
});
export type TraceBody = z.infer<typeof traceBody>;
export type FlowEnd = z.infer<typeof flowEnd>;

export const whatIfBody = z.strictObject({ manifests: z.array(z.unknown()).min(1).max(1000) });

export const meshWhyQuery = z.strictObject({ what: z.string().min(1).max(253) });
