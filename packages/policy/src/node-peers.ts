import {
  type CompiledSelector,
  LABEL_KEYS,
  LABEL_SOURCES,
  LabelSet,
  label,
  selectorOf,
} from '@causeway/identity';
import type { Peer } from './model.ts';

/*
 * Nodes as peers (`fromNodes`, `toNodes`). A node's addresses have one identity, `remote-node`, until a rule asks for
 * labels of Nodes. From then on nodes that some rule tells apart have different ones: the labels of their Node, under
 * source `node`, but only those whose key a rule names. So two kinds of nodes cost two identities, whatever else
 * their Nodes say, where Cilium has one for each set of labels.
 */

/** What a node says of itself. */
export interface NodeView {
  readonly cluster: string;
  readonly labels: Readonly<Record<string, string>>;
}

/** As in Cilium: any other node, never the one that the subject is on. */
export const isRemoteNode: CompiledSelector = selectorOf([
  { type: 'exists', source: LABEL_SOURCES.reserved, key: 'remote-node' },
]);

/**
 * The labels of a node's identity.
 * @param base what it has without its Node's: those of `remote-node`, or of the number that it has as an endpoint.
 *   They win where keys meet, for no Node may take them on.
 */
export function nodeIdentityLabels(
  node: NodeView,
  base: LabelSet,
  keys: ReadonlySet<string>,
): LabelSet {
  const own = Object.entries(node.labels).filter(
    // A peer's Node may hold what no label can.
    ([key, value]) => keys.has(key) && !/[;=]/.test(key) && !value.includes(';'),
  );
  return LabelSet.of([
    ...own.map(([key, value]) => label(LABEL_SOURCES.node, key, value)),
    label(LABEL_SOURCES.k8s, LABEL_KEYS.cluster, node.cluster),
    ...base,
  ]);
}

/** The keys that peers look at in Nodes' labels; undefined if none of them speaks of nodes. */
export function keysOfNodes(peers: readonly Peer[]): ReadonlySet<string> | undefined {
  const nodes = peers.filter((each) => each.type === 'nodes');
  if (nodes.length === 0) return undefined;
  return new Set(nodes.flatMap(({ selector }) => selector.requirements.map(({ key }) => key)));
}

/** What rules tell nodes apart by, all in all. */
export class NodeKeys {
  readonly #counts = new Map<string, number>();
  #rules = 0;
  #keys: ReadonlySet<string> | undefined;

  /** The same object until it changes; undefined while no rule speaks of nodes by label. */
  get keys(): ReadonlySet<string> | undefined {
    return this.#keys;
  }

  change(keys: ReadonlySet<string> | undefined, by: 1 | -1): void {
    if (keys === undefined) return;
    this.#rules += by;
    let moved = this.#rules === 0 || this.#keys === undefined;
    for (const key of keys) {
      const count = (this.#counts.get(key) ?? 0) + by;
      if (count > 0) this.#counts.set(key, count);
      else this.#counts.delete(key);
      moved ||= count === 0 || (count === 1 && by === 1);
    }
    if (moved) this.#keys = this.#rules === 0 ? undefined : new Set(this.#counts.keys());
  }
}
