import {
  type CompiledSelector,
  intersectSelectors,
  LABEL_KEYS,
  LABEL_SOURCES,
  type Requirement,
  selectorNamesKey,
  selectorOf,
} from '@causeway/identity';
import { Prefix } from '@causeway/ip';
import type { Peer } from '../model.ts';
import { isRemoteNode } from '../node-peers.ts';
import { type Fields, present } from './fields.ts';
import { compileRaw, type RawSelector, readSelector } from './selector.ts';

/** What decides how selectors are read. */
export interface ParseSettings {
  /** This cluster's name. */
  readonly cluster: string;
  /**
   * `local`: a selector that names no cluster selects this one only, Cilium 1.19's
   * `policy-default-local-cluster`. `any`: it selects all clusters, as up to 1.18.
   */
  readonly defaultCluster: 'local' | 'any';
}

const is = (source: string, key: string, value: string): Requirement => ({
  type: 'in',
  source,
  key,
  values: new Set([value]),
});

export const namespaceIs = (namespace: string): CompiledSelector =>
  selectorOf([is(LABEL_SOURCES.k8s, LABEL_KEYS.podNamespace, namespace)]);

export const inSomeNamespace: CompiledSelector = selectorOf([
  { type: 'exists', source: LABEL_SOURCES.k8s, key: LABEL_KEYS.podNamespace },
]);

const clusterIs = (cluster: string): CompiledSelector =>
  selectorOf([is(LABEL_SOURCES.k8s, LABEL_KEYS.cluster, cluster)]);

export const reserved = (name: string): CompiledSelector =>
  selectorOf([is(LABEL_SOURCES.reserved, name, '')]);

/** Adds "of this cluster" to a selector that names no cluster, where the settings ask for it. */
export function scopedToCluster(
  selector: CompiledSelector,
  settings: ParseSettings,
): CompiledSelector {
  if (settings.defaultCluster === 'any' || selectorNamesKey(selector, LABEL_KEYS.cluster)) {
    return selector;
  }
  return intersectSelectors(selector, clusterIs(settings.cluster));
}

/**
 * A member of fromEndpoints or toEndpoints. Without a namespace of its own it means the policy's
 * namespace, in a clusterwide policy any namespace; one that selects reserved labels is left alone.
 */
export function endpointPeer(
  fields: Fields,
  value: unknown,
  path: string,
  context: {
    readonly settings: ParseSettings;
    readonly namespace?: string;
    readonly forInit: boolean;
  },
): Peer | undefined {
  const raw = readSelector(fields, value, path);
  if (raw === undefined) {
    return present(value) ? undefined : fields.refuse('invalid', path, 'must be a selector', value);
  }
  const selector = compileRaw(fields, raw, path, 'cilium');
  if (selector === undefined) return undefined;
  if (raw.keys.some((key) => key.startsWith(`${LABEL_SOURCES.reserved}:`))) return labels(selector);
  let scoped = selector;
  if (!selectorNamesKey(selector, LABEL_KEYS.podNamespace)) {
    if (context.namespace === undefined) {
      // Pods that start have no labels yet, hence no namespace either.
      if (!context.forInit) scoped = intersectSelectors(selector, inSomeNamespace);
    } else if (!namesNamespaceLabels(selector)) {
      scoped = intersectSelectors(selector, namespaceIs(context.namespace));
    }
  }
  return labels(scopedToCluster(scoped, context.settings));
}

/**
 * A member of fromNodes or toNodes: other nodes, by the labels of their Node. Of this cluster, where it names none
 * and the settings ask for that.
 */
export function nodePeer(
  fields: Fields,
  value: unknown,
  path: string,
  settings: ParseSettings,
): Peer | undefined {
  const raw = readSelector(fields, value, path);
  if (raw === undefined) {
    return present(value) ? undefined : fields.refuse('invalid', path, 'must be a selector', value);
  }
  const selector = compileRaw(fields, raw, path, 'cilium-nodes');
  if (selector === undefined) return undefined;
  const nodes = intersectSelectors(selector, isRemoteNode);
  return { type: 'nodes', selector: scopedToCluster(nodes, settings) };
}

const labels = (selector: CompiledSelector): Peer =>
  selector.wildcard ? { type: 'any' } : { type: 'labels', selector };

const namesNamespaceLabels = (selector: CompiledSelector): boolean =>
  selector.requirements.some((each) => each.key.startsWith(LABEL_KEYS.namespaceLabelPrefix));

/** Entities that are one reserved label each. */
const RESERVED_ENTITIES: readonly string[] = [
  'world-ipv4',
  'world-ipv6',
  'host',
  'remote-node',
  'kube-apiserver',
  'health',
  'init',
  'unmanaged',
  'ingress',
  // Nothing ever carries it: a rule with it selects nobody.
  'none',
];

const CLUSTER_ENTITIES: readonly string[] = [
  'host',
  'remote-node',
  'init',
  'ingress',
  'health',
  'unmanaged',
  'kube-apiserver',
];

export function entityPeers(
  fields: Fields,
  value: unknown,
  path: string,
  settings: ParseSettings,
): Peer[] {
  const name = fields.string(value, path);
  if (name === 'all') return [{ type: 'any' }];
  if (name === 'world')
    return ['world', 'world-ipv4', 'world-ipv6'].map((n) => labels(reserved(n)));
  if (name === 'cluster') {
    return [...CLUSTER_ENTITIES.map(reserved), clusterIs(settings.cluster)].map(labels);
  }
  if (name !== undefined && RESERVED_ENTITIES.includes(name)) return [labels(reserved(name))];
  const known = ['all', 'world', 'cluster', ...RESERVED_ENTITIES].join(', ');
  fields.refuse('invalid', path, `must be one of ${known}`, value);
  return [];
}

/** A member of fromCIDR or toCIDR: an address or a prefix. Host bits are cleared, as in Cilium. */
export function cidrPeer(fields: Fields, value: unknown, path: string): Peer | undefined {
  const prefix = readPrefix(fields, value, path, true);
  return prefix && { type: 'cidr', prefix, except: [] };
}

/** A member of fromCIDRSet or toCIDRSet. */
export function cidrSetPeer(fields: Fields, value: unknown, path: string): Peer | undefined {
  const given = fields.object(value, path, ['cidr', 'cidrGroupRef', 'cidrGroupSelector', 'except']);
  if (given === undefined) return fields.refuse('invalid', path, 'must be an object', value);
  const ways = ['cidr', 'cidrGroupRef', 'cidrGroupSelector'].filter(
    (name) => present(given[name]) && given[name] !== '',
  );
  if (ways.length !== 1) {
    const what = 'must have exactly one of cidr, cidrGroupRef and cidrGroupSelector';
    return fields.refuse(ways.length === 0 ? 'invalid' : 'conflict', path, what, value);
  }
  if (ways[0] === 'cidr') return ipBlock(fields, given.cidr, given.except, path);
  const except = (fields.list(given.except, `${path}.except`) ?? []).flatMap(
    (each, index) => readPrefix(fields, each, `${path}.except[${index}]`, false) ?? [],
  );
  if (ways[0] === 'cidrGroupRef') {
    const name = fields.string(given.cidrGroupRef, `${path}.cidrGroupRef`);
    return name === undefined
      ? undefined
      : { type: 'cidr-groups', by: { type: 'name', name }, except };
  }
  const at = `${path}.cidrGroupSelector`;
  const raw = readSelector(fields, given.cidrGroupSelector, at);
  const selector = raw && compileGroupSelector(fields, raw, at);
  return selector && { type: 'cidr-groups', by: { type: 'selector', selector }, except };
}

/** Group labels have no source: `team`, `any:team` and `cidrgroup:team` mean the same. */
function compileGroupSelector(fields: Fields, raw: RawSelector, path: string) {
  const plain = (key: string): string => key.replace(/^cidrgroup:/, 'any:');
  const matchLabels = Object.fromEntries(
    Object.entries(raw.matchLabels ?? {}).map(([key, value]) => [plain(key), value]),
  );
  const matchExpressions = (raw.matchExpressions ?? []).map((each) => ({
    ...each,
    key: plain(each.key),
  }));
  return compileRaw(
    fields,
    { matchLabels, matchExpressions, keys: raw.keys.map(plain) },
    path,
    'cilium',
  );
}

/** A prefix with exceptions inside it: `ipBlock` and `cidr` in CIDR sets. */
export function ipBlock(
  fields: Fields,
  cidr: unknown,
  excepts: unknown,
  path: string,
): Peer | undefined {
  const prefix = readPrefix(fields, cidr, `${path}.cidr`, false);
  const except = (fields.list(excepts, `${path}.except`) ?? []).flatMap((each, index) => {
    const at = `${path}.except[${index}]`;
    const inner = readPrefix(fields, each, at, false);
    if (inner === undefined || prefix === undefined) return [];
    if (!Prefix.covers(prefix, inner)) {
      fields.refuse('invalid', at, `must lie inside ${prefix}`, each);
      return [];
    }
    return [inner];
  });
  return prefix && { type: 'cidr', prefix, except };
}

export function readPrefix(
  fields: Fields,
  value: unknown,
  path: string,
  orAddress: boolean,
): Prefix | undefined {
  if (typeof value === 'string') {
    try {
      if (orAddress) return Prefix.parseLoose(value);
      return Prefix.parse(value, { hostBits: 'clear' });
    } catch {
      // Said below, with the path.
    }
  }
  const form = orAddress
    ? 'an address or a prefix'
    : 'a prefix such as 10.0.0.0/8 or 2001:db8::/32';
  return fields.refuse('invalid', path, `must be ${form}`, value ?? null);
}
