import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Kv, memoryEtcd, systemClock } from '@causeway/etcd';
import { nodeKey } from '@causeway/mesh';
import { type CiliumBGPNodeConfig, etcdStore, ResourceError } from '@causeway/resources';
import { startOperator, until } from '../../testing/world.ts';
import { BgpKeeper } from './keeper.ts';

const node = (name: string, labels: object) => ({
  apiVersion: 'cilium.io/v2',
  kind: 'CiliumNode',
  metadata: { name, labels },
  spec: {},
});
const cluster = (name: string, rack: string, more: object = {}) => ({
  apiVersion: 'cilium.io/v2',
  kind: 'CiliumBGPClusterConfig',
  metadata: { name },
  spec: {
    nodeSelector: { matchLabels: { rack } },
    bgpInstances: [
      {
        name: 'main',
        localASN: 65001,
        peers: [
          {
            name: 'tor',
            peerASN: 65000,
            peerAddress: '192.0.2.100',
            peerConfigRef: { name: 'rack' },
          },
        ],
        ...more,
      },
    ],
  },
});
const SECRET = {
  apiVersion: 'v1',
  kind: 'Secret',
  metadata: { namespace: 'kube-system', name: 'rack' },
  stringData: { password: 'correct-horse' },
};
const PEERS = {
  apiVersion: 'cilium.io/v2',
  kind: 'CiliumBGPPeerConfig',
  metadata: { name: 'rack' },
  spec: { authSecretRef: 'rack' },
};

async function world(run: (kv: Kv) => Promise<void>): Promise<void> {
  await using etcd = memoryEtcd({ clock: systemClock });
  await using kv = etcd.connect();
  await using _operator = startOperator(kv);
  await run(kv);
}

async function read(kv: Kv, name: string): Promise<CiliumBGPNodeConfig | undefined> {
  try {
    return await etcdStore(kv).get('CiliumBGPNodeConfig', { name });
  } catch (error) {
    if (error instanceof ResourceError && error.code === 'not-found') return undefined;
    throw error;
  }
}

async function conditions(
  kv: Kv,
  kind: 'CiliumBGPClusterConfig' | 'CiliumBGPPeerConfig',
  name: string,
): Promise<Record<string, string>> {
  const { status } = await etcdStore(kv).get(kind, { name });
  return Object.fromEntries(
    (status?.conditions ?? []).map(({ type, status: is, message }) => [
      type.replace('cilium.io/', ''),
      message === '' ? is : `${is}: ${message}`,
    ]),
  );
}

test('each node that is selected has its own object, with its override, and loses it with its label', () =>
  world(async (kv) => {
    const store = etcdStore(kv);
    await store.apply([
      node('a', { rack: 'r1' }),
      node('b', { rack: 'r1' }),
      node('c', {}),
      cluster('r1', 'r1'),
      {
        apiVersion: 'cilium.io/v2',
        kind: 'CiliumBGPNodeConfigOverride',
        metadata: { name: 'b' },
        spec: {
          bgpInstances: [
            {
              name: 'main',
              routerID: '192.0.2.2',
              localPort: 1179,
              localASN: 65002,
              peers: [{ name: 'tor', localAddress: '192.0.2.2' }],
            },
          ],
        },
      },
    ]);
    await until('both nodes have theirs', async () => {
      return (await read(kv, 'a')) !== undefined && (await read(kv, 'b')) !== undefined;
    });
    const tor = {
      name: 'tor',
      peerASN: 65000,
      peerAddress: '192.0.2.100',
      peerConfigRef: { name: 'rack' },
    };
    const a = (await read(kv, 'a'))!;
    assert.deepEqual(a.spec, { bgpInstances: [{ name: 'main', localASN: 65001, peers: [tor] }] });
    const [owner] = a.metadata.ownerReferences ?? [];
    assert.equal(owner?.name, 'r1');
    assert.deepEqual((await read(kv, 'b'))?.spec, {
      bgpInstances: [
        {
          name: 'main',
          localASN: 65002,
          routerID: '192.0.2.2',
          localPort: 1179,
          peers: [{ ...tor, localAddress: '192.0.2.2' }],
        },
      ],
    });
    assert.equal(await read(kv, 'c'), undefined);

    await store.apply([cluster('r1', 'r1', { localPort: 179 })]);
    await until('a change of the cluster config is taken in', async () => {
      return (await read(kv, 'a'))?.spec.bgpInstances[0]?.localPort === 179;
    });
    assert.equal((await read(kv, 'b'))?.spec.bgpInstances[0]?.localPort, 1179);

    await store.apply([node('a', { rack: 'r2' })]);
    await until('a is no longer selected', async () => (await read(kv, 'a')) === undefined);
    await store.delete('CiliumBGPClusterConfig', { name: 'r1' });
    await until('nobody is', async () => (await read(kv, 'b')) === undefined);
  }));

test('conditions name what is missing and what selects in vain; an object that somebody made stays', () =>
  world(async (kv) => {
    const store = etcdStore(kv);
    const made = {
      apiVersion: 'cilium.io/v2',
      kind: 'CiliumBGPNodeConfig',
      metadata: { name: 'elsewhere' },
      spec: { bgpInstances: [{ name: 'of another cluster' }] },
    };
    await store.apply([node('a', { rack: 'r1' }), cluster('first', 'r1'), made]);
    await until('the first counts', async () => {
      return (await read(kv, 'a'))?.metadata.ownerReferences?.[0]?.name === 'first';
    });
    // A name behind the first's: both may be of one second.
    await store.apply([cluster('second', 'r1'), cluster('third', 'r9'), PEERS]);
    const told = async (name: string, wanted: object) => {
      const is = await conditions(kv, 'CiliumBGPClusterConfig', name);
      return JSON.stringify(is) === JSON.stringify(wanted);
    };
    await until('the second is told so', () =>
      told('second', {
        ConflictingClusterConfig: 'True: Selecting the same node(s) with ClusterConfig(s): first',
        MissingPeerConfigs: 'False',
        NoMatchingNode: 'False',
      }),
    );
    await until('the third is told so', () =>
      told('third', {
        ConflictingClusterConfig: 'False',
        MissingPeerConfigs: 'False',
        NoMatchingNode: 'True: No node matches spec.nodeSelector',
      }),
    );
    const secret = async (wanted: string) =>
      (await conditions(kv, 'CiliumBGPPeerConfig', 'rack')).MissingAuthSecret === wanted;
    await until('the password is missed', () =>
      secret('True: Referenced Auth Secret "rack" is missing'),
    );
    await store.apply([SECRET]);
    await until('the password is there', () => secret('False'));
    await store.delete('CiliumBGPPeerConfig', { name: 'rack' });
    await until('the profile is missed', async () => {
      const { MissingPeerConfigs } = await conditions(kv, 'CiliumBGPClusterConfig', 'first');
      return MissingPeerConfigs === 'True: Referenced CiliumBGPPeerConfig(s) are missing: rack';
    });
    assert.notEqual(await read(kv, 'elsewhere'), undefined);
  }));

test('of a node whose agent has left the store no session is claimed, after a second look', () =>
  world(async (kv) => {
    const store = etcdStore(kv);
    const names = ['alive', 'dead'];
    const objects = names.map((name) => ({
      apiVersion: 'cilium.io/v2',
      kind: 'CiliumBGPNodeConfig',
      metadata: { name },
      spec: { bgpInstances: [{ name: 'main' }] },
    }));
    await store.apply(objects);
    const peer = { name: 'tor', peerAddress: '192.0.2.100', peerASN: 65000 };
    const up = { ...peer, peeringState: 'established', establishedTime: '2026-01-01T00:00:00Z' };
    for (const name of names) {
      const status = { bgpInstances: [{ name: 'main', localASN: 65001, peers: [up] }] };
      await store.patchStatus('CiliumBGPNodeConfig', { name }, status);
    }
    await kv.put(nodeKey('default', 'alive'), '{}');
    const { signal } = new AbortController();
    const nodes = (await store.list('CiliumBGPNodeConfig')).items;
    using keeper = new BgpKeeper({
      kv,
      store,
      tables: {
        bgp: { nodes: Object.assign([...nodes], { onCommit: () => () => {} }) },
        nodes: { onCommit: () => () => {} },
      } as never,
      guard: { hasObjects: true } as never,
      cluster: 'default',
      clock: systemClock,
      wall: Date.now,
      log: { debug() {} } as never,
    });
    const state = async (name: string) =>
      (await read(kv, name))?.status?.bgpInstances?.[0]?.peers?.[0];
    await keeper.doubt(signal);
    assert.deepEqual(await state('dead'), up);
    await keeper.doubt(signal);
    assert.deepEqual(await state('dead'), { ...peer, peeringState: 'unknown' });
    assert.deepEqual(await state('alive'), up);
  }));
