import { absent, type Compare, type KvEntry, type TxnOperation, unchanged } from '@causeway/etcd';
import { Prefix } from '@causeway/ip';
import type { Decision } from '@causeway/ipam';
import {
  type CiliumNode,
  decodeObject,
  encodeObject,
  encodePodCidr,
  podCidrKey,
  registryKey,
} from '@causeway/resources';

/** What one node's decisions change in the store, and what must still hold when they do. */
export interface NodeChange {
  readonly node: string;
  readonly decisions: readonly Decision[];
  readonly compare: readonly Compare[];
  readonly operations: readonly TxnOperation[];
  /** Pools that something is given of. */
  readonly pools: ReadonlySet<string>;
}

export interface Settled {
  /** Undefined when nothing is left to write. */
  readonly change: NodeChange | undefined;
  /** Decisions that the node as it stands has overtaken. */
  readonly overtaken: readonly Decision[];
}

type Allocated = { pool: string; cidrs: string[] }[];

/**
 * One node's decisions as one write over the CiliumNode as the store has it now. What it says by now may have
 * overtaken a decision: such a one is left out, and planned anew.
 */
export function changeOf(
  decisions: readonly Decision[],
  entry: KvEntry | undefined,
  now: string,
): Settled {
  const { node: name } = decisions[0]!;
  const key = registryKey('CiliumNode', { name });
  const decoded = entry && decodeObject('CiliumNode', entry);
  const node = decoded?.type === 'object' ? decoded.object : undefined;
  const allocated = allocatedOf(node);
  const good: Decision[] = [];
  const overtaken: Decision[] = [];
  const compare: Compare[] = [entry === undefined ? absent(key) : unchanged(entry)];
  const operations: TxnOperation[] = [];
  const pools = new Set<string>();
  let forced = false;
  let changed = false;
  for (const decision of decisions) {
    const { type, cidr, pool } = decision;
    const record = podCidrKey(cidr);
    const named = has(allocated, cidr);
    switch (type) {
      case 'give':
      case 'adopt':
        if (node === undefined || named !== (type === 'adopt')) {
          overtaken.push(decision);
          continue;
        }
        compare.push(absent(record));
        operations.push({ type: 'put', key: record, value: recordOf(decision, node, now) });
        if (type === 'give') {
          add(allocated, pool, cidr);
          changed = true;
          pools.add(pool);
        }
        break;
      case 'release':
        if (named) {
          overtaken.push(decision);
          continue;
        }
        operations.push({ type: 'delete', key: record });
        break;
      case 'reclaim':
        // An object that cannot be read may be a node's that lives: only its absence says that it is gone. By force
        // its blocks go all the same; what it names of them once it can be read is another's, or adopted.
        if (decision.why === 'node-gone' && entry !== undefined) {
          overtaken.push(decision);
          continue;
        }
        operations.push({ type: 'delete', key: record });
        if (decision.why === 'forced') {
          forced = true;
          changed = remove(allocated, cidr) || changed;
        }
        break;
      default:
        return decision satisfies never;
    }
    good.push(decision);
  }
  if (good.length === 0) return { change: undefined, overtaken };
  if (node !== undefined && (changed || forced)) {
    operations.push({ type: 'put', key, value: encodeObject(withPools(node, allocated, forced)) });
  }
  return {
    change: { node: name, decisions: good, compare, operations, pools },
    overtaken,
  };
}

const recordOf = ({ cidr, pool, node, type }: Decision, { metadata }: CiliumNode, now: string) =>
  encodePodCidr({
    cidr,
    pool,
    node,
    ...(metadata.uid === undefined ? {} : { nodeUid: metadata.uid }),
    since: now,
    state: type === 'adopt' ? 'adopted' : 'given',
  });

const allocatedOf = (node: CiliumNode | undefined): Allocated =>
  (node?.spec.ipam?.pools?.allocated ?? []).map(({ pool, cidrs = [], ...rest }) => ({
    ...rest,
    pool,
    cidrs: cidrs.map((text) => String(Prefix.parse(text, { hostBits: 'clear' }))),
  }));

const has = (allocated: Allocated, cidr: Prefix): boolean =>
  allocated.some(({ cidrs }) => cidrs.includes(cidr));

function add(allocated: Allocated, pool: string, cidr: Prefix): void {
  const row = allocated.find((each) => each.pool === pool);
  if (row === undefined) allocated.push({ pool, cidrs: [cidr] });
  else row.cidrs.push(cidr);
}

function remove(allocated: Allocated, cidr: Prefix): boolean {
  let found = false;
  for (const row of allocated) {
    const at = row.cidrs.indexOf(cidr);
    if (at < 0) continue;
    row.cidrs.splice(at, 1);
    found = true;
  }
  return found;
}

/** @param forced the node's wishes go too: what comes back alive asks anew. */
function withPools(node: CiliumNode, allocated: Allocated, forced: boolean): CiliumNode {
  const ipam = node.spec.ipam ?? {};
  const pools = {
    ...ipam.pools,
    ...(forced ? { requested: [] } : {}),
    allocated: allocated.filter(({ cidrs }) => cidrs.length > 0),
  };
  const { metadata } = node;
  return {
    ...node,
    metadata: { ...metadata, generation: (metadata.generation ?? 0) + 1 },
    spec: { ...node.spec, ipam: { ...ipam, pools } },
  };
}
