import { EXIT } from '../errors.ts';
import { printJson, printLine, printTable } from '../output/print.ts';
import type { Invocation } from '../program/invocation.ts';
import { askAll } from './agents.ts';

/** The part of the agents' answers that is shown; all of them come with --json. */
interface Peer {
  readonly name: string;
  readonly source: string;
  readonly id?: number;
  readonly endpoint: string;
  readonly state: string;
  readonly reason?: string;
  readonly losses: number;
  readonly ageSeconds?: number;
  readonly counts: Readonly<Record<string, number>>;
}

interface Mesh {
  readonly cluster: string;
  readonly id: number;
  readonly access: string;
  readonly graceSeconds: number;
  readonly peers: readonly Peer[];
  readonly keep?: { readonly directory: string; readonly bytes: number };
  readonly problems: readonly string[];
}

interface Refused {
  readonly cluster: string;
  readonly key: string;
  readonly reason: string;
}

interface Claim {
  readonly cluster: string;
  readonly wins: boolean;
  readonly identity: number;
  readonly labels?: readonly string[];
  readonly hostIP?: string;
  readonly pod?: string;
  readonly peer?: {
    readonly state: string;
    readonly ageSeconds?: number;
    readonly reason?: string;
  };
}

type Why =
  | {
      readonly type: 'address';
      readonly address: string;
      readonly claims: readonly Claim[];
      readonly nodes: readonly {
        readonly cluster: string;
        readonly name: string;
        readonly as: string;
      }[];
      readonly ours?: string;
      readonly refused: readonly Refused[];
    }
  | {
      readonly type: 'peer';
      readonly peer: Peer;
      readonly ageSeconds?: number;
      readonly problems: readonly string[];
      readonly refused: readonly Refused[];
    };

interface NodeMesh {
  readonly node: string;
  readonly mesh: Mesh;
}

async function ask(invocation: Invocation): Promise<NodeMesh[]> {
  const answers = await invocation.withTarget((target) =>
    askAll(target, (agent) => agent.get('/v1/mesh'), invocation.json),
  );
  return answers.map(({ node, body }) => ({ node, mesh: body as Mesh }));
}

/** One that is ready has an age only while its store does not answer. */
const isWell = ({ state, ageSeconds }: Peer): boolean =>
  (state === 'ready' && ageSeconds === undefined) || state === 'suspended';

/** Exit status 1 when a node does not read a peer: for scripts that wait. */
export async function status(invocation: Invocation): Promise<void> {
  const all = await ask(invocation);
  if (all.some(({ mesh }) => mesh.problems.length > 0 || !mesh.peers.every(isWell))) {
    process.exitCode = EXIT.failure;
  }
  if (invocation.json) return printJson(all);
  printTable(
    all,
    [
      { heading: 'NODE', cell: ({ node }) => node },
      { heading: 'CLUSTER', cell: ({ mesh }) => mesh.cluster },
      { heading: 'ID', cell: ({ mesh }) => mesh.id },
      { heading: 'ACCESS', cell: ({ mesh }) => mesh.access },
      { heading: 'PEERS', cell: ({ mesh }) => mesh.peers.length },
      { heading: 'READY', cell: ({ mesh }) => mesh.peers.filter(isWell).length },
      { heading: 'KEPT', cell: ({ mesh }) => keptText(mesh.keep) },
    ],
    'no nodes',
  );
  for (const { node, mesh } of all) {
    if (mesh.id === 0) printLine(`${node}: cluster ${mesh.cluster} has id 0 and is in no mesh`);
    for (const problem of mesh.problems) printLine(`${node}: ${problem}`);
    for (const peer of mesh.peers) {
      if (!isWell(peer)) printLine(`${node}: ${peer.name}: ${stateText(peer)}`);
    }
  }
}

export async function list(invocation: Invocation): Promise<void> {
  const rows = (await ask(invocation)).flatMap(({ node, mesh }) =>
    mesh.peers.map((peer) => ({ node, peer })),
  );
  if (invocation.json) return printJson(rows.map(({ node, peer }) => ({ node, ...peer })));
  const count =
    (kind: string) =>
    ({ peer }: { peer: Peer }) =>
      peer.counts[kind] ?? 0;
  printTable(
    rows,
    [
      { heading: 'NODE', cell: ({ node }) => node },
      { heading: 'PEER', cell: ({ peer }) => peer.name },
      { heading: 'ID', cell: ({ peer }) => peer.id },
      { heading: 'STATE', cell: ({ peer }) => peer.state },
      { heading: 'AGE', cell: ({ peer }) => ageText(peer.ageSeconds) },
      { heading: 'NODES', cell: count('nodes') },
      { heading: 'ENTRIES', cell: count('ip') },
      { heading: 'IDENTITIES', cell: count('identities') },
      {
        heading: 'SERVICES',
        cell: ({ peer }) => (peer.counts.services ?? 0) + (peer.counts['service-backends'] ?? 0),
      },
      { heading: 'REFUSED', cell: count('rejected') },
      { heading: 'ENDPOINT', cell: ({ peer }) => peer.endpoint },
      { heading: 'REASON', cell: ({ peer }) => peer.reason },
    ],
    'no peer clusters',
  );
}

export async function why(invocation: Invocation, [what]: readonly string[]): Promise<void> {
  const query = new URLSearchParams({ what: what! });
  const answers = await invocation.withTarget((target) =>
    askAll(target, (agent) => agent.get(`/v1/mesh/why?${query}`), invocation.json),
  );
  const all = answers.map(({ node, body }) => ({ node, why: body as Why }));
  if (invocation.json) return printJson(all);
  // What all nodes say alike is said once.
  const texts = Map.groupBy(all, (each) => sentences(each.why).join('\n'));
  for (const [text, nodes] of texts) {
    if (texts.size > 1) printLine(`${nodes.map(({ node }) => node).join(', ')}:`);
    printLine(text);
  }
}

function sentences(answer: Why): string[] {
  const refused = answer.refused.map(
    ({ cluster, key, reason }) => `refused: ${cluster} says ${key}: ${reason}`,
  );
  if (answer.type === 'peer') {
    const { peer, problems } = answer;
    const counts = Object.entries(peer.counts).map(([kind, number]) => `${number} ${kind}`);
    return [
      `${peer.name}${peer.id === undefined ? '' : ` (id ${peer.id})`} at ${peer.endpoint}, described by its ${peer.source === 'file' ? 'file' : 'MeshPeer'}: ${stateText(peer)}`,
      `known of it: ${counts.join(', ')}; losses within the grace: ${peer.losses}`,
      ...problems,
      ...refused,
    ];
  }
  const { address, claims, nodes, ours } = answer;
  const lines = claims.map((claim) => claimText(address, claim));
  for (const { cluster, name, as } of nodes) {
    lines.push(`${address} is of node ${name} of cluster ${cluster}: ${as}`);
  }
  if (ours !== undefined) lines.push(`no peer could have it: ${ours}`);
  lines.push(...refused);
  return lines.length === 0 ? [`no cluster says anything of ${address}`] : lines;
}

function claimText(address: string, claim: Claim): string {
  const { cluster, wins, identity, labels, hostIP, pod, peer } = claim;
  const who = pod === undefined ? '' : `, pod ${pod}`;
  const host = hostIP === undefined ? '' : `, behind ${hostIP}`;
  const meaning = labels === undefined ? 'labels not known' : labels.join(' ');
  const age =
    peer === undefined || peer.state === 'ready'
      ? ''
      : `; the peer is ${peer.state}${peer.ageSeconds === undefined ? '' : ` for ${ageText(peer.ageSeconds)}`}`;
  const force = wins ? '' : ', which has no effect: another cluster has the address';
  return `${address} is of cluster ${cluster}: identity ${identity} (${meaning})${who}${host}${force}${age}`;
}

function stateText({ state, reason, ageSeconds }: Peer): string {
  const age = ageSeconds === undefined ? '' : `, last in contact ${ageText(ageSeconds)} ago`;
  return `${state}${age}${reason === undefined ? '' : `: ${reason}`}`;
}

/** How much of what peers said last a start would find, and where. */
function keptText(keep: Mesh['keep']): string | undefined {
  if (keep === undefined) return undefined;
  const { bytes, directory } = keep;
  if (bytes < 1024) return `${bytes} B in ${directory}`;
  const mebi = 1024 * 1024;
  const size = bytes < mebi ? `${Math.round(bytes / 1024)} KiB` : `${Math.round(bytes / mebi)} MiB`;
  return `${size} in ${directory}`;
}

function ageText(seconds: number | undefined): string | undefined {
  if (seconds === undefined) return undefined;
  if (seconds < 120) return `${seconds} s`;
  return seconds < 7200 ? `${Math.round(seconds / 60)} min` : `${Math.round(seconds / 3600)} h`;
}
