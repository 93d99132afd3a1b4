import { Address, Prefix } from '@causeway/ip';
import * as z from 'zod';
import { closed, maybe, open, text } from './build.ts';

const LABEL = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/;
const SUBDOMAIN = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;
const QUALIFIED = /^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$/;

/** RFC 1123 label: names of namespaces. */
export const isDnsLabel = (value: string): boolean => value.length <= 63 && LABEL.test(value);
/** RFC 1123 subdomain: names of most kinds. */
export const isDnsSubdomain = (value: string): boolean =>
  value.length <= 253 && SUBDOMAIN.test(value);
/** RFC 1035 label: names of Services, which become host names. */
export const isDns1035Label = (value: string): boolean => isDnsLabel(value) && /^[a-z]/.test(value);
export const isLabelValue = (value: string): boolean =>
  value === '' || (value.length <= 63 && QUALIFIED.test(value));

/** Kubernetes' qualified name: `[prefix/]name`. */
export function isLabelKey(value: string): boolean {
  const slash = value.indexOf('/');
  const name = value.slice(slash + 1);
  if (slash >= 0 && !isDnsSubdomain(value.slice(0, slash))) return false;
  return name.length <= 63 && QUALIFIED.test(name);
}

/** RFC 6335 service name, as Kubernetes takes it for named target ports. */
export const isPortName = (value: string): boolean =>
  value.length <= 15 &&
  /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/.test(value) &&
  /[a-z]/.test(value) &&
  !value.includes('--');

const LABEL_KEY_RULE =
  'a label key: [DNS prefix/]name, the name of 1 to 63 letters, digits, "-", "_" or "." with a letter or digit at both ends';
const LABEL_VALUE_RULE =
  'a label value: at most 63 letters, digits, "-", "_" or "." with a letter or digit at both ends';

export const dnsLabel = text(
  isDnsLabel,
  'a DNS label: 1 to 63 of a-z, 0-9 and "-", no "-" at the ends',
);
export const dnsSubdomain = text(
  isDnsSubdomain,
  'a DNS subdomain: 1 to 253 of a-z, 0-9, "-" and ".", parts with a letter or digit at both ends',
);
export const dns1035Label = text(
  isDns1035Label,
  'a DNS-1035 label: 1 to 63 of a-z, 0-9 and "-", beginning with a letter and not ending with "-"',
);
export const labelKey = text(isLabelKey, LABEL_KEY_RULE);
export const labelValue = text(isLabelValue, LABEL_VALUE_RULE);
export const portName = text(
  isPortName,
  'a port name: 1 to 15 of a-z, 0-9 and "-" with at least one letter, no "--" and no "-" at the ends',
);
export const port = z
  .int({ error: 'must be a port number, 1 to 65535' })
  .min(1, 'must be a port number, 1 to 65535')
  .max(65535, 'must be a port number, 1 to 65535');
export const protocol = z.enum(['TCP', 'UDP', 'SCTP']);
export const ipAddress = text(
  (value) => Address.tryParse(value) !== undefined,
  'an IP address such as 10.0.0.1 or fd00::1',
);
/** Host bits are taken and mean nothing, as in Kubernetes and Cilium. */
export const cidr = text(
  (value) => Prefix.tryParse(value, { hostBits: 'clear' }) !== undefined,
  'a CIDR such as 10.0.0.0/8 or fd00::/48',
);
export const ipOrCidr = text(
  (value) =>
    Address.tryParse(value) !== undefined ||
    Prefix.tryParse(value, { hostBits: 'clear' }) !== undefined,
  'an IP address or a CIDR such as 10.0.0.0/8',
);

export const labels = z.record(labelKey, labelValue);

const ANNOTATION_BYTES = 256 * 1024;
export const annotations = z
  .record(labelKey, z.string())
  .refine(
    (all) =>
      Object.entries(all).reduce((sum, [k, v]) => sum + k.length + v.length, 0) <= ANNOTATION_BYTES,
    { message: 'must be at most 256 KiB together' },
  );

/** `metadata` of every kind. What the store sets is ignored in manifests, except resourceVersion. */
export function metadata(name: z.ZodString, namespaced: boolean) {
  return open({
    name,
    ...(namespaced ? { namespace: maybe(dnsLabel) } : {}),
    labels: maybe(labels),
    annotations: maybe(annotations),
    uid: maybe(z.string()),
    resourceVersion: maybe(z.string()),
    generation: maybe(z.int()),
    creationTimestamp: maybe(z.string()),
    deletionTimestamp: maybe(z.string()),
    ownerReferences: maybe(
      z
        .array(
          open({
            apiVersion: maybe(z.string()),
            kind: maybe(z.string()),
            name: maybe(z.string()),
            uid: maybe(z.string()),
            controller: maybe(z.boolean()),
          }),
        )
        .max(64),
    ),
  }) as z.ZodType<ObjectMeta>;
}

/** What every object says of itself. */
export interface ObjectMeta {
  name: string;
  namespace?: string;
  labels?: Record<string, string>;
  annotations?: Record<string, string>;
  /** Set by the store: a UUID. */
  uid?: string;
  /** Set by the store: etcd's modification revision. */
  resourceVersion?: string;
  /** Set by the store: grows with every change of spec. */
  generation?: number;
  /** Set by the store: RFC 3339. */
  creationTimestamp?: string;
  deletionTimestamp?: string;
  ownerReferences?: OwnerReference[];
}

/** Who made an object; the controller is the one whose word counts. */
export interface OwnerReference {
  apiVersion?: string;
  kind?: string;
  name?: string;
  uid?: string;
  controller?: boolean;
}

/** A selector; `key` and `value` differ between Kubernetes and Cilium. */
export function labelSelector(key: z.ZodString, value: z.ZodString) {
  return closed({
    matchLabels: maybe(z.record(key, value)),
    matchExpressions: maybe(
      z.array(
        closed({
          key,
          operator: z.enum(['In', 'NotIn', 'Exists', 'DoesNotExist']),
          values: maybe(z.array(value)),
        }).superRefine((expression, context) => {
          const needs = expression.operator === 'In' || expression.operator === 'NotIn';
          const count = expression.values?.length ?? 0;
          if (needs === count > 0) return;
          context.addIssue({
            code: 'custom',
            path: ['values'],
            input: expression.values,
            message: `must ${needs ? 'not be empty' : 'be absent'} with operator ${expression.operator}`,
          });
        }),
      ),
    ),
  });
}

export const k8sSelector = labelSelector(labelKey, labelValue).meta({
  description: 'Kubernetes label selector; an empty one selects everything.',
});

/** Cilium's keys may name a source: `k8s:app`, `any:app`, `reserved:host`. */
export const ciliumSelector = labelSelector(
  text((value) => {
    const colon = value.indexOf(':');
    if (colon === 0) return false;
    return colon < 0 ? isLabelKey(value) : isLabelKey(value.slice(colon + 1));
  }, `${LABEL_KEY_RULE}, with an optional source in front (k8s:app)`),
  labelValue,
).meta({ description: 'Cilium endpoint selector; an empty one selects everything in scope.' });
