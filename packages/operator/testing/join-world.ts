/** Two clusters in memory that may join: what each has written can be compared before and after. */

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { type Kv, type MemoryEtcd, memoryEtcd, systemClock } from '@causeway/etcd';
import { Address } from '@causeway/ip';
import {
  clusterConfigKey,
  encodeClusterConfig,
  encodeNode,
  type JoinToken,
  NODE_ANNOTATIONS,
  nodeKey,
  type PeerView,
  StoreDirectory,
  setUpAuth,
} from '@causeway/mesh';
import { etcdStore, type ResourceStore } from '@causeway/resources';
import { readNodes, readOwnSide } from '../src/mesh-join/facts.ts';
import { Inviting } from '../src/mesh-join/inviting.ts';
import type { JoiningOptions } from '../src/mesh-join/joining.ts';
import { forgetPeer } from '../src/mesh-join/leaving.ts';
import type { RecoveryOptions } from '../src/mesh-join/recovery.ts';
import { giveToken } from '../src/mesh-join/tokens.ts';

let uids = 0;
export const uid = (): string => `00000000-0000-4000-8000-${String(++uids).padStart(12, '0')}`;

export class TestCluster implements AsyncDisposable {
  readonly name: string;
  readonly etcd: MemoryEtcd;
  readonly directory: StoreDirectory;
  readonly kv: Kv;
  readonly store: ResourceStore;
  now = new Date();
  readonly #root: string;

  private constructor(name: string, etcd: MemoryEtcd, directory: StoreDirectory, root: string) {
    this.name = name;
    this.etcd = etcd;
    this.directory = directory;
    this.#root = root;
    this.kv = etcd.connect({ user: `causeway-${name}` });
    this.store = etcdStore(this.kv);
  }

  static async open(name: string, id: number): Promise<TestCluster> {
    const root = mkdtempSync(path.join(tmpdir(), `causeway-join-${process.pid}-`));
    const etcd = memoryEtcd({ clock: systemClock });
    const { directory } = await StoreDirectory.settle(path.join(root, 'mesh'), {
      cluster: name,
      names: ['127.0.0.1'],
      now: new Date(),
    });
    await setUpAuth(etcd.auth, name);
    const cluster = new TestCluster(name, etcd, directory, root);
    await cluster.kv.put(
      clusterConfigKey(name),
      encodeClusterConfig({
        id,
        maxConnectedClusters: 255,
        syncedCanaries: true,
        cached: false,
        serviceExportsEnabled: undefined,
      }),
    );
    await cluster.kv.put(nodeKey(name, 'n1'), nodeText(name, id));
    await cluster.store.apply([
      {
        apiVersion: 'cilium.io/v2alpha1',
        kind: 'CiliumPodIPPool',
        metadata: { name: 'default' },
        spec: { ipv4: { cidrs: [`10.${id}.0.0/16`], maskSize: 24 } },
      },
    ]);
    return cluster;
  }

  /** All that the cluster's store and users say, but for leases of work. */
  async dump(): Promise<Record<string, unknown>> {
    const root = this.etcd.connect({ user: 'root' });
    const { entries } = await root.list('');
    await root[Symbol.asyncDispose]();
    const keys = entries.filter(({ key }) => !key.startsWith('causeway/mesh/at-work/'));
    return {
      keys: Object.fromEntries(keys.map(({ key, text }) => [key, text])),
      users: await this.etcd.auth.users(),
      roles: await this.etcd.auth.roles(),
    };
  }

  /** What this cluster would see of the other, its rights tried for real. */
  view(other: TestCluster, changed: Partial<PeerView> = {}): JoiningOptions['view'] {
    return async (offer, cluster) => {
      const endpoints = offer.endpoints.map((url) => ({ url }));
      const kv = other.etcd.connect({ user: `remote-${this.name}` });
      try {
        const entry = await kv.get(clusterConfigKey(cluster));
        const nodes = await readNodes(kv, cluster, {});
        const id = (JSON.parse(entry?.text ?? '{}') as { id: number }).id;
        const config = {
          id,
          maxConnectedClusters: 255,
          syncedCanaries: true,
          cached: false,
          serviceExportsEnabled: undefined,
        } as const;
        return { endpoints, unreadable: [], open: [], config, ...nodes, ...changed };
      } finally {
        await kv[Symbol.asyncDispose]();
      }
    };
  }

  inviting(other: TestCluster, changed: Partial<PeerView> = {}): Inviting {
    const { kv, store, name: cluster } = this;
    const now = () => this.now;
    return new Inviting({ kv, store, cluster, now, uid, view: this.view(other, changed) });
  }

  /** How this cluster joins the one that invites it. */
  joining(
    other: TestCluster,
    inviting: Inviting,
    more: Partial<JoiningOptions> = {},
  ): JoiningOptions {
    return {
      kv: this.kv,
      store: this.store,
      auth: this.etcd.auth,
      directory: this.directory,
      own: { endpoints: ['https://127.0.0.1:2379'], join: ['https://127.0.0.1:9443'] },
      accept: new Set(),
      now: () => this.now,
      uid,
      view: this.view(other),
      client: () => inviting,
      ...more,
    };
  }

  recovery(client: RecoveryOptions['client']): RecoveryOptions {
    const { kv, directory } = this;
    const auth = this.etcd.auth;
    return { kv, auth, directory, now: () => this.now, client, join: ['https://127.0.0.1:9443'] };
  }

  /** An invitation, with user and certificate. */
  async invite(
    peer: string,
    minutes = 60,
    type: 'invite' | 'renew' = 'invite',
  ): Promise<JoinToken> {
    const { admitPeer } = await import('@causeway/mesh');
    await admitPeer(this.etcd.auth, this.name, peer);
    const { certificate, key } = await this.directory.issuePeer(peer, this.now);
    const { facts } = await readOwnSide(this.kv, this.store, this.name);
    return giveToken(this.kv, {
      type,
      peer,
      from: facts,
      offer: {
        endpoints: ['https://127.0.0.1:2379'],
        ca: this.directory.trust,
        certificate,
        key,
      },
      join: ['https://127.0.0.1:9443'],
      minutes,
      accept: new Set(),
      now: this.now,
    });
  }

  /** As its operator does when a peer says that it leaves. */
  forget(peer: string): Promise<boolean> {
    const { kv, directory } = this;
    return forgetPeer(peer, { kv, auth: this.etcd.auth, directory, now: () => this.now });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kv[Symbol.asyncDispose]();
    await this.etcd[Symbol.asyncDispose]();
    rmSync(this.#root, { recursive: true, force: true });
  }
}

const nodeText = (cluster: string, id: number): string =>
  encodeNode({
    name: 'n1',
    cluster,
    clusterId: id,
    addresses: [{ type: 'InternalIP', ip: Address.parse(`192.0.2.${id}`) }],
    podCIDRs: { ipv4: [], ipv6: [] },
    healthIPs: {},
    ingressIPs: {},
    source: 'local',
    encryptionKey: 0,
    labels: {},
    annotations: {
      [NODE_ANNOTATIONS.tunnelPort]: '8472',
      [NODE_ANNOTATIONS.routingMode]: 'tunnel',
      [NODE_ANNOTATIONS.mtu]: '1500',
    },
    nodeIdentity: 0,
    wireguardPublicKey: '',
    bootId: '',
  });
