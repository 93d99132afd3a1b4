import { Address, Prefix } from '@causeway/ip';
import { CliError } from '../errors.ts';
import {
  printJson,
  printLine,
  printRows,
  printTable,
  printYaml,
  type Row,
} from '../output/print.ts';
import { type Column, formatTable } from '../output/table.ts';
import type { Invocation } from '../program/invocation.ts';
import { askAll, foldRows, mergeRows, type NodeAnswer } from './agents.ts';
import { endpointsOf } from './host-endpoints.ts';

export type Query = (invocation: Invocation, args: readonly string[]) => Promise<void>;

interface Listing {
  readonly path: string;
  /** Columns that stand first. */
  readonly first: readonly string[];
  readonly empty: string;
  /** What a person is shown of a row. */
  readonly shape?: (row: Row) => Row;
  /** Whether what nodes say alike is shown once. */
  readonly fold?: boolean;
}

/** A command that gets one path from every node and prints the rows; with --json as they are. */
function listing({ path, first, empty, shape = (row) => row, fold = false }: Listing): Query {
  return async (invocation) => {
    const all = await answers(invocation, path);
    const rows = mergeRows(all);
    if (invocation.json) return printJson(rows);
    const shaped = rows.map(shape);
    const shown = fold ? foldRows(shaped, all.length) : shaped;
    await printRows(shown, ['asked', 'node', ...first], empty);
  };
}

export function answers({ withTarget, json }: Invocation, path: string): Promise<NodeAnswer[]> {
  return withTarget((target) => askAll(target, (agent) => agent.get(path), json));
}

const ENDPOINT_COLUMNS: readonly Column<Row>[] = [
  { heading: 'NODE', cell: (row) => row.node },
  { heading: 'ID', cell: (row) => row.id },
  {
    heading: 'POD',
    cell: (row) => {
      if (row.isNode === true) return 'the node itself';
      return row.podName === undefined
        ? undefined
        : `${String(row.podNamespace)}/${String(row.podName)}`;
    },
  },
  { heading: 'IPV4', cell: (row) => field(row.addresses, 'ipv4') },
  { heading: 'IPV6', cell: (row) => field(row.addresses, 'ipv6') },
  { heading: 'IDENTITY', cell: (row) => row.identity },
  {
    heading: 'INGRESS',
    cell: (row) => (field(row.policy, 'ingress') === true ? 'enforced' : 'open'),
  },
  {
    heading: 'EGRESS',
    cell: (row) => (field(row.policy, 'egress') === true ? 'enforced' : 'open'),
  },
  {
    heading: 'STATE',
    cell: (row) =>
      field(row.policy, 'audit') === true ? `${String(row.state)} (audit)` : row.state,
  },
];

const allEndpoints = async ({ withTarget, json }: Invocation): Promise<Row[]> =>
  mergeRows(await withTarget((target) => askAll(target, endpointsOf, json)));

export const endpointList: Query = async (invocation) => {
  const rows = await allEndpoints(invocation);
  if (invocation.json) printJson(rows);
  else printTable(rows, ENDPOINT_COLUMNS, 'no endpoints');
};

export const endpointGet: Query = async (invocation, [wanted]) => {
  const rows = await allEndpoints(invocation);
  await printOne(invocation, findEndpoint(rows, wanted!));
};

export const endpointAudit: Query = async (invocation, [wanted]) => {
  const audit = invocation.options.off !== true;
  const changed = await invocation.withTarget(async (target) => {
    const rows = mergeRows(
      await askAll(target, (agent) => agent.get('/v1/endpoints'), invocation.json),
    );
    const row = findEndpoint(rows, wanted!);
    const agent = target.agents.find(({ node }) => node === row.node);
    return agent!.ask('PATCH', `/v1/endpoints/${String(row.id)}`, { policyAudit: audit });
  });
  await printOne(invocation, changed);
};

/** By number (then of one node only), container id or its start, pod, or address. */
function findEndpoint(rows: readonly Row[], wanted: string): Row {
  const address = Address.tryParse(wanted);
  const found = rows.filter((row) => {
    if (address !== undefined)
      return field(row.addresses, 'ipv4') === address || field(row.addresses, 'ipv6') === address;
    if (/^[0-9]{1,5}$/.test(wanted)) return String(row.id) === wanted;
    if (/^[0-9a-f]{6,}$/.test(wanted) && String(row.containerId).startsWith(wanted)) return true;
    return (
      `${String(row.podNamespace)}/${String(row.podName)}` ===
      (wanted.includes('/') ? wanted : `default/${wanted}`)
    );
  });
  if (found.length === 1) return found[0]!;
  throw new CliError(
    'not-found',
    found.length === 0
      ? `no endpoint is ${wanted}`
      : `${wanted} is an endpoint on ${found.map((row) => String(row.node)).join(' and ')}`,
    {
      field: 'id',
      value: wanted,
      hint: found.length === 0 ? 'causeway endpoint list shows all' : 'add --node',
    },
  );
}

export const identityList = listing({
  path: '/v1/identities',
  first: ['id', 'labels'],
  empty: 'no identities',
  fold: true,
});

export const identityGet: Query = async (invocation, [wanted]) => {
  if (!/^[0-9]{1,10}$/.test(wanted!))
    throw new CliError('bad-input', `an identity is a number, not ${wanted}`, {
      field: 'number',
      value: wanted,
    });
  const rows = mergeRows(await answers(invocation, '/v1/identities'));
  const found = rows.find((row) => String(row.id ?? row.identity) === wanted);
  if (found === undefined)
    throw new CliError('not-found', `no node asked knows identity ${wanted}`, {
      field: 'number',
      value: wanted,
    });
  await printOne(invocation, found);
};

export const serviceList = listing({
  path: '/v1/services',
  first: ['namespace', 'name', 'frontend'],
  empty: 'no services',
  fold: true,
  // The numbers in the maps are each node's own.
  shape: ({ node, namespace, name, frontend, algorithm, affinitySeconds, backends, ...rest }) => ({
    node,
    namespace,
    name,
    frontend,
    type: rest.type,
    outside: outsideText(rest),
    algorithm,
    ...(Number(affinitySeconds) > 0 ? { affinity: `${Number(affinitySeconds)} s` } : {}),
    backends: Array.isArray(backends) ? backendTexts(backends, rest.tiers) : backends,
  }),
});

/** How clients outside of the cluster are served. */
function outsideText({ external, trafficPolicy, forwarding, sourceRanges }: Row): string {
  if (external !== true) return 'closed';
  const how = trafficPolicy === 'Local' ? 'local' : String(forwarding);
  return Array.isArray(sourceRanges) ? `${how}, from ${sourceRanges.join(' ')}` : how;
}

/** Cluster and tier are told where there is more than one. */
function backendTexts(backends: readonly unknown[], tiers: unknown): string[] {
  const clusters = (Array.isArray(tiers) ? tiers : []) as readonly (readonly string[])[];
  return backends.map((each) => backendText(each as Row, clusters.flat().length > 1));
}

function backendText(backend: Row, meshed: boolean): string {
  const { backend: address, state, excluded, weight, cluster, tier } = backend;
  const remarks = [
    ...(meshed ? [`${String(cluster)}, tier ${String(tier)}`] : []),
    ...(state === 'active' ? [] : [String(state)]),
    ...(excluded === 'failing' ? ['fails its check'] : []),
    ...(weight === undefined || weight === 100 ? [] : [`weight ${String(weight)}`]),
  ];
  return remarks.length === 0 ? String(address) : `${String(address)} (${remarks.join(', ')})`;
}

/** `10.52.0.1:80`, `[fd52::1]:80/UDP`, `*4:30080`: as the agents write frontends, TCP if nothing is said. */
const FRONTEND = /^(?:\*[46]|[0-9.]+|\[[0-9a-fA-F:.]+\]):[0-9]{1,5}(\/(?:TCP|UDP|SCTP))?$/;

function whyQuery(wanted: string, options: Readonly<Record<string, unknown>>): URLSearchParams {
  const query = new URLSearchParams();
  const frontend = FRONTEND.exec(wanted);
  if (frontend !== null) {
    query.set('frontend', frontend[1] === undefined ? `${wanted}/TCP` : wanted);
  } else {
    const [namespace, name] = wanted.includes('/') ? wanted.split('/', 2) : ['default', wanted];
    query.set('namespace', namespace!);
    query.set('name', name!);
  }
  for (const option of ['port', 'client', 'from']) {
    if (options[option] !== undefined) query.set(option, String(options[option]));
  }
  return query;
}

export const serviceWhy: Query = async (invocation, [wanted]) => {
  const query = whyQuery(wanted!, invocation.options);
  const rows = await answers(invocation, `/v1/services/why?${query}`);
  if (invocation.json) return printJson(rows.map(({ node, body }) => ({ node, why: body })));
  for (const { node, body } of rows) {
    printLine(`# ${node}`);
    await printYaml(body);
  }
};

export const healthChecks = listing({
  path: '/v1/tables/health-checks',
  first: ['service', 'backend', 'kind', 'verdict', 'reason'],
  empty: 'no service has a health check with a backend to try from here',
});

export const egressList = listing({
  path: '/v1/tables/egress-policies',
  first: ['policy', 'gateway', 'candidates', 'addresses', 'pods', 'problems'],
  empty: 'no egress policies',
});

export const policyList = listing({
  path: '/v1/policy',
  first: ['endpoint', 'id', 'pod', 'identity'],
  empty: 'no endpoints',
});

export const ipcacheList = listing({
  path: '/v1/ipcache',
  first: ['prefix', 'identity', 'tunnelEndpoint'],
  empty: 'no entries',
});

export const ipcacheGet: Query = async (invocation, [wanted]) => {
  const address = Address.tryParse(wanted!);
  if (address === undefined)
    throw new CliError('bad-input', `${wanted} is not an IPv4 or IPv6 address`, {
      field: 'address',
      value: wanted,
    });
  const all = await answers(invocation, '/v1/ipcache');
  const found = all.flatMap(({ node, body }) => {
    const best = longestMatch(mergeRows([{ node, body }]), address);
    return best === undefined ? [] : [best];
  });
  if (found.length === 0)
    throw new CliError('not-found', `no ipcache entry covers ${address}: it is world`, {
      field: 'address',
      value: address,
    });
  if (invocation.json) printJson(found);
  else
    await printRows(
      foldRows(found, all.length),
      ['node', 'prefix', 'identity', 'tunnelEndpoint'],
      '',
    );
};

/** What the datapath's lookup gives: the exact address, else the longest prefix. */
export function longestMatch(rows: readonly Row[], address: Address): Row | undefined {
  let best: { row: Row; length: number } | undefined;
  for (const row of rows) {
    const prefix = typeof row.prefix === 'string' ? tryPrefix(row.prefix) : undefined;
    if (prefix === undefined || !Prefix.contains(prefix, address)) continue;
    const length = Prefix.length(prefix);
    if (best === undefined || length > best.length) best = { row, length };
  }
  return best?.row;
}

function tryPrefix(text: string): Prefix | undefined {
  try {
    return Prefix.parseLoose(text);
  } catch {
    return undefined;
  }
}

export const nodeList = listing({
  path: '/v1/nodes',
  first: ['name', 'cluster', 'addresses', 'podCIDRs'],
  empty: 'no nodes',
  // Each node has its own way to each other: `node ways`.
  shape: ({ way: _, ...row }) => row,
  fold: true,
});

export const drops: Query = async (invocation) => {
  const all = await answers(invocation, '/v1/drops');
  if (invocation.json) return printJson(all.map(({ node, body }) => ({ node, ...(body as Row) })));
  const part = (name: string): Row[] =>
    all.flatMap(({ node, body }) => mergeRows([{ node, body: (body as Row)[name] ?? [] }]));
  await printRows(
    part('counters'),
    ['node', 'reason', 'direction', 'packets', 'bytes'],
    'nothing was dropped',
  );
  const recent = part('recent');
  if (recent.length === 0) return;
  printLine('');
  printLine(
    formatTable(recent, [
      { heading: 'NODE', cell: (row) => row.node },
      {
        heading: 'LAST DROPS',
        cell: (row) => row.text ?? row.summary ?? JSON.stringify({ ...row, node: undefined }),
      },
    ]),
  );
};

export const table: Query = async (invocation, [name]) => {
  if (name === undefined) {
    const names = new Set(
      (await answers(invocation, '/v1/tables')).flatMap(({ body }) => body as string[]),
    );
    if (invocation.json) printJson([...names].sort());
    else printLine([...names].sort().join('\n'));
    return;
  }
  const rows = listing({
    path: `/v1/tables/${encodeURIComponent(name)}`,
    first: [],
    empty: `table ${name} is empty`,
  });
  await rows(invocation, []);
};

export const metrics = listing({ path: '/v1/metrics/datapath', first: [], empty: 'no counters' });

export async function printOne({ json }: Invocation, value: unknown): Promise<void> {
  if (json) printJson(value);
  else await printYaml(value);
}

export function field(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null ? (value as Row)[name] : undefined;
}
