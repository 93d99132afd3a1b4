import { type Kv, systemClock } from '@causeway/etcd';
import { ClusterId, identityLayout, LabelSet, label, NumericIdentity } from '@causeway/identity';
import { Address } from '@causeway/ip';
import { Database } from '@causeway/tables';
import { IdentityAllocator } from '../src/allocator.ts';
import { type Announcement, announcementTable, openAnnouncer } from '../src/announcements.ts';
import { MeshReader } from '../src/reader.ts';
import { meshTables } from '../src/rows.ts';

/** What the tests of this package share: one node's view of cluster `cla`. */

export const CLUSTER = { name: 'cla', id: ClusterId(1) };
export const LAYOUT = identityLayout(255);

export const labelsOf = (app: string): LabelSet =>
  LabelSet.of([
    label('k8s', 'app', app),
    label('k8s', 'io.cilium.k8s.policy.cluster', 'cla'),
    label('k8s', 'io.kubernetes.pod.namespace', 'default'),
  ]);

export function allocatorOn(kv: Kv, node: number, random = Math.random) {
  const tables = meshTables(new Database());
  const announcements = announcementTable(new Database(), 'a');
  return {
    tables,
    announcements,
    allocator: new IdentityAllocator({
      kv,
      cluster: CLUSTER,
      layout: LAYOUT,
      clock: systemClock,
      random,
      identities: tables.identities,
      announcements,
      suffix: `192.0.2.${node}`,
    }),
  };
}

/** A whole node: readers, announcements and allocator on one database. */
export function nodeOn(kv: Kv, number: number) {
  const database = new Database({ freeze: true });
  const tables = meshTables(database);
  const address = Address.parse(`192.0.2.${number}`);
  const announcer = openAnnouncer({
    kv,
    clock: systemClock,
    random: Math.random,
    database,
    cluster: CLUSTER.name,
    node: `n${number}`,
    address,
  });
  const reader = new MeshReader({ kv, cluster: CLUSTER, layout: LAYOUT, tables });
  const allocator = new IdentityAllocator({
    kv,
    cluster: CLUSTER,
    layout: LAYOUT,
    clock: systemClock,
    random: Math.random,
    identities: tables.identities,
    announcements: announcer.table,
    suffix: address,
  });
  return {
    tables,
    announcer,
    reader,
    allocator,
    address,
    async [Symbol.asyncDispose]() {
      await reader[Symbol.asyncDispose]();
      await announcer[Symbol.asyncDispose]();
    },
  };
}

export const ipAnnouncement = (address: string, identity: number, host: string): Announcement => ({
  key: `cilium/state/ip/v1/default/${address}`,
  value: `{"IP":"${address}","Mask":null,"HostIP":"${host}","ID":${identity},"Key":0,"Metadata":"","K8sNamespace":"default","K8sPodName":"p"}`,
});

export const identity = (local: number): NumericIdentity => NumericIdentity((1 << 16) + local);

/** Waits until `check` holds; fails with its text after ten seconds. */
export async function eventually(what: string, check: () => boolean): Promise<void> {
  const end = Date.now() + 30_000;
  while (!check()) {
    if (Date.now() > end) throw new Error(`not within 30 s: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
