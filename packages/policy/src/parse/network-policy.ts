import { type CompiledSelector, intersectSelectors, LABEL_KEYS } from '@causeway/identity';
import type { Direction, Peer, PolicyRef, Rule, RuleOrigin, Section } from '../model.ts';
import { DIRECTIONS } from '../model.ts';
import { type Fields, type Json, present } from './fields.ts';
import {
  inSomeNamespace,
  ipBlock,
  namespaceIs,
  type ParseSettings,
  scopedToCluster,
} from './peers.ts';
import { readKubernetesPort } from './ports.ts';
import { compileRaw, readSelector } from './selector.ts';

/** Reads the `spec` of a networking.k8s.io/v1 NetworkPolicy. */
export function readNetworkPolicySection(
  fields: Fields,
  object: Json,
  ref: PolicyRef,
  settings: ParseSettings,
): Section[] {
  const spec = fields.object(object.spec, 'spec', [
    'podSelector',
    'policyTypes',
    'ingress',
    'egress',
  ]);
  if (spec === undefined) {
    fields.refuse('invalid', 'spec', 'must be given');
    return [];
  }
  const namespace = ref.namespace ?? 'default';
  // Absent and {} are the same in Kubernetes: every pod of the namespace.
  const raw = readSelector(fields, spec.podSelector ?? {}, 'spec.podSelector');
  const pods = raw && compileRaw(fields, raw, 'spec.podSelector', 'kubernetes');
  const types = policyTypes(fields, spec);
  const rules = DIRECTIONS.flatMap((direction) => {
    const read = readRules(fields, spec, direction, ref, namespace, settings);
    // A direction that policyTypes leaves out is not the policy's concern, whatever it lists there.
    return types.includes(direction) ? read : [];
  });
  if (pods === undefined) return [];
  const selector = intersectSelectors(pods, namespaceIs(namespace));
  return [{ subject: { type: 'endpoints', selector }, defaultDeny: types, rules }];
}

/** Default: ingress always, egress where egress rules stand (NetworkPolicySpec.policyTypes). */
function policyTypes(fields: Fields, spec: Json): Direction[] {
  const given = fields.list(spec.policyTypes, 'spec.policyTypes') ?? [];
  given.forEach((each, index) => {
    if (each !== 'Ingress' && each !== 'Egress') {
      fields.refuse('invalid', `spec.policyTypes[${index}]`, 'must be Ingress or Egress', each);
    }
  });
  if (given.length === 0) {
    const egress = Array.isArray(spec.egress) && spec.egress.length > 0;
    return egress ? ['ingress', 'egress'] : ['ingress'];
  }
  return DIRECTIONS.filter((direction) =>
    given.includes(direction === 'ingress' ? 'Ingress' : 'Egress'),
  );
}

function readRules(
  fields: Fields,
  spec: Json,
  direction: Direction,
  ref: PolicyRef,
  namespace: string,
  settings: ParseSettings,
): Rule[] {
  const side = direction === 'ingress' ? 'from' : 'to';
  const list = fields.list(spec[direction], `spec.${direction}`) ?? [];
  return list.flatMap((value, ruleIndex): Rule[] => {
    const path = `spec.${direction}[${ruleIndex}]`;
    const rule = fields.object(value, path, [side, 'ports']);
    if (rule === undefined) {
      fields.refuse('invalid', path, 'must be an object', value);
      return [];
    }
    // Absent or empty: every peer. Cilium's lists differ here.
    const given = fields.list(rule[side], `${path}.${side}`) ?? [];
    const peers: Peer[] =
      given.length === 0
        ? [{ type: 'any' }]
        : given.flatMap(
            (peer, index) =>
              readPeer(fields, peer, `${path}.${side}[${index}]`, namespace, settings) ?? [],
          );
    const origin: RuleOrigin = { ...ref, specIndex: 0, direction, list: direction, ruleIndex };
    const ports = fields.list(rule.ports, `${path}.ports`) ?? [];
    if (ports.length === 0) return [{ origin, deny: false, peers, ports: [{ type: 'all' }] }];
    return ports.map((port, index) => ({
      origin: { ...origin, portRule: { list: 'ports', index } },
      deny: false,
      peers,
      ports: readKubernetesPort(fields, port, `${path}.ports[${index}]`),
    }));
  });
}

function readPeer(
  fields: Fields,
  value: unknown,
  path: string,
  namespace: string,
  settings: ParseSettings,
): Peer | undefined {
  const given = fields.object(value, path, ['podSelector', 'namespaceSelector', 'ipBlock']);
  if (given === undefined) return fields.refuse('invalid', path, 'must be an object', value);
  if (present(given.ipBlock)) {
    if (present(given.podSelector) || present(given.namespaceSelector)) {
      return fields.refuse('conflict', `${path}.ipBlock`, 'cannot stand beside a selector', value);
    }
    const at = `${path}.ipBlock`;
    const block = fields.object(given.ipBlock, at, ['cidr', 'except']);
    return block && ipBlock(fields, block.cidr, block.except, at);
  }
  if (!present(given.podSelector) && !present(given.namespaceSelector)) {
    return fields.refuse('invalid', path, 'must name podSelector, namespaceSelector or ipBlock');
  }
  const parts: (CompiledSelector | undefined)[] = [];
  if (present(given.podSelector)) {
    const at = `${path}.podSelector`;
    const raw = readSelector(fields, given.podSelector, at);
    parts.push(raw && compileRaw(fields, raw, at, 'kubernetes'));
  }
  if (present(given.namespaceSelector)) {
    const at = `${path}.namespaceSelector`;
    const raw = readSelector(fields, given.namespaceSelector, at);
    const { namespaceLabelPrefix } = LABEL_KEYS;
    parts.push(raw && compileRaw(fields, raw, at, 'kubernetes', namespaceLabelPrefix));
    // Keeps `namespaceSelector: {}`, and one of negative conditions only, from selecting the world.
    parts.push(inSomeNamespace);
  } else {
    parts.push(namespaceIs(namespace));
  }
  const known = parts.filter((each) => each !== undefined);
  if (known.length < parts.length) return undefined;
  return {
    type: 'labels',
    selector: scopedToCluster(intersectSelectors(...known), settings),
  };
}
