import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Secret, secretValue } from '@causeway/resources';
import { Attempts, type AttemptsResult, type Lab, type LabFile, until } from '../index.ts';
import { eventually } from './support.ts';

/** Long enough for a connection to be given up and the loss to be noticed on a busy machine. */
const SETTLE_MS = 40_000;
const FAMILIES = ['ipv4', 'ipv6'] as const;

/** The same lab with so long a grace for peers out of reach of each cluster, and so long a withdrawal. */
export function withGrace(
  file: LabFile,
  graceSeconds: (cluster: string) => number,
  withdrawSeconds: number,
): LabFile {
  return {
    ...file,
    clusters: file.clusters.map((cluster) => {
      const times = { graceSeconds: graceSeconds(cluster.name), withdrawSeconds };
      const { agent, operator } = cluster as {
        agent: Mesh;
        operator: Mesh & { mesh?: { cache?: object } };
      };
      const cache = { ...operator.mesh?.cache, ...times };
      return {
        ...cluster,
        agent: { ...agent, mesh: { ...agent.mesh, ...times } },
        operator: { ...operator, mesh: { ...operator.mesh, cache } },
      };
    }),
  };
}

interface Mesh extends Record<string, unknown> {
  readonly mesh?: object;
}

/** A service of both families over pods with the label `app`, global unless annotated otherwise. */
export function globalService(
  name: string,
  app: string,
  annotations: Readonly<Record<string, string>> = {},
): object {
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: {
      name,
      namespace: 'default',
      annotations: { 'service.cilium.io/global': 'true', ...annotations },
    },
    spec: {
      selector: { app },
      ipFamilyPolicy: 'RequireDualStack',
      ports: [
        { name: 'http', port: 8080, targetPort: 80 },
        { name: 'talk', port: 7000, targetPort: 7000 },
      ],
    },
  };
}

/** A service's own addresses in one cluster: another cluster's are its own. */
export async function serviceAddresses(
  lab: Lab,
  cluster: string,
  name: string,
): Promise<readonly string[]> {
  const store = await lab.cluster(cluster).store();
  const { spec } = await store.get('Service', { namespace: 'default', name });
  return spec.clusterIPs ?? [];
}

/** Waits until exactly these answer at each address. */
export async function answeredBy(
  lab: Lab,
  from: string,
  addresses: readonly string[],
  names: readonly string[],
): Promise<void> {
  for (const address of addresses)
    await until(
      `${address} from ${from} is answered by ${names.join(', ')}`,
      async () => {
        const seen = await lab.traffic.answers(from, address, 8080, 16);
        return seen.join() === [...names].sort().join() ? undefined : `it is by ${seen.join(', ')}`;
      },
      { timeoutMs: SETTLE_MS },
    );
}

export interface PeerRow {
  readonly name: string;
  readonly state: string;
  readonly reason?: string;
  /** Within the last grace. */
  readonly losses: number;
  readonly counts: Readonly<Record<string, number>>;
  readonly 'last-contact'?: string;
}

export async function peersOf(lab: Lab, node: string): Promise<readonly PeerRow[]> {
  return (await lab.agent(node).get('/v1/tables/mesh-peers')) as readonly PeerRow[];
}

/** Waits until a node's agent says that a peer is in one of these states; the row. */
export function peerBecomes(
  lab: Lab,
  node: string,
  peer: string,
  ...states: readonly string[]
): Promise<PeerRow> {
  return eventually(
    `${node} says that ${peer} is ${states.join(' or ')}`,
    async () => {
      const row = (await peersOf(lab, node)).find((each) => each.name === peer);
      return row !== undefined && states.includes(row.state) ? row : undefined;
    },
    SETTLE_MS,
  );
}

/** Attempts from a place at a service or a pod that go on until they are stopped; they stand on port 7000. */
export function attemptsAt(
  lab: Lab,
  from: string,
  name: string,
  addresses: readonly string[],
): Promise<Attempts> {
  const targets = addresses.map((address) => ({ name, address, port: 7000 }));
  return Attempts.start(lab, from, targets, { everyMs: 200, patienceMs: 8000 });
}

/** Targets where attempts were lost, in words. */
export function lostOf(results: readonly AttemptsResult[]): string[] {
  return results
    .filter(({ attempts, answered }) => answered < attempts)
    .map(({ address, attempts, answered }) => `${address}: ${answered} of ${attempts} answered`);
}

/** Both of a place's addresses, IPv4 first. */
export async function bothOf(lab: Lab, place: string): Promise<string[]> {
  const all = await lab.addresses(place);
  return FAMILIES.flatMap((family) =>
    all.filter((address) => address.includes(':') === (family === 'ipv6')),
  );
}

/** Ends the store, its proxies and the operators and starts them with the certificates of now, which the nodes get too. */
export async function restartStore(lab: Lab, cluster: string): Promise<void> {
  const { etcd, operators, agents } = lab.cluster(cluster);
  await etcd.stopAll();
  await etcd.start();
  for (const operator of operators) {
    await operator.configure(etcd);
    await operator.restart();
  }
  for (const agent of agents) await agent.configure(etcd);
  for (const operator of operators)
    await eventually(
      `${operator.place} leads`,
      async () => ((await operator.leads()) ? true : undefined),
      SETTLE_MS,
    );
}

/** By what one cluster's nodes, or its operators, read another's store now. */
export async function credentialsFor(lab: Lab, reader: string, peer: string): Promise<Secret> {
  const store = await lab.cluster(reader).store();
  return store.get('Secret', { namespace: 'kube-system', name: `mesh-${peer}` });
}

/** Whether the credentials let who has them read the store of a peer, from beside the reader's own. */
export async function letsIn(
  lab: Lab,
  reader: string,
  peer: string,
  secret: Secret,
): Promise<boolean> {
  const directory = mkdtempSync(join(tmpdir(), `causeway-lab-${process.pid}-`));
  try {
    const file = (name: string): string => {
      writeFileSync(join(directory, name), secretValue(secret, name) ?? '', { mode: 0o600 });
      return join(directory, name);
    };
    const tls = ['--cacert', file('ca.crt'), '--cert', file('tls.crt'), '--key', file('tls.key')];
    const endpoints = ['--endpoints', lab.cluster(peer).etcd.endpointsFor(reader).join(',')];
    const argv = ['etcdctl', ...endpoints, ...tls, 'get', `cilium/cluster-config/${peer}`];
    const { code, stdout } = await lab.exec(`${reader}/etcd`, argv, { env: { ETCDCTL_API: '3' } });
    return code === 0 && stdout.includes('{');
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

/** Waits until a node knows nothing of a peer any more. */
export async function peerIsGone(lab: Lab, node: string, peer: string): Promise<void> {
  await eventually(
    `${node} has forgotten ${peer}`,
    async () => ((await peersOf(lab, node)).some(({ name }) => name === peer) ? undefined : true),
    SETTLE_MS,
  );
}
