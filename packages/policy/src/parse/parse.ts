import type { CidrGroup, Policy, PolicyKind, PolicyRef } from '../model.ts';
import { AUDIT_ANNOTATION } from '../model.ts';
import type { Refusal } from '../refusal.ts';
import { readCiliumSections } from './cilium-policy.ts';
import { Fields, type Json } from './fields.ts';
import { readNetworkPolicySection } from './network-policy.ts';
import { type ParseSettings, readPrefix } from './peers.ts';

/** Either the value or every reason against it; never a part of it. */
export type Parsed<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly refusals: readonly Refusal[] };

const API_VERSIONS: Readonly<Record<PolicyKind, string>> = {
  NetworkPolicy: 'networking.k8s.io/v1',
  CiliumNetworkPolicy: 'cilium.io/v2',
  CiliumClusterwideNetworkPolicy: 'cilium.io/v2',
};

const isPolicyKind = (kind: string): kind is PolicyKind => Object.hasOwn(API_VERSIONS, kind);

/**
 * Reads a policy as it stands in the API. Total: any value gives a policy or refusals. What cannot be
 * enforced is refused as a whole, since a policy short of one rule would allow or deny something else.
 */
export function parsePolicy(object: unknown, settings: ParseSettings): Parsed<Policy> {
  const fields = new Fields();
  const policy = readPolicy(fields, object, settings);
  return policy !== undefined && fields.refusals.length === 0
    ? { ok: true, value: policy }
    : { ok: false, refusals: fields.refusals };
}

function readPolicy(fields: Fields, value: unknown, settings: ParseSettings): Policy | undefined {
  const object = readObject(fields, value, ['spec', 'specs']);
  if (object === undefined) return undefined;
  const kind = fields.string(object.json.kind, 'kind') ?? '';
  if (!isPolicyKind(kind)) {
    const kinds = Object.keys(API_VERSIONS).join(', ');
    return fields.refuse('invalid', 'kind', `must be one of ${kinds}`, object.json.kind ?? null);
  }
  if (object.json.apiVersion !== API_VERSIONS[kind]) {
    const version = object.json.apiVersion ?? null;
    return fields.refuse('invalid', 'apiVersion', `must be ${API_VERSIONS[kind]}`, version);
  }
  const { name } = object;
  const ref: PolicyRef =
    kind === 'CiliumClusterwideNetworkPolicy'
      ? { kind, name }
      : { kind, namespace: object.namespace ?? 'default', name };
  const sections =
    kind === 'NetworkPolicy'
      ? readNetworkPolicySection(fields, object.json, ref, settings)
      : readCiliumSections(fields, object.json, ref, settings);
  const audit = object.annotations[AUDIT_ANNOTATION];
  if (audit !== undefined && audit !== 'true' && audit !== 'false') {
    // "yes" or "True" taken as false would enforce what its author meant to try.
    const at = `metadata.annotations[${AUDIT_ANNOTATION}]`;
    fields.refuse('invalid', at, 'must be "true" or "false"', audit);
  }
  return { ...ref, audit: audit === 'true', sections };
}

/** Reads a cilium.io CiliumCIDRGroup (v2 or v2alpha1). */
export function parseCidrGroup(value: unknown): Parsed<CidrGroup> {
  const fields = new Fields();
  const object = readObject(fields, value, ['spec']);
  const version = object?.json.apiVersion;
  if (object !== undefined && object.json.kind !== 'CiliumCIDRGroup') {
    fields.refuse('invalid', 'kind', 'must be CiliumCIDRGroup', object.json.kind ?? null);
  }
  if (object !== undefined && version !== 'cilium.io/v2' && version !== 'cilium.io/v2alpha1') {
    fields.refuse('invalid', 'apiVersion', 'must be cilium.io/v2 or cilium.io/v2alpha1', version);
  }
  const spec = fields.object(object?.json.spec, 'spec', ['externalCIDRs']);
  const list = fields.list(spec?.externalCIDRs, 'spec.externalCIDRs', 100_000);
  if (object !== undefined && list === undefined) {
    fields.refuse('invalid', 'spec.externalCIDRs', 'must be given');
  }
  const prefixes = (list ?? []).flatMap(
    (each, index) => readPrefix(fields, each, `spec.externalCIDRs[${index}]`, true) ?? [],
  );
  if (object === undefined || fields.refusals.length > 0) {
    return { ok: false, refusals: fields.refusals };
  }
  const { name, labels } = object;
  return { ok: true, value: { name, labels, prefixes: [...new Set(prefixes)] } };
}

interface ApiObject {
  readonly json: Json;
  readonly name: string;
  readonly namespace: string | undefined;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
}

function readObject(
  fields: Fields,
  value: unknown,
  content: readonly string[],
): ApiObject | undefined {
  const json = fields.object(value, 'object', [
    'apiVersion',
    'kind',
    'metadata',
    'status',
    ...content,
  ]);
  if (json === undefined) {
    return fields.refuse('invalid', 'object', 'must be an object', value ?? null);
  }
  const metadata = json.metadata;
  if (typeof metadata !== 'object' || metadata === null || Array.isArray(metadata)) {
    return fields.refuse('invalid', 'metadata', 'must be an object', metadata ?? null);
  }
  const meta = metadata as Json;
  const name = fields.string(meta.name, 'metadata.name');
  if (name === undefined || name === '') {
    return fields.refuse('invalid', 'metadata.name', 'must be given');
  }
  const namespace = fields.string(meta.namespace, 'metadata.namespace') || undefined;
  const labels = strings(fields, meta.labels, 'metadata.labels');
  const annotations = strings(fields, meta.annotations, 'metadata.annotations');
  return { json, name, namespace, labels, annotations };
}

function strings(fields: Fields, value: unknown, path: string): Record<string, string> {
  if (value === undefined || value === null) return {};
  if (typeof value !== 'object' || Array.isArray(value)) {
    fields.refuse('invalid', path, 'must be an object', value);
    return {};
  }
  const result: [string, string][] = [];
  for (const [key, text] of Object.entries(value)) {
    if (typeof text === 'string') result.push([key, text]);
    else fields.refuse('invalid', `${path}[${key}]`, 'must be a string', text);
  }
  return Object.fromEntries(result);
}
