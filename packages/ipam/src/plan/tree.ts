import { Prefix } from '@causeway/ip';
import type { PlanNode, PlanRange } from './types.ts';

/** Addresses in use within a range; undefined where nobody knows. */
export type PlanUsage = (range: PlanRange) => bigint | undefined;

type Level = 'region' | 'vpc' | 'cluster';
const LEVELS: readonly Level[] = ['region', 'vpc', 'cluster'];

/**
 * The ranges as a tree: region, VPC, cluster, range, and below a range of the plan the objects' ranges in it. A
 * part that a range does not name is taken from the plan's entry that holds it, else its level is left out.
 */
export function planTree(
  ranges: readonly PlanRange[],
  usage: PlanUsage = () => undefined,
): PlanNode[] {
  const plan = ranges.filter(({ level }) => level === 'plan');
  const rest = ranges
    .filter(({ level }) => level === 'object')
    .map((range) => ({ range, inside: holder(range, plan) }));
  const leaf = (range: PlanRange): PlanNode => {
    const children = rest.filter(({ inside }) => inside === range).map((one) => leaf(one.range));
    const used = usage(range) ?? sumUsed(children);
    return {
      type: 'range',
      name: range.cidr,
      cidrs: [range.cidr],
      use: range.use,
      owner: range.owner,
      size: Prefix.size(range.cidr),
      ...(used === undefined ? {} : { used }),
      children,
    };
  };
  const loose = rest
    .filter(({ inside }) => inside === undefined)
    .map(({ range }) => placed(range, plan));
  const branch = (members: readonly PlanRange[], depth: number): PlanNode[] => {
    const level = LEVELS[depth];
    if (level === undefined) return members.toSorted(byRange).map(leaf);
    const groups = Map.groupBy(members, ({ scope }) => scope[level]);
    const nodes: PlanNode[] = [];
    for (const [name, group] of [...groups].sort(([a], [b]) => ((a ?? '') < (b ?? '') ? -1 : 1))) {
      // Ranges without this part stand beside those that have it.
      if (name === undefined) {
        nodes.push(...branch(group, depth + 1));
        continue;
      }
      const own = level === 'vpc' ? group.filter(({ use }) => use === 'vpc') : [];
      const children = branch(
        group.filter((range) => !own.includes(range)),
        depth + 1,
      );
      const cidrs = own.map(({ cidr }) => cidr);
      const used = sumUsed(children);
      nodes.push({
        type: level,
        name,
        cidrs,
        size: sizeOf(cidrs.length > 0 ? cidrs : children.flatMap((child) => child.cidrs)),
        ...(used === undefined ? {} : { used }),
        children,
      });
    }
    return nodes;
  };
  return branch([...plan, ...loose], 0);
}

/** The tree as lines of text, the way `tree` draws one. */
export function planText(nodes: readonly PlanNode[]): string[] {
  const lines: string[] = [];
  const draw = (children: readonly PlanNode[], indent: string, root: boolean): void => {
    for (const [index, node] of children.entries()) {
      const last = index === children.length - 1;
      const mark = root ? '' : last ? '└─ ' : '├─ ';
      lines.push(`${indent}${mark}${lineOf(node)}`);
      draw(node.children, `${indent}${root ? '' : last ? '   ' : '│  '}`, false);
    }
  };
  draw(nodes, '', true);
  return lines;
}

function lineOf(node: PlanNode): string {
  const used = node.used === undefined ? '' : `  ${node.used} of ${sizeText(node.size)} used`;
  if (node.type === 'range') return `${node.name}  ${node.use}  ${node.owner}${used}`;
  const cidrs = node.cidrs.length === 0 ? '' : `  ${node.cidrs.join(' ')}`;
  return `${node.type} ${node.name}${cidrs}${used}`;
}

/** Large IPv6 ranges as a power of two. */
function sizeText(size: bigint): string {
  if (size < 1n << 32n) return String(size);
  const text = size.toString(2);
  return /^10*$/.test(text) ? `2^${text.length - 1}` : `about 2^${text.length - 1}`;
}

/** The smallest entry of the plan that an object's range lies in and that is of its cluster and use. */
function holder(range: PlanRange, plan: readonly PlanRange[]): PlanRange | undefined {
  return plan
    .filter(
      (entry) =>
        entry.use === range.use &&
        (range.scope.cluster === undefined || entry.scope.cluster === range.scope.cluster) &&
        Prefix.covers(entry.cidr, range.cidr),
    )
    .sort((a, b) => Prefix.length(b.cidr) - Prefix.length(a.cidr))[0];
}

/** An object outside the plan, put where its cluster is if the plan knows that. */
function placed(range: PlanRange, plan: readonly PlanRange[]): PlanRange {
  const { cluster } = range.scope;
  const entry = plan.find(({ scope }) => cluster !== undefined && scope.cluster === cluster);
  return entry === undefined ? range : { ...range, scope: { ...entry.scope, ...range.scope } };
}

function sumUsed(nodes: readonly PlanNode[]): bigint | undefined {
  const known = nodes.flatMap(({ used }) => (used === undefined ? [] : [used]));
  return known.length === 0 ? undefined : known.reduce((sum, used) => sum + used, 0n);
}

const sizeOf = (cidrs: readonly Prefix[]): bigint =>
  cidrs.reduce((sum, cidr) => sum + Prefix.size(cidr), 0n);
const byRange = (a: PlanRange, b: PlanRange): number =>
  a.use === b.use ? Prefix.compare(a.cidr, b.cidr) : a.use < b.use ? -1 : 1;
