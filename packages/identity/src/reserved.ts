import { LABEL_SOURCES, LabelSet, label } from './labels.ts';
import { NumericIdentity } from './numeric.ts';

/** Identities with a fixed number (clustermesh-kvstore.md, section 3). */
export const RESERVED = Object.freeze({
  unknown: NumericIdentity(0),
  host: NumericIdentity(1),
  world: NumericIdentity(2),
  unmanaged: NumericIdentity(3),
  health: NumericIdentity(4),
  init: NumericIdentity(5),
  'remote-node': NumericIdentity(6),
  'kube-apiserver': NumericIdentity(7),
  ingress: NumericIdentity(8),
  'world-ipv4': NumericIdentity(9),
  'world-ipv6': NumericIdentity(10),
  'overlay-to-encrypt': NumericIdentity(11),
});

export type ReservedName = keyof typeof RESERVED;

/** 100..107, and the same with the namespace's name label at 108..115. */
const WELL_KNOWN = [
  'etcd-operator',
  'cilium-kvstore',
  'kube-dns',
  'eks-kube-dns',
  'core-dns',
  'cilium-operator',
  'eks-core-dns',
  'cilium-etcd-operator',
] as const;

const names = new Map<number, ReservedName>(
  Object.entries(RESERVED).map(([name, id]) => [id, name as ReservedName]),
);
const labelSets = new Map<number, LabelSet>(
  [...names].map(([id, name]) => [
    id,
    LabelSet.of(
      // The API server runs on a node: it answers to both names.
      (name === 'kube-apiserver' ? [name, 'remote-node'] : [name]).map((key) =>
        label(LABEL_SOURCES.reserved, key),
      ),
    ),
  ]),
);

export function reservedName(id: NumericIdentity): ReservedName | undefined {
  return names.get(id);
}

export function reservedId(name: string): NumericIdentity | undefined {
  return Object.hasOwn(RESERVED, name) ? RESERVED[name as ReservedName] : undefined;
}

/** `reserved:host` and the like; undefined for numbers without a name. */
export function reservedLabels(id: NumericIdentity): LabelSet | undefined {
  return labelSets.get(id);
}

/** The name for a person: a reserved or well-known name, `reserved-N` below 256, else the number. */
export function identityName(id: NumericIdentity): string {
  const name = names.get(id);
  if (name !== undefined) return name;
  const wellKnown = id >= 100 && id < 116 ? WELL_KNOWN[(id - 100) % 8] : undefined;
  if (wellKnown !== undefined) return wellKnown;
  return id >= 128 && id < 256 ? `reserved-${id}` : String(id);
}
