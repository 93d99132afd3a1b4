import { Address, Prefix } from '@causeway/ip';
import { planText } from '@causeway/ipam';
import {
  claimViews,
  drainReport,
  nodeViews,
  planView,
  poolViews,
  readWorld,
  requestRelease,
  switchAddress,
  type World,
  whyAddress,
} from '@causeway/operator';
import { CliError } from '../errors.ts';
import { printJson, printLine, printTable, type Row } from '../output/print.ts';
import type { Column } from '../output/table.ts';
import type { Invocation } from '../program/invocation.ts';

/** Every question is answered from the cluster's store, by the functions that the operator answers with. */

const RELEASE_MS = 20_000;

const world = ({ withTarget }: Invocation): Promise<World> =>
  withTarget(async (target) => readWorld(await target.kv(), await target.store()));

/** Columns in order, a heading a field. */
const columns = (fields: readonly string[]): Column<Row>[] =>
  fields.map((field) => ({
    heading: field.replace(/[A-Z]/g, (letter) => `-${letter}`).toUpperCase(),
    cell: (row) => row[field],
  }));

function show(
  { json }: Invocation,
  rows: readonly object[],
  fields: readonly string[],
  empty: string,
): void {
  if (json) printJson(rows);
  else printTable(rows as readonly Row[], columns(fields), empty);
}

export async function ipamPools(invocation: Invocation): Promise<void> {
  const rows = poolViews(await world(invocation));
  const fields = [
    'pool',
    'family',
    'ranges',
    'closed',
    'size',
    'given',
    'free',
    'pods',
    'nodes',
    'waiting',
  ];
  show(invocation, rows, fields, 'no pools: apply a CiliumPodIPPool');
  if (invocation.json) return;
  for (const { pool, problems } of rows) {
    for (const problem of problems) printLine(`${pool}: ${problem}`);
  }
}

export async function ipamNodes(invocation: Invocation): Promise<void> {
  const rows = nodeViews(await world(invocation));
  show(invocation, rows, ['node', 'pool', 'cidr', 'state', 'pods', 'since'], 'no nodes');
  if (invocation.json) return;
  const errors = new Map(rows.map(({ node, error }) => [node, error]));
  for (const [node, error] of errors) if (error !== '') printLine(`${node}: ${error}`);
}

export async function ipamClaims(invocation: Invocation): Promise<void> {
  const rows = claimViews(await world(invocation));
  const fields = ['address', 'owner', 'state', 'node', 'home', 'partner', 'standby', 'reservation'];
  show(invocation, rows, fields, 'no address stays with an owner');
}

export async function ipamVips(invocation: Invocation): Promise<void> {
  const { vips, vipsWaiting } = await world(invocation);
  const waiting = vipsWaiting.map(({ service, why }) => ({ services: [service], why }));
  const fields = ['address', 'services', 'pool', 'sharingKey', 'why'];
  show(
    invocation,
    [...vips, ...waiting],
    fields,
    'no Service is of type LoadBalancer: they are given addresses out of CiliumLoadBalancerIPPools',
  );
}

export async function ipamPlan(invocation: Invocation): Promise<void> {
  const tree = planView(await world(invocation));
  if (invocation.json) return printJson(tree);
  if (tree.length === 0) printLine('no ranges: apply an AddressPlan, or a CiliumPodIPPool');
  for (const line of planText(tree)) printLine(line);
}

export async function ipamDrain(invocation: Invocation, [text]: readonly string[]): Promise<void> {
  const cidr = Prefix.tryParse(text!, { hostBits: 'clear' });
  if (cidr === undefined) {
    throw new CliError('bad-usage', `${text} is not a CIDR`, {
      field: 'cidr',
      value: text,
      hint: 'write it as 10.0.0.0/24 or fd00::/64',
    });
  }
  const report = drainReport(await world(invocation), cidr);
  if (invocation.options.restartList === true) {
    if (invocation.json) printJson(report.restart);
    else for (const workload of report.restart) printLine(workload);
    return;
  }
  if (invocation.json) return printJson(report);
  const { pool, closed, empty, blocks, claims, next } = report;
  const state = empty ? 'empty' : closed ? 'draining' : 'open';
  printLine(`${cidr}  ${state}${pool === undefined ? '' : `  in pool ${pool}`}`);
  for (const block of blocks) {
    const pods = block.pods.length === 0 ? 'no pods' : block.pods.join(' ');
    printLine(`  ${block.cidr}  ${block.node}  ${pods}`);
  }
  for (const { address, owner } of claims) printLine(`  ${address}  kept for ${owner}`);
  printLine(next);
}

export async function ipamWhy(invocation: Invocation, [text]: readonly string[]): Promise<void> {
  const report = whyAddress(await world(invocation), addressOf(text!));
  if (invocation.json) return printJson(report);
  if (report.facts.length === 0) printLine(report.summary);
  for (const fact of report.facts) printLine(fact);
}

export async function ipamRelease(
  invocation: Invocation,
  [node]: readonly string[],
): Promise<void> {
  if (invocation.options.force !== true) {
    throw new CliError('bad-usage', `taking the CIDRs of ${node} needs --force`, {
      field: '--force',
      hint: 'pods that still run there lose their addresses to others; a node that lives gives idle CIDRs back by itself',
    });
  }
  const held = nodeViews(await world(invocation)).filter(
    ({ state }) => state !== 'own' && state !== 'none',
  );
  const cidrs = held.filter((row) => row.node === node).map(({ cidr }) => cidr);
  if (cidrs.length === 0) {
    throw new CliError('not-found', `no node ${node} holds CIDRs of a pool`, {
      field: 'node',
      value: node,
      hint: `these do: ${[...new Set(held.map((row) => row.node))].join(', ') || '(none)'}`,
    });
  }
  const done = await invocation.withTarget(async (target) =>
    requestRelease(await target.kv(), node!, AbortSignal.timeout(RELEASE_MS)),
  );
  if (done === undefined) {
    throw new CliError(
      'unreachable',
      `no operator has released ${node} in ${RELEASE_MS / 1000} s`,
      {
        value: node,
        hint: 'the request is taken back; run it again when an operator leads',
      },
    );
  }
  if (invocation.json) printJson({ node, released: cidrs });
  else printLine(`released ${cidrs.join(' ')} of ${node}`);
}

export async function ipamSwitch(
  invocation: Invocation,
  [address, node]: readonly string[],
): Promise<void> {
  const rows = await invocation.withTarget(async (target) =>
    switchAddress(await target.kv(), addressOf(address!), node!),
  );
  if (invocation.json) return printJson(rows);
  for (const row of rows) printLine(`${row.address} of ${row.owner} is at ${row.node} now`);
}

function addressOf(text: string): Address {
  const address = Address.tryParse(text);
  if (address !== undefined) return address;
  throw new CliError('bad-usage', `${text} is not an address`, {
    field: 'address',
    value: text,
    hint: 'write it as 10.0.0.1 or fd00::1',
  });
}
