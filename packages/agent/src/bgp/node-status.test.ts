import assert from 'node:assert/strict';
import { test } from 'node:test';
import { silentLog } from '@causeway/daemon';
import { memoryEtcd, systemClock } from '@causeway/etcd';
import { etcdStore } from '@causeway/resources';
import { instanceStatuses } from './node-status.ts';
import { NodeStatusWriter } from './node-status-writer.ts';
import type { BgpPlan } from './plan.ts';
import type { SpeakerSession } from './speaker-port.ts';

const instances: BgpPlan['instances'] = [
  {
    name: 'main',
    asn: 65001,
    peers: [
      { name: 'tor', neighbor: 'tor', address: '192.0.2.100', asn: 65000 },
      { name: 'gateway', neighbor: 'gateway', address: undefined, asn: undefined },
    ],
  },
];
const up: SpeakerSession = {
  state: 'established',
  since: '2026-01-01T00:00:00.250Z',
  address: '192.0.2.100',
  asn: 65000,
  timers: { hold: 9, keepalive: 3 },
  families: [{ family: 'ipv4-unicast', received: 4, advertised: 2 }],
};
const down: SpeakerSession = { state: 'open-sent', since: '2026-01-01T00:00:09Z', families: [] };
const told = {
  name: 'tor',
  peerAddress: '192.0.2.100',
  peerASN: 65000,
  peeringState: 'established',
  establishedTime: '2026-01-01T00:00:00Z',
  timers: { appliedHoldTimeSeconds: 9, appliedKeepaliveSeconds: 3 },
  routeCount: [{ afi: 'ipv4', safi: 'unicast', received: 4, advertised: 2 }],
};

test('of a session that is up all is told, of one that is down its state, of a silent speaker nothing', () => {
  const peers = (sessions: Parameters<typeof instanceStatuses>[1]) =>
    instanceStatuses(instances, sessions)[0]!.peers;
  const looking = { name: 'gateway', peerAddress: '', peeringState: 'open_sent' };
  assert.deepEqual(
    peers(
      new Map([
        ['tor', up],
        ['gateway', down],
      ]),
    ),
    [told, looking],
  );
  const tor = { name: 'tor', peerAddress: '192.0.2.100', peerASN: 65000 };
  assert.deepEqual(peers(undefined), [
    { ...tor, peeringState: 'unknown' },
    { name: 'gateway', peerAddress: '', peeringState: 'unknown' },
  ]);
});

test('sessions are told at once, counts at leisure, and an object made anew is filled again', async () => {
  await using etcd = memoryEtcd({ clock: systemClock });
  await using kv = etcd.connect();
  const store = etcdStore(kv);
  let patches = 0;
  let now = 0;
  let session: SpeakerSession | Error = up;
  const problems: string[] = [];
  await using writer = new NodeStatusWriter({
    node: 'a',
    store: {
      get: (...call) => store.get(...call),
      patchStatus: (...call) => {
        patches++;
        return store.patchStatus(...call);
      },
    },
    port: {
      session: async () => {
        if (session instanceof Error) throw session;
        return session;
      },
    },
    plan: () => ({
      instances: [{ ...instances[0]!, peers: [instances[0]!.peers[0]!] }],
      problems,
      wanted: {} as never,
    }),
    // Looks are the test's own.
    clock: {
      now: () => now,
      sleep: (_, signal) =>
        new Promise((resolve) => signal?.addEventListener('abort', () => resolve())),
    },
    wall: () => Date.parse('2026-01-01T00:01:00Z') + now,
    random: () => 0.5,
    log: silentLog,
  });
  const { signal } = new AbortController();
  const look = async (seconds: number): Promise<number> => {
    now += seconds * 1000;
    const before = patches;
    await writer.round(signal);
    return patches - before;
  };
  const create = () =>
    store.apply([
      {
        apiVersion: 'cilium.io/v2',
        kind: 'CiliumBGPNodeConfig',
        metadata: { name: 'a' },
        spec: { bgpInstances: [{ name: 'main' }] },
      },
    ]);
  const status = async () => (await store.get('CiliumBGPNodeConfig', { name: 'a' })).status;

  assert.equal(await look(5), 0, 'without an object nothing is told');
  await create();
  assert.equal(await look(5), 1);
  assert.deepEqual((await status())?.bgpInstances?.[0]?.peers, [told]);
  assert.deepEqual((await status())?.conditions, [
    {
      type: 'cilium.io/BGPReconcileError',
      status: 'False',
      reason: 'BGPReconcileError',
      message: '',
      lastTransitionTime: '2026-01-01T00:01:10Z',
      observedGeneration: 1,
    },
  ]);

  assert.equal(await look(5), 0, 'nothing has changed');
  session = { ...up, families: [{ family: 'ipv4-unicast', received: 9, advertised: 2 }] };
  assert.equal(await look(5), 0, 'a count alone waits');
  assert.equal(await look(25), 1);
  session = down;
  assert.equal(await look(5), 1, 'a session that falls does not');
  const [fallen] = (await status())?.bgpInstances?.[0]?.peers ?? [];
  assert.equal(fallen?.peeringState, 'open_sent');
  assert.equal(fallen?.establishedTime, undefined);
  assert.equal(fallen?.routeCount, undefined);

  session = new Error('no such file');
  assert.equal(await look(5), 1);
  const [condition] = (await status())?.conditions ?? [];
  assert.equal(condition?.status, 'True');
  assert.equal(condition?.message, 'the speaker does not answer: no such file');

  await store.delete('CiliumBGPNodeConfig', { name: 'a' });
  await create();
  assert.equal(await look(59), 0);
  assert.equal(await look(1), 1, 'a new object within a minute');
});
