import {
  type CompiledSelector,
  intersectSelectors,
  LABEL_KEYS,
  LABEL_SOURCES,
} from '@causeway/identity';
import type {
  Direction,
  Peer,
  PolicyRef,
  PortMatch,
  Rule,
  RuleList,
  Section,
  SubjectSelector,
} from '../model.ts';
import { type Fields, type Json, present } from './fields.ts';
import {
  cidrPeer,
  cidrSetPeer,
  endpointPeer,
  entityPeers,
  namespaceIs,
  nodePeer,
  type ParseSettings,
} from './peers.ts';
import { readIcmpRule, readPortRule } from './ports.ts';
import { compileRaw, readSelector } from './selector.ts';

const LISTS = ['ingress', 'ingressDeny', 'egress', 'egressDeny'] as const satisfies RuleList[];

const NOT_YET: Readonly<Record<string, string>> = {
  fromRequires: 'is no longer part of Cilium; put the requirement into the selectors',
  toRequires: 'is no longer part of Cilium; put the requirement into the selectors',
  fromGroups: 'needs a cloud provider, which is not enforced yet',
  toGroups: 'needs a cloud provider, which is not enforced yet',
  toServices: 'is not enforced yet; select the backends by toEndpoints',
  toFQDNs: 'is by DNS name, which is not enforced yet; use toCIDR or toEntities',
};

/** Reads `spec` and `specs` of a CiliumNetworkPolicy or CiliumClusterwideNetworkPolicy. */
export function readCiliumSections(
  fields: Fields,
  object: Json,
  ref: PolicyRef,
  settings: ParseSettings,
): Section[] {
  const sections: (Section | undefined)[] = [];
  if (present(object.spec)) {
    sections.push(readSpec(fields, object.spec, 'spec', { ref, settings, specIndex: 0 }));
  }
  const offset = sections.length;
  fields.list(object.specs, 'specs', 1000)?.forEach((spec, index) => {
    const specIndex = offset + index;
    sections.push(readSpec(fields, spec, `specs[${index}]`, { ref, settings, specIndex }));
  });
  if (sections.length === 0) fields.refuse('invalid', 'spec', 'or specs must be given');
  return sections.filter((each) => each !== undefined);
}

interface SpecContext {
  readonly ref: PolicyRef;
  readonly settings: ParseSettings;
  readonly specIndex: number;
}

function readSpec(
  fields: Fields,
  value: unknown,
  path: string,
  context: SpecContext,
): Section | undefined {
  const spec = fields.object(value, path, [
    ...LISTS,
    'endpointSelector',
    'nodeSelector',
    'enableDefaultDeny',
    'labels',
    'description',
    'log',
  ]);
  if (spec === undefined) return fields.refuse('invalid', path, 'must be an object', value);
  const subject = readSubject(fields, spec, path, context.ref);
  const lists = LISTS.map((list) => ({
    list,
    given: fields.list(spec[list], `${path}.${list}`) ?? [],
  }));
  if (lists.every(({ given }) => given.length === 0)) {
    fields.refuse('no-rules', path, `must have a rule in one of ${LISTS.join(', ')}`);
  }
  const forInit = mentionsInit(subject);
  const rules = lists.flatMap(({ list, given }) =>
    given.flatMap((rule, ruleIndex) =>
      readRule(fields, rule, `${path}.${list}[${ruleIndex}]`, {
        ...context,
        list,
        ruleIndex,
        forInit,
      }),
    ),
  );
  const has = (...names: readonly RuleList[]) =>
    lists.some(({ list, given }) => names.includes(list) && given.length > 0);
  const deny = fields.object(spec.enableDefaultDeny, `${path}.enableDefaultDeny`, [
    'ingress',
    'egress',
  ]);
  // Where the manifest does not say, a direction with rules of either kind turns to default deny.
  const ingress =
    fields.boolean(deny?.ingress, `${path}.enableDefaultDeny.ingress`) ??
    has('ingress', 'ingressDeny');
  const egress =
    fields.boolean(deny?.egress, `${path}.enableDefaultDeny.egress`) ?? has('egress', 'egressDeny');
  const defaultDeny: Direction[] = [];
  if (ingress) defaultDeny.push('ingress');
  if (egress) defaultDeny.push('egress');
  return subject && { subject, defaultDeny, rules };
}

function readSubject(
  fields: Fields,
  spec: Json,
  path: string,
  ref: PolicyRef,
): SubjectSelector | undefined {
  if (present(spec.nodeSelector)) return readNodeSubject(fields, spec, path, ref);
  const at = `${path}.endpointSelector`;
  if (!present(spec.endpointSelector)) {
    return fields.refuse('invalid', at, 'must be given; {} selects every endpoint');
  }
  const selector = readEndpoints(fields, spec, at, ref);
  return selector && { type: 'endpoints', selector };
}

/** As Cilium has it: of cluster-wide policies alone, and in place of endpoints. */
function readNodeSubject(
  fields: Fields,
  spec: Json,
  path: string,
  ref: PolicyRef,
): SubjectSelector | undefined {
  const at = `${path}.nodeSelector`;
  if (present(spec.endpointSelector)) {
    const why = 'cannot stand beside endpointSelector; write two policies, or two of specs';
    return fields.refuse('conflict', at, why, spec.nodeSelector);
  }
  if (ref.namespace !== undefined) {
    const why = 'nodes are of no namespace; write a CiliumClusterwideNetworkPolicy';
    return fields.refuse('invalid', at, why, spec.nodeSelector);
  }
  const raw = readSelector(fields, spec.nodeSelector, at);
  const selector = raw && compileRaw(fields, raw, at, 'cilium');
  return selector && { type: 'nodes', selector };
}

function readEndpoints(
  fields: Fields,
  spec: Json,
  at: string,
  ref: PolicyRef,
): CompiledSelector | undefined {
  const raw = readSelector(fields, spec.endpointSelector, at);
  const selector = raw && compileRaw(fields, raw, at, 'cilium');
  if (selector === undefined || ref.namespace === undefined) return selector;
  for (const each of selector.requirements) {
    if (each.key !== LABEL_KEYS.podNamespace) continue;
    if (each.type === 'in' && each.values.has(ref.namespace)) continue;
    if (each.type === 'exists') continue;
    // Cilium drops such a condition with a warning; then the policy would bite where it was not meant to.
    return fields.refuse(
      'conflict',
      at,
      `names another namespace than the policy's own, ${ref.namespace}`,
      spec.endpointSelector,
    );
  }
  return intersectSelectors(selector, namespaceIs(ref.namespace));
}

const mentionsInit = (subject: SubjectSelector | undefined): boolean =>
  subject?.selector.requirements.some(
    (each) => each.source === LABEL_SOURCES.reserved && each.key === 'init',
  ) ?? false;

interface RuleContext extends SpecContext {
  readonly list: RuleList;
  readonly ruleIndex: number;
  readonly forInit: boolean;
}

function readRule(fields: Fields, value: unknown, path: string, context: RuleContext): Rule[] {
  const direction: Direction = context.list.startsWith('ingress') ? 'ingress' : 'egress';
  const deny = context.list.endsWith('Deny');
  const side = direction === 'ingress' ? 'from' : 'to';
  const rule = fields.object(value, path, [
    `${side}Endpoints`,
    `${side}CIDR`,
    `${side}CIDRSet`,
    `${side}Entities`,
    `${side}Nodes`,
    'toPorts',
    'icmps',
    ...(deny ? [] : ['authentication']),
    ...Object.keys(NOT_YET).filter((name) => name.startsWith(side)),
  ]);
  if (rule === undefined) {
    fields.refuse('invalid', path, 'must be an object', value);
    return [];
  }
  fields.unsupported(rule, path, NOT_YET);
  const authentication = fields.object(rule.authentication, `${path}.authentication`, ['mode']);
  if (authentication !== undefined && authentication.mode !== 'disabled') {
    const why = 'asks for mutual authentication, which is not enforced yet';
    fields.refuse('unsupported', `${path}.authentication`, why, rule.authentication);
  }
  const peers = readPeers(fields, rule, path, side, context);
  const origin = {
    ...context.ref,
    specIndex: context.specIndex,
    direction,
    list: context.list,
    ruleIndex: context.ruleIndex,
  };
  const portRules = readPortRules(fields, rule, path);
  if (portRules === undefined) {
    // Neither ports nor peers, as in `ingress: [{}]`: turns to default deny and allows nothing.
    return peers === undefined ? [] : [{ origin, deny, peers, ports: [{ type: 'all' }] }];
  }
  return portRules.map(({ list, index, ports }) => ({
    origin: { ...origin, portRule: { list, index } },
    deny,
    peers: peers ?? [{ type: 'any' }],
    ports,
  }));
}

interface PortRule {
  readonly list: 'toPorts' | 'icmps';
  readonly index: number;
  readonly ports: readonly PortMatch[];
}

/** undefined: the rule says nothing about ports. */
function readPortRules(fields: Fields, rule: Json, path: string): PortRule[] | undefined {
  const toPorts = fields.list(rule.toPorts, `${path}.toPorts`) ?? [];
  const icmps = fields.list(rule.icmps, `${path}.icmps`) ?? [];
  if (toPorts.length > 0 && icmps.length > 0) {
    fields.refuse('conflict', `${path}.icmps`, 'cannot stand beside toPorts; write two rules');
  }
  if (toPorts.length === 0 && icmps.length === 0) return undefined;
  return [
    ...toPorts.map((each, index): PortRule => {
      const ports = readPortRule(fields, each, `${path}.toPorts[${index}]`);
      return { list: 'toPorts', index, ports };
    }),
    ...icmps.map((each, index): PortRule => {
      const ports = readIcmpRule(fields, each, `${path}.icmps[${index}]`);
      return { list: 'icmps', index, ports };
    }),
  ];
}

/** undefined: the rule names no peers. A list that is there but empty selects nobody. */
function readPeers(
  fields: Fields,
  rule: Json,
  path: string,
  side: 'from' | 'to',
  context: RuleContext,
): Peer[] | undefined {
  const { namespace } = context.ref;
  const scope = {
    settings: context.settings,
    forInit: context.forInit,
    ...(namespace === undefined ? {} : { namespace }),
  };
  const read: Record<string, (value: unknown, at: string) => Peer | Peer[] | undefined> = {
    [`${side}Endpoints`]: (value, at) => endpointPeer(fields, value, at, scope),
    [`${side}Entities`]: (value, at) => entityPeers(fields, value, at, context.settings),
    [`${side}Nodes`]: (value, at) => nodePeer(fields, value, at, context.settings),
    [`${side}CIDR`]: (value, at) => cidrPeer(fields, value, at),
    [`${side}CIDRSet`]: (value, at) => cidrSetPeer(fields, value, at),
  };
  let peers: Peer[] | undefined;
  const used: string[] = [];
  let selectsNobody = false;
  for (const [name, reader] of Object.entries(read)) {
    const list = fields.list(rule[name], `${path}.${name}`);
    if (list === undefined) continue;
    if (list.length === 0) selectsNobody = true;
    else used.push(name);
    peers = [
      ...(peers ?? []),
      ...list.flatMap((value, index) => reader(value, `${path}.${name}[${index}]`) ?? []),
    ];
  }
  if (used.length > 1) {
    const names = used.join(' and ');
    fields.refuse('conflict', path, `cannot combine ${names} in one rule; write two rules`);
  }
  return selectsNobody ? [] : peers;
}
