import type { Requirement } from '@causeway/identity';
import type { RuleRow } from './diff.ts';
import type { IdentityView } from './identity-view.ts';
import type { NamedPort, PortMatch } from './model.ts';
import { isIcmp, portsText, protocolName } from './protocols.ts';
import { type InstalledRule, ruleRow } from './rules.ts';
import { type PeerMatch, selects } from './selector-cache.ts';

/** One condition of a selector that the peer does not meet. */
export interface Unmet {
  /** `role`, `k8s:role`, `cidr`. */
  readonly key: string;
  /** `employee`, `one of a, b`, `anything`, `nothing`, `not x`, `inside 10.0.0.0/8`. */
  readonly wanted: string;
  /** Absent: the peer has nothing under that key. */
  readonly has?: string;
}

/** An allow rule that did not apply, with what it lacked. */
export interface NearMiss {
  readonly rule: RuleRow;
  /** Conditions of the closest of its selectors; empty if the peer is right. */
  readonly unmet: readonly Unmet[];
  /** What it allows, where the traffic is something else; absent if the port is right. */
  readonly allows?: string;
  readonly text: string;
}

export interface Traffic {
  readonly protocol: number;
  readonly port: number;
}

/** How close an allow rule came; undefined if it applies. */
export function nearMiss(
  rule: InstalledRule,
  peer: IdentityView,
  traffic: Traffic,
  named: readonly NamedPort[],
): NearMiss | undefined {
  const rightPort = rule.rule.ports.some((each) => matchesPort(each, traffic, named));
  const rightPeer = rule.anyPeer || rule.nodes.some((node) => selects(node.match, peer));
  if (rightPort && rightPeer) return undefined;
  const unmet = rightPeer ? [] : closest(rule, peer);
  const allows = rule.rule.ports.map(portText).join(', ') || 'no port';
  const row = ruleRow(rule);
  const parts = unmet.map(
    ({ key, wanted, has }) => `${key} must be ${wanted}, is ${has ?? 'not there'}`,
  );
  if (!rightPeer && rule.nodes.length === 0) parts.push('it selects nobody');
  if (!rightPort) {
    parts.push(
      `it is for ${allows}, not ${portsText(traffic.protocol, traffic.port, traffic.port)}`,
    );
  }
  const text = `${row.name}: ${parts.join('; ')}`;
  return { rule: row, unmet, ...(rightPort ? {} : { allows }), text };
}

/** The fewer conditions are missing, the closer; a wrong port weighs as much as one condition. */
export const distance = (miss: NearMiss): number =>
  miss.unmet.length + (miss.allows === undefined ? 0 : 1);

function matchesPort(match: PortMatch, traffic: Traffic, named: readonly NamedPort[]): boolean {
  switch (match.type) {
    case 'all':
      return true;
    case 'range':
      return (
        match.protocol === traffic.protocol &&
        match.first <= traffic.port &&
        traffic.port <= match.last
      );
    case 'named':
      return (
        match.protocol === traffic.protocol &&
        named.some(
          (each) =>
            each.name.toLowerCase() === match.name &&
            each.protocol === match.protocol &&
            each.port === traffic.port,
        )
      );
    default:
      return match satisfies never;
  }
}

function portText(match: PortMatch): string {
  switch (match.type) {
    case 'all':
      return 'every port';
    case 'range':
      return portsText(match.protocol, match.first, match.last);
    case 'named':
      return `${protocolName(match.protocol)} port ${match.name}`;
    default:
      return match satisfies never;
  }
}

function closest(rule: InstalledRule, peer: IdentityView): readonly Unmet[] {
  let best: readonly Unmet[] | undefined;
  for (const { match } of rule.nodes) {
    const unmet = unmetOf(match, peer);
    if (best === undefined || unmet.length < best.length) best = unmet;
  }
  return best ?? [];
}

function unmetOf(match: PeerMatch, peer: IdentityView): readonly Unmet[] {
  switch (match.type) {
    case 'all':
      return [];
    case 'labels':
      return match.selector.requirements.flatMap((each) => unmetRequirement(each, peer) ?? []);
    case 'cidr': {
      const prefixes = [...match.prefixes].map(({ prefix }) => prefix);
      const shown =
        prefixes.length > 3 ? `one of ${prefixes.length} prefixes` : prefixes.join(' or ');
      const except = match.except.length === 0 ? '' : ` but not ${match.except.join(', ')}`;
      const wanted = `inside ${shown || 'an empty group'}${except}`;
      return [{ key: 'cidr', wanted, ...(peer.prefix ? { has: peer.prefix } : {}) }];
    }
    default:
      return match satisfies never;
  }
}

function unmetRequirement(requirement: Requirement, peer: IdentityView): Unmet | undefined {
  const found = peer.labels.get(requirement.key);
  const { source } = requirement;
  const visible = found !== undefined && (source === 'any' || source === found.source);
  const key = source === 'any' ? requirement.key : `${source}:${requirement.key}`;
  const has = visible ? { has: found.value === '' ? 'set' : found.value } : {};
  switch (requirement.type) {
    case 'in': {
      if (visible && requirement.values.has(found.value)) return undefined;
      const values = [...requirement.values].map((each) => each || 'set');
      const wanted = values.length === 1 ? values[0]! : `one of ${values.join(', ')}`;
      return { key, wanted, ...has };
    }
    case 'not-in':
      if (!visible || !requirement.values.has(found.value)) return undefined;
      return { key, wanted: `not ${[...requirement.values].join(', ')}`, ...has };
    case 'exists':
      return visible ? undefined : { key, wanted: 'anything' };
    case 'absent':
      return visible ? { key, wanted: 'nothing', ...has } : undefined;
    default:
      return requirement satisfies never;
  }
}

/** Refuses what no packet can have. */
export const validTraffic = ({ protocol, port }: Traffic): boolean =>
  Number.isInteger(protocol) &&
  protocol > 0 &&
  protocol <= 255 &&
  Number.isInteger(port) &&
  port >= 0 &&
  port <= (isIcmp(protocol) ? 255 : 0xffff);
