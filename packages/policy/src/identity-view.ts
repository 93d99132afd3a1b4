import {
  LABEL_SOURCES,
  type LabelSet,
  prefixOfCidrLabel,
  RESERVED,
  reservedLabels,
} from '@causeway/identity';
import { type Family, Prefix } from '@causeway/ip';

/** Which families the cluster runs: they decide how the world outside is cut into identities. */
export type Families = readonly Family[];

/** What selectors look at: the labels, and the addresses that an outside identity stands for. */
export interface IdentityView {
  readonly id: number;
  readonly labels: LabelSet;
  /** Only for identities outside the cluster: CIDR rules select those and no pod or node. */
  readonly prefix: Prefix | undefined;
}

const ALL_V4 = Prefix.parse('0.0.0.0/0');
const ALL_V6 = Prefix.parse('::/0');

export function identityView(id: number, labels: LabelSet, families: Families): IdentityView {
  return { id, labels, prefix: prefixOf(labels, families) };
}

/**
 * The longest `cidr` label, or the whole family for a world identity. In dual stack plain `world`
 * stands for no addresses: the datapath turns it into one of the two by the packet's family.
 */
function prefixOf(labels: LabelSet, families: Families): Prefix | undefined {
  let longest: Prefix | undefined;
  let world: Prefix | undefined;
  for (const label of labels) {
    if (label.source === LABEL_SOURCES.cidr) {
      const prefix = Prefix.tryParse(prefixOfCidrLabel(label) ?? '');
      if (prefix !== undefined && (!longest || Prefix.length(prefix) > Prefix.length(longest))) {
        longest = prefix;
      }
    } else if (label.source === LABEL_SOURCES.reserved) {
      if (label.key === 'world-ipv4') world = ALL_V4;
      if (label.key === 'world-ipv6') world = ALL_V6;
      if (label.key === 'world' && families.length === 1) {
        world = families[0] === 'ipv4' ? ALL_V4 : ALL_V6;
      }
    }
  }
  return longest ?? world;
}

/** The numbers that have labels without anybody allocating them. 0 is the wildcard of entries. */
export function* reservedIdentities(): Generator<readonly [number, LabelSet]> {
  for (const id of Object.values(RESERVED)) {
    const labels = reservedLabels(id);
    if (id !== RESERVED.unknown && labels !== undefined) yield [id, labels];
  }
}
