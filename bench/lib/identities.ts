/** Identities of a cluster put straight into its store, as other nodes' agents would write them. */
import { connectKv, type Kv } from '@causeway/etcd';
import { LabelSet, label } from '@causeway/identity';
import { identityKey, ipKey } from '@causeway/mesh';

/** etcd takes at most 128 operations in a transaction unless told otherwise. */
const CHUNK = 100;

/** A connection to the store behind a lab's socket, once it answers. */
export async function openStore(socket: string): Promise<Kv> {
  const kv = connectKv({ endpoints: [`unix:${socket}`] });
  for (let attempt = 0; attempt < 500; attempt += 1) {
    if (kv.health().connected) return kv;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  await kv[Symbol.asyncDispose]();
  throw new Error(`no contact with the store at ${socket} after ten seconds`);
}

/** The `index`-th number of cluster 1 from the top: random allocation seldom meets it. */
export function numberOf(index: number): number {
  return (1 << 16) + 65_000 - index;
}

export function labelsText(cluster: string, labels: Readonly<Record<string, string>>): string {
  return LabelSet.of([
    ...Object.entries(labels).map(([key, value]) => label('k8s', key, value)),
    label('k8s', 'io.cilium.k8s.policy.cluster', cluster),
    label('k8s', 'io.kubernetes.pod.namespace', 'default'),
  ]).text;
}

async function putAll(kv: Kv, rows: readonly (readonly [string, string])[]): Promise<void> {
  for (let at = 0; at < rows.length; at += CHUNK) {
    const success = rows
      .slice(at, at + CHUNK)
      .map(([key, value]) => ({ type: 'put', key, value }) as const);
    await kv.txn({ compare: [], success }, { deadline: 60_000 });
  }
}

/** Writes identities; `labels` gives each its own. */
export function putIdentities(
  kv: Kv,
  cluster: string,
  count: number,
  labels: (index: number) => Readonly<Record<string, string>>,
): Promise<void> {
  return putAll(
    kv,
    Array.from({ length: count }, (_, index) => [
      identityKey(numberOf(index)),
      labelsText(cluster, labels(index)),
    ]),
  );
}

/** Writes entries of pods that live nowhere, spread over `hosts` and a thousand identities. */
export function putIpEntries(kv: Kv, count: number, hosts: readonly string[]): Promise<void> {
  return putAll(
    kv,
    Array.from({ length: count }, (_, index) => {
      const address = `10.${200 + (index >> 16)}.${(index >> 8) & 255}.${index & 255}`;
      const value = {
        IP: address,
        Mask: null,
        HostIP: hosts[index % hosts.length],
        ID: numberOf(index % 1000),
        Key: 0,
        Metadata: `cilium-global:default:elsewhere:${index}`,
        K8sNamespace: 'default',
        K8sPodName: `elsewhere-${index}`,
      };
      return [ipKey(address), JSON.stringify(value)] as const;
    }),
  );
}
