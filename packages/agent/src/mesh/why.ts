import { Address, Prefix } from '@causeway/ip';
import { decodeIp, type MeshPeerRow, statePrefix } from '@causeway/mesh';
import { AgentError } from '../errors.ts';
import type { AgentMesh } from './mesh.ts';

/** For so long a peer's store is asked for the name of a pod, which is not kept here. */
const ASK_MS = 2000;
const MAX_REFUSED = 50;

/** What one cluster says of an address. */
export interface AddressClaim {
  readonly cluster: string;
  /** Whether it is in force: of several claims one is. */
  readonly wins: boolean;
  readonly identity: number;
  /** Undefined: the cluster has not said what the number means. */
  readonly labels: readonly string[] | undefined;
  readonly hostIP: string | undefined;
  /** `namespace/name`, as the cluster's store has it. */
  readonly pod: string | undefined;
  /** Of another cluster: how it fares. */
  readonly peer: PeerAge | undefined;
}

export interface PeerAge {
  readonly state: MeshPeerRow['state'];
  /** Since the last contact, while there is none. */
  readonly ageSeconds: number | undefined;
  readonly reason: string | undefined;
}

export interface Refused {
  readonly cluster: string;
  readonly key: string;
  readonly reason: string;
}

export interface AddressWhy {
  readonly type: 'address';
  readonly address: string;
  readonly claims: readonly AddressClaim[];
  /** Nodes that have it, or in whose pod CIDR it lies. */
  readonly nodes: readonly {
    readonly cluster: string;
    readonly name: string;
    readonly as: string;
  }[];
  /** Why no peer could have it. */
  readonly ours: string | undefined;
  /** What was said of it and is not believed. */
  readonly refused: readonly Refused[];
}

export interface PeerWhy {
  readonly type: 'peer';
  readonly peer: MeshPeerRow;
  readonly ageSeconds: number | undefined;
  readonly problems: readonly string[];
  readonly refused: readonly Refused[];
}

/** What is known of an address, or of a peer by its name, and why it is so. Throws AgentError. */
export async function meshWhy(mesh: AgentMesh, what: string): Promise<AddressWhy | PeerWhy> {
  const address = Address.tryParse(what);
  if (address !== undefined) return whyAddress(mesh, address);
  const peer = mesh.table.get(what);
  if (peer === undefined) {
    throw new AgentError('not-found', `${what} is neither an address nor a peer cluster`, {
      field: 'what',
      value: what,
      hint: 'causeway mesh peers lists the peers',
    });
  }
  return {
    type: 'peer',
    peer,
    ageSeconds: ageOf(mesh, peer)?.ageSeconds,
    problems: (mesh.peers?.problems() ?? []).filter((each) => each.startsWith(`${what} `)),
    refused: refusals(mesh, ({ cluster }) => cluster === what),
  };
}

async function whyAddress(mesh: AgentMesh, address: Address): Promise<AddressWhy> {
  const { ipEntries, identities } = mesh.tables;
  const [winner] = ipEntries.claims(address);
  const claims = await Promise.all(
    ipEntries.claims(address).map(async (entry): Promise<AddressClaim> => {
      const { cluster, identity, hostIP } = entry;
      return {
        cluster,
        wins: entry === winner || cluster === winner?.cluster,
        identity,
        labels: identities.get(identity)?.labels.toStrings(),
        hostIP,
        pod: entry.pod ?? (await podOf(mesh, cluster, address)),
        peer: ageOf(mesh, mesh.table.get(cluster)),
      };
    }),
  );
  return {
    type: 'address',
    address,
    claims,
    nodes: [...nodesOf(mesh, address)],
    ours: mesh.ranges.refusal(address),
    refused: refusals(mesh, ({ key }) => key.endsWith(`/${address}`) || covers(key, address)),
  };
}

/** The key of an entry with a mask, or of a node's own: `.../10.0.0.0/8`. */
function covers(key: string, address: Address): boolean {
  const prefix = Prefix.tryParse(key.split('/').slice(-2).join('/'), { hostBits: 'clear' });
  return prefix !== undefined && Prefix.contains(prefix, address);
}

function* nodesOf(mesh: AgentMesh, address: Address): Generator<AddressWhy['nodes'][number]> {
  for (const { cluster, name, addresses, podCIDRs } of mesh.tables.nodes.rows()) {
    for (const { type, ip } of addresses) if (ip === address) yield { cluster, name, as: type };
    for (const cidr of [...podCIDRs.ipv4, ...podCIDRs.ipv6]) {
      if (Prefix.contains(cidr, address)) yield { cluster, name, as: `pod CIDR ${cidr}` };
    }
  }
}

function refusals(mesh: AgentMesh, of: (row: Refused) => boolean): Refused[] {
  const found: Refused[] = [];
  for (const row of mesh.tables.rejected.rows()) {
    if (found.length >= MAX_REFUSED) break;
    if (of(row)) found.push({ cluster: row.cluster, key: row.key, reason: row.reason });
  }
  return found;
}

function ageOf(mesh: AgentMesh, peer: MeshPeerRow | undefined): PeerAge | undefined {
  if (peer === undefined) return undefined;
  const { state, lastContact, reason } = peer;
  const age = lastContact === undefined ? undefined : (mesh.now() - lastContact) / 1000;
  return { state, reason, ageSeconds: age === undefined ? undefined : Math.round(age) };
}

/** Names are asked of the store when a person asks: for a million entries nobody keeps them. */
async function podOf(
  mesh: AgentMesh,
  cluster: string,
  address: Address,
): Promise<string | undefined> {
  const store = mesh.peers?.get(cluster)?.store;
  if (store === undefined) return undefined;
  try {
    const key = statePrefix('ip', cluster, store.tree) + address;
    const entry = await store.kv.get(key, { deadline: ASK_MS });
    if (entry === undefined) return undefined;
    const { namespace, pod } = decodeIp(entry.text);
    return pod === '' ? undefined : `${namespace}/${pod}`;
  } catch {
    // It is a name for a person: without it the rest is said.
    return undefined;
  }
}
