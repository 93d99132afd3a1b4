import type { CompiledSelector, LabelSet } from '@causeway/identity';
import type { Prefix } from '@causeway/ip';

/** As in the datapath's policy key: `ingress` is 0, `egress` is 1. */
export type Direction = 'ingress' | 'egress';

export const DIRECTIONS = ['ingress', 'egress'] as const satisfies readonly Direction[];

export type PolicyKind = 'NetworkPolicy' | 'CiliumNetworkPolicy' | 'CiliumClusterwideNetworkPolicy';

/** Names one policy object. `namespace` is absent for cluster-wide kinds. */
export interface PolicyRef {
  readonly kind: PolicyKind;
  readonly namespace?: string | undefined;
  readonly name: string;
}

/** The lists that rules stand in. */
export type RuleList = 'ingress' | 'ingressDeny' | 'egress' | 'egressDeny';

/** Where a rule comes from: what a verdict, a drop event and the rule table show. */
export interface RuleOrigin extends PolicyRef {
  /** Index into `specs`, 0 for a single `spec`. */
  readonly specIndex: number;
  readonly direction: Direction;
  readonly list: RuleList;
  readonly ruleIndex: number;
  /** Which member of `toPorts` (`ports` in NetworkPolicy) or `icmps`; absent: all ports. */
  readonly portRule?: { readonly list: 'toPorts' | 'ports' | 'icmps'; readonly index: number };
}

/** Who is on the other side. A rule takes effect for a peer that any of its peers matches. */
export type Peer =
  | { readonly type: 'any' }
  | { readonly type: 'labels'; readonly selector: CompiledSelector }
  /** Nodes by the labels of their Node; `selector` says of itself that it means nodes. */
  | { readonly type: 'nodes'; readonly selector: CompiledSelector }
  | { readonly type: 'cidr'; readonly prefix: Prefix; readonly except: readonly Prefix[] }
  | {
      readonly type: 'cidr-groups';
      /** CiliumCIDRGroups by name, or by their labels. */
      readonly by:
        | { readonly type: 'name'; readonly name: string }
        | { readonly type: 'selector'; readonly selector: CompiledSelector };
      readonly except: readonly Prefix[];
    };

/**
 * Which traffic. Numbers are IANA protocol numbers; for ICMP (1) and ICMPv6 (58) the "port" is the
 * message type.
 */
export type PortMatch =
  | { readonly type: 'all' }
  | {
      readonly type: 'range';
      readonly protocol: number;
      readonly first: number;
      readonly last: number;
    }
  | { readonly type: 'named'; readonly protocol: number; readonly name: string };

/** One rule with one port rule: the smallest thing that a verdict is attributed to. */
export interface Rule {
  readonly origin: RuleOrigin;
  readonly deny: boolean;
  readonly peers: readonly Peer[];
  readonly ports: readonly PortMatch[];
}

/**
 * Whom rules are for: endpoints by their labels, or nodes that are endpoints themselves by the labels of their Node
 * (Cilium's host policies). A node is an endpoint by its labels, too, if it was given any.
 */
export interface SubjectSelector {
  readonly type: 'endpoints' | 'nodes';
  readonly selector: CompiledSelector;
}

/** What decides which subjects somebody is among. */
export interface SubjectLabels {
  readonly labels: LabelSet;
  /** Of the Node, for an endpoint that is a node itself. */
  readonly nodeLabels?: LabelSet | undefined;
}

export function binds({ type, selector }: SubjectSelector, who: SubjectLabels): boolean {
  if (type === 'endpoints') return selector.matches(who.labels);
  return who.nodeLabels !== undefined && selector.matches(who.nodeLabels);
}

/** The rules of one spec, with whom they are for. */
export interface Section {
  readonly subject: SubjectSelector;
  /** Directions that turn to default deny for the subject. */
  readonly defaultDeny: readonly Direction[];
  readonly rules: readonly Rule[];
}

/** A policy object, normalised. */
export interface Policy extends PolicyRef {
  /** Tried, not enforced: annotation `policy.causeway.io/audit: "true"`. */
  readonly audit: boolean;
  readonly sections: readonly Section[];
}

/** Whether some of it is for nodes; with `who`, for that one. */
export const forNodes = ({ sections }: Policy, who?: SubjectLabels): boolean =>
  sections.some(
    ({ subject }) => subject.type === 'nodes' && (who === undefined || binds(subject, who)),
  );

/** A CiliumCIDRGroup, normalised. */
export interface CidrGroup {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly prefixes: readonly Prefix[];
}

/** A name for a port number, as pods declare them. */
export interface NamedPort {
  readonly name: string;
  readonly port: number;
  /** IANA number: 6 TCP, 17 UDP, 132 SCTP. */
  readonly protocol: number;
}

export const AUDIT_ANNOTATION = 'policy.causeway.io/audit';

/** `NetworkPolicy shop/allow-web`, as people and map keys name a policy. */
export function policyName({ kind, namespace, name }: PolicyRef): string {
  return namespace === undefined ? `${kind} ${name}` : `${kind} ${namespace}/${name}`;
}

/** `CiliumNetworkPolicy shop/db ingress[0].toPorts[1]`: unique, and the same after every restart. */
export function ruleName(origin: RuleOrigin): string {
  const spec = origin.specIndex === 0 ? '' : ` specs[${origin.specIndex}]`;
  const port = origin.portRule ? `.${origin.portRule.list}[${origin.portRule.index}]` : '';
  return `${policyName(origin)}${spec} ${origin.list}[${origin.ruleIndex}]${port}`;
}
