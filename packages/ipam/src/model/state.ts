import { type Prefix, Prefix as PrefixOf } from '@causeway/ip';
import type { BlockPhase } from '../node/types.ts';

/*
 * The small world in which the life of blocks is searched: a store, operators, nodes with their agents and speakers,
 * and pods. Everything that decides is the package's own code; the world only carries messages, loses them, brings
 * them late, and ends programs. A state is plain JSON, so that it is its own key.
 *
 * Views: each program has copies of what it last read. A copy is `fresh` while the store's object is still at the
 * revision that was read: that is all that compare-and-swap looks at, so no revisions are kept.
 */

/** A node's CiliumNode. */
export interface NodeObject {
  readonly requested: number;
  readonly allocated: readonly Prefix[];
}

export interface Store {
  nodes: NodeObject[];
  /** Records, by block: the node's index. */
  records: [Prefix, number][];
  claims: string[];
  closed: Prefix[];
}

/** An operator: `idle`, `leading`, or `deposed` without knowing it. */
export interface Operator {
  term: 'idle' | 'leading' | 'deposed';
  nodes: (NodeObject & { fresh: boolean })[];
  records: [Prefix, number][];
  closed: Prefix[];
}

export interface Host {
  /** What the agent last read of its CiliumNode and of the records of its blocks. */
  object: NodeObject & { fresh: boolean };
  recorded: Prefix[];
  taken: Prefix[];
  closed: Prefix[];
  claims: string[];
  claimsKnown: boolean;
  blocks: { cidr: Prefix; phase: BlockPhase; drain: boolean }[];
  /** What the speaker announces. */
  announced: Prefix[];
  /** Addresses of running pods, and of those that have gone a moment ago. */
  pods: string[];
  resting: string[];
}

/** What nobody in the world knows: whom a forced release has taken blocks from, and which addresses rest. */
export interface Ghost {
  /** By node: blocks taken by force of which the agent has not heard yet. */
  unaware: Prefix[][];
  /** By node: blocks taken by force that its pods still live on. */
  forced: Prefix[][];
  resting: string[];
}

/** How often each disturbance may still happen. */
export interface Left {
  pods: number;
  depose: number;
  crash: number;
  force: number;
  close: number;
  drain: number;
  claim: number;
  want: number;
}

export interface State {
  store: Store;
  ops: Operator[];
  hosts: Host[];
  ghost: Ghost;
  left: Left;
}

/** Ways to break the world, to show that the search would see it. */
export type Fault =
  | 'no-fence'
  | 'no-quarantine'
  | 'use-unrecorded'
  | 'use-claims-unknown'
  | 'forget-claims'
  | 'claim-unrecorded'
  | 'give-back-in-use'
  | 'ignore-taken'
  | 'forget-records'
  | 'never-release';

export interface World {
  /** The pool's range; nodes with index 0 ask for blocks of `large`, the others for `common`. */
  readonly range: Prefix;
  readonly common: number;
  readonly large: number;
  readonly nodes: number;
  readonly ops: number;
  readonly left: Left;
  readonly fault?: Fault;
}

export function firstState(world: World): State {
  const object = { requested: 0, allocated: [] };
  return {
    store: {
      nodes: Array.from({ length: world.nodes }, () => object),
      records: [],
      claims: [],
      closed: [],
    },
    ops: Array.from({ length: world.ops }, idle),
    hosts: Array.from({ length: world.nodes }, () => ({
      object: { ...object, fresh: true },
      recorded: [],
      taken: [],
      closed: [],
      claims: [],
      claimsKnown: true,
      blocks: [],
      announced: [],
      pods: [],
      resting: [],
    })),
    ghost: {
      unaware: Array.from({ length: world.nodes }, () => []),
      forced: Array.from({ length: world.nodes }, () => []),
      resting: [],
    },
    left: { ...world.left },
  };
}

export const idle = (): Operator => ({ term: 'idle', nodes: [], records: [], closed: [] });

/** The state as its key. Operators are alike, so their order does not count. */
export function keyOf(state: State): string {
  const ops = state.ops.map((op) => JSON.stringify(op)).sort();
  return `{"store":${JSON.stringify(state.store)},"ops":[${ops.join(',')}],"hosts":${JSON.stringify(
    state.hosts,
  )},"ghost":${JSON.stringify(state.ghost)},"left":${JSON.stringify(state.left)}}`;
}

export const stateOf = (key: string): State => JSON.parse(key) as State;

/** A copy that can be stepped. Lists within programs are never changed in place, so they are shared. */
export function copyOf({ store, ops, hosts, ghost, left }: State): State {
  return {
    store: { ...store, nodes: [...store.nodes] },
    ops: ops.map((op) => ({ ...op, nodes: op.nodes.map((node) => ({ ...node })) })),
    hosts: hosts.map((host) => ({ ...host })),
    ghost: { ...ghost, unaware: [...ghost.unaware], forced: [...ghost.forced] },
    left: { ...left },
  };
}

/** Equal by value. */
export function same(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false;
  const left = Object.values(a);
  const right = Object.values(b);
  return left.length === right.length && left.every((value, index) => same(value, right[index]));
}

/** A node's object in the store changes: whoever has read it has an old copy, but the writer. */
export function putNode(state: State, node: number, object: NodeObject): void {
  state.store.nodes[node] = object;
  for (const op of state.ops) {
    const view = op.nodes[node];
    if (view !== undefined) view.fresh = false;
  }
  const host = state.hosts[node];
  if (host !== undefined) host.object = { ...host.object, fresh: false };
}

export const overlaps = (a: Prefix, b: Prefix): boolean => a === b || PrefixOf.overlaps(a, b);

export function sorted<T extends string>(values: Iterable<T>): T[] {
  return [...new Set(values)].sort();
}
