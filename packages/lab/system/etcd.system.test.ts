import assert from 'node:assert/strict';
import { existsSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, test } from 'node:test';
import { nodePaths, until } from '../index.ts';
import { attach, type BarePod, barePod, detach } from './bare-pods.ts';
import { apply, eventually, expectNow, expectSoon, sh, statusOf, useLab } from './support.ts';

const CLIENT = 'main/default/client';
const STRANGER = 'main/default/stranger';
/** Far longer than a lost store takes to be noticed and found again. */
const CONVERGE_MS = 25_000;

const lab = useLab(
  'etcd',
  `racks:
  - {name: rack, ipv4: 192.168.31.0/24, ipv6: "fd33::/64"}
clusters:
  - name: main
    id: 1
    podCIDRs: {ipv4: 10.31.0.0/16, ipv6: "fd32:1::/48"}
    serviceCIDRs: [10.32.0.0/16, "fd32:32::/112"]
    nodes:
      - {name: n1, rack: rack}
      - {name: n2, rack: rack}
    pods:
      - {name: client, node: n1, labels: {app: client}}
      - {name: stranger, node: n1, labels: {app: stranger}}
      - {name: server, node: n2, labels: {app: server}, serve: [{port: 80, type: http}, {port: 81, type: http}]}
`,
  async () => {
    server = await lab().addresses('main/default/server');
    await apply(lab(), 'main', policy(80));
    await expectSoon(inForce(80));
  },
);

const policy = (port: number) => ({
  apiVersion: 'networking.k8s.io/v1',
  kind: 'NetworkPolicy',
  metadata: { name: 'server', namespace: 'default' },
  spec: {
    podSelector: { matchLabels: { app: 'server' } },
    ingress: [
      {
        from: [{ podSelector: { matchLabels: { app: 'client' } } }],
        ports: [{ protocol: 'TCP', port }],
      },
    ],
  },
});

let server: string[] = [];

/** What the policy says, over both families: `port` for clients and nothing for others. */
const inForce = (port: number, from = CLIENT) =>
  server.flatMap((address) => [
    {
      what: `${from} asks ${address} port ${port}`,
      wanted: 'answered' as const,
      attempt: () => lab().traffic.http(from, address, port, { seconds: 1 }),
    },
    {
      what: `${from} asks ${address} port ${port === 80 ? 81 : 80}`,
      wanted: 'timeout' as const,
      attempt: () => lab().traffic.http(from, address, port === 80 ? 81 : 80, { seconds: 1 }),
    },
    {
      what: `stranger asks ${address} port ${port}`,
      wanted: 'timeout' as const,
      attempt: () => lab().traffic.http(STRANGER, address, port, { seconds: 1 }),
    },
  ]);

const podObject = (name: string, node: string) => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name, namespace: 'default', labels: { app: 'client' } },
  spec: { nodeName: node, containers: [{ name: 'main' }] },
});

/** A pod that the agents have heard of and that nobody has attached yet. */
async function announced(name: string, node: string): Promise<BarePod> {
  await apply(lab(), 'main', podObject(name, node));
  await eventually(`${node} knows pod ${name}`, async () => {
    const rows = JSON.stringify(await lab().agent(node).get('/v1/tables/pods'));
    return rows.includes(name) ? true : undefined;
  });
  return barePod(lab(), node, name);
}

/** Every key under cilium/, without values: what agents have written. */
async function announcedKeys(): Promise<string[]> {
  const text = await sh(
    lab(),
    'main/etcd',
    'ETCDCTL_API=3 etcdctl --endpoints http://127.0.0.1:2379 get cilium/ --prefix --keys-only',
  );
  return text.split('\n').filter((line) => line !== '');
}

const told = (node: string) =>
  eventually(
    `${node} says that the store is away`,
    async () => {
      const { sources, cni } = await statusOf(lab(), node);
      const lost = sources.filter(({ healthy, detail }) => !healthy && /store/.test(detail));
      return lost.length > 0 && cni.ready ? true : undefined;
    },
    CONVERGE_MS,
  );

const healthy = async () => {
  await lab().settled({ timeoutMs: CONVERGE_MS });
  for (const node of ['n1', 'n2'])
    await until(
      `${node} is healthy`,
      async () => {
        const { sources, reconcilers } = await statusOf(lab(), node);
        // What the store no longer tells is kept for half a minute after it came back: that is as it should be.
        const ill = [...sources, ...reconcilers].find(
          (each) => !each.healthy && !/kept for a while/.test(each.detail),
        );
        return ill === undefined ? undefined : `${ill.name}: ${ill.detail}`;
      },
      { timeoutMs: CONVERGE_MS },
    );
};

// A test that failed must not leave the store away for the next one.
afterEach(async () => {
  const { etcd } = lab().cluster();
  if (etcd.running) etcd.resume();
  await etcd.start();
  await etcd.heal();
});

test('while etcd is stopped, traffic and policy stay, pods come and go, and status tells', async () => {
  const { etcd } = lab().cluster();
  const late = await announced('late', 'n1');
  await etcd.stop('SIGKILL');
  await told('n1');
  await expectNow(inForce(80));
  await attach(lab(), late);
  // Its labels and their number were known: it is a client from its first packet, also on other nodes.
  await expectNow(inForce(80, late.place));
  await etcd.start();
  await healthy();
  await expectNow(inForce(80, late.place));
  await detach(lab(), late);
});

test('an agent that starts while etcd is stopped takes up where the last one left', async () => {
  const { etcd } = lab().cluster();
  const late = await announced('later', 'n2');
  await etcd.stop();
  for (const node of ['n1', 'n2']) {
    await lab().agent(node).kill();
    await lab().agent(node).start();
  }
  await expectNow(inForce(80));
  await told('n1');
  await told('n2');
  await expectNow(inForce(80));
  const addresses = await attach(lab(), late);
  assert.equal(addresses.length, 2, 'addresses come from the CIDRs that the run directory holds');
  await detach(lab(), late);
  const again = await attach(lab(), late);
  assert.equal(again.length, 2);
  await expectNow(inForce(80));
  await etcd.start();
  await healthy();
  await expectSoon(inForce(80, late.place));
  await apply(lab(), 'main', policy(81));
  await expectSoon(inForce(81));
  await apply(lab(), 'main', policy(80));
  await expectSoon(inForce(80));
  await detach(lab(), late);
});

test('a node that never saw the store says so, and is whole once it is there', async () => {
  const { etcd } = lab().cluster();
  const agent = lab().agent('n1');
  await agent.kill();
  const known = join(nodePaths(lab().name, 'n1').run, 'state/node');
  assert.ok(existsSync(known));
  rmSync(known, { recursive: true });
  await etcd.stop();
  await agent.start();
  const refusal = await eventually(
    'the agent answers',
    async () => {
      if ((await agent.missing()) === 'its API does not answer') return undefined;
      const { cni } = await statusOf(lab(), 'n1');
      return cni;
    },
    CONVERGE_MS,
  );
  assert.equal(refusal.ready, false);
  assert.match(refusal.reasons.join(' '), /no CiliumNode named n1/);
  await expectNow(inForce(80));
  await etcd.start();
  await healthy();
  await expectNow(inForce(80));
  // Pods that were there before the CIDRs were known keep their addresses to themselves.
  const pods = await Promise.all(['one', 'two', 'three'].map((name) => barePod(lab(), 'n1', name)));
  const taken = await lab().addresses(CLIENT);
  for (const pod of pods) taken.push(...(await attach(lab(), pod)));
  assert.equal(new Set(taken).size, taken.length, taken.join());
  for (const pod of pods) await detach(lab(), pod);
});

test('an emptied etcd takes nothing away, and agents write their part again', async () => {
  const { etcd } = lab().cluster();
  const store = await lab().cluster().store();
  const kinds = ['Namespace', 'CiliumNode', 'Node', 'Pod', 'NetworkPolicy', 'ServiceCIDR'] as const;
  const registry = (await Promise.all(kinds.map((kind) => store.list(kind)))).flatMap(
    ({ items }) =>
      items as unknown as { metadata: { name: string; namespace?: string; labels?: object } }[],
  );
  // Heartbeats and markers say how far a store is; markers wait until this one has settled.
  const keys = (await announcedKeys()).filter((key) => key.startsWith('cilium/state/'));
  await etcd.wipe();
  const missing = async () => {
    const present = new Set(await announcedKeys());
    return keys.filter((key) =>
      key.includes('/ip/') || key.includes('/nodes/') ? !present.has(key) : false,
    );
  };
  await eventually(
    'addresses and nodes are announced again',
    async () => ((await missing()).length === 0 ? true : undefined),
    CONVERGE_MS,
  );
  await expectNow(inForce(80));
  // An administrator brings the registry back from a copy.
  await store.apply(
    registry.map((object) => {
      const { name, namespace, labels } = object.metadata;
      return { ...object, metadata: { name, namespace, labels } };
    }),
  );
  await healthy();
  await expectNow(inForce(80));
  const ids = (all: string[]) => all.filter((key) => key.includes('/identities/v1/id/')).sort();
  assert.deepEqual(ids(await announcedKeys()), ids(keys), 'identities keep their numbers');
  await apply(lab(), 'main', policy(81));
  await expectSoon(inForce(81));
  await apply(lab(), 'main', policy(80));
  await expectSoon(inForce(80));
});

for (const [what, cut, mend] of [
  ['is partitioned', 'partition', 'heal'],
  ['hangs', 'pause', 'resume'],
] as const) {
  test(`while etcd ${what}, agents restart and pods are attached; after it all is in step`, async () => {
    const { etcd } = lab().cluster();
    const late = await announced(`pod-${cut}`, 'n1');
    await etcd[cut]();
    await lab().agent('n1').kill();
    await lab().agent('n1').start();
    await told('n1');
    await expectNow(inForce(80));
    // The agent that knew the labels is gone: until the store tells them the pod is nobody's client.
    assert.equal((await attach(lab(), late)).length, 2);
    const unknown = await lab().traffic.http(late.place, server[0]!, 80, { seconds: 1 });
    assert.equal(unknown.outcome, 'timeout');
    await etcd[mend]();
    await healthy();
    await expectSoon(inForce(80, late.place));
    await apply(lab(), 'main', policy(81));
    await expectSoon(inForce(81));
    await apply(lab(), 'main', policy(80));
    await expectSoon(inForce(80));
    await detach(lab(), late);
  });
}

test('a slow etcd makes things late and breaks nothing', async () => {
  const { etcd } = lab().cluster();
  await etcd.slow(256);
  try {
    await lab().agent('n2').restart();
    await healthy();
    await apply(lab(), 'main', policy(81));
    await expectSoon(inForce(81));
    await apply(lab(), 'main', policy(80));
    await expectSoon(inForce(80));
  } finally {
    await etcd.slow(0);
  }
});
