import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { connectKv } from '@causeway/etcd';
import { Address, Prefix } from '@causeway/ip';
import { parseManifests } from '@causeway/resources';
import { podPlace, until } from '../index.ts';
import { agreed, held, plainPods, records, routed, startAll, stopAll } from './address-book.ts';
import { apply, eventually, useLab } from './support.ts';

const EXAMPLES = join(import.meta.dirname, '../../../examples');
const CAUSEWAY = join(import.meta.dirname, '../../cli/bin/causeway');
const SETTLE_MS = 90_000;

const lab = useLab('pool-faults', {
  shipped: 'pools',
  change: (file) => ({
    ...file,
    clusters: file.clusters.map((cluster) => ({
      ...cluster,
      pods: [],
      agent: { ...cluster.agent, ipam: { quarantineSeconds: 1 } },
      operator: { election: { ttlSeconds: 2 } },
    })),
  }),
});

async function leader() {
  return eventually(
    'a leader',
    async () => {
      for (const operator of lab().cluster().operators)
        if (operator.pid !== undefined && (await operator.leads())) return operator;
      return undefined;
    },
    SETTLE_MS,
  );
}

test('the leader is killed again and again while a node grows: every pod starts, no CIDR is given twice or lost', async () => {
  const pods = plainPods('a1', 'grow', 40);
  const started = startAll(lab(), pods, SETTLE_MS);
  for (let kills = 0; kills < 4; kills += 1) {
    const one = await leader();
    await one.kill('SIGKILL');
    await one.start();
  }
  const addresses = (await started).flat();
  assert.equal(new Set(addresses).size, addresses.length);
  await lab().settled();
  await agreed(lab());
  await stopAll(lab(), pods);
});

test('a leader that is frozen and thawed after another took over writes nothing any more', async () => {
  const old = await leader();
  await old.kill('SIGSTOP');
  const next = await leaderBesides(old.place);
  const pods = plainPods('a2', 'meanwhile', 20);
  const started = startAll(lab(), pods, SETTLE_MS);
  await old.kill('SIGCONT');
  await started;
  assert.equal(await next.leads(), true);
  await until(
    'the old one follows',
    async () => ((await old.leads()) ? 'it says that it leads' : undefined),
    { timeoutMs: SETTLE_MS },
  );
  await agreed(lab());
  await stopAll(lab(), pods);
});

async function leaderBesides(place: string) {
  const other = lab()
    .cluster()
    .operators.find((operator) => operator.place !== place)!;
  return eventually(
    'another leader',
    async () => ((await other.leads()) ? other : undefined),
    SETTLE_MS,
  );
}

test('without the store pods come and go within what a node holds, and no CIDR changes hands', async () => {
  const { etcd } = lab().cluster();
  const before = await records(lab());
  await etcd.partition();
  try {
    const pods = plainPods('b1', 'apart', 4);
    const first = (await startAll(lab(), pods)).flat();
    await stopAll(lab(), pods.slice(0, 2));
    const more = plainPods('b1', 'apart-more', 2);
    const second = (await startAll(lab(), more)).flat();
    assert.equal(new Set([...first.slice(4), ...second]).size, 8, 'no address is in two hands');
    assert.deepEqual(await records(lab()), before);
  } finally {
    await etcd.heal();
  }
  await lab().settled();
  await agreed(lab());
});

test('a node that comes back after its CIDRs were taken by force stops what another has, and says who', async () => {
  await apply(
    lab(),
    'main',
    {
      apiVersion: 'cilium.io/v2alpha1',
      kind: 'CiliumPodIPPool',
      metadata: { name: 'few' },
      spec: {
        ipv4: { cidrs: ['10.60.250.0/29'], maskSize: 29 },
        ipv6: { cidrs: ['fd60:1:0:fa::/125'], maskSize: 125 },
      },
    },
    {
      apiVersion: 'causeway.io/v1',
      kind: 'PodIPPoolOptions',
      metadata: { name: 'few' },
      spec: { preAllocate: 0 },
    },
  );
  const annotations = { 'ipam.cilium.io/ip-pool': 'few' };
  const serve = [{ port: 8080, type: 'http' }] as const;
  const victims = plainPods('a2', 'victim', 2, { annotations, serve });
  const lost = (await startAll(lab(), victims)).flat();
  const blocks = await held(lab(), 'a2', 'few');
  assert.equal(blocks.length, 2);
  await lab().freeze('a2');
  await promisify(execFile)(CAUSEWAY, [
    ...['--context', `lab:${lab().name}/main`],
    ...['ipam', 'release', '--force', 'a2'],
  ]);
  const heirs = plainPods('a1', 'heir', 4, { annotations, serve });
  const taken = (await startAll(lab(), heirs)).flat();
  assert.deepEqual(
    lost.filter((address) => taken.includes(address)).sort(),
    lost.toSorted(),
    'the heirs have the victims’ addresses',
  );
  await lab().thaw('a2');
  const states = await eventually(
    'the victims are stopped',
    async () => {
      const rows = (await lab().agent('a2').get('/v1/endpoints')) as {
        podName?: string;
        state: string;
        stateReason?: string;
      }[];
      const own = rows.filter(({ podName }) => podName?.startsWith('victim-'));
      return own.length === 2 && own.every(({ state }) => state === 'error') ? own : undefined;
    },
    SETTLE_MS,
  );
  for (const { stateReason } of states) assert.match(stateReason ?? '', /\ba1\b/);
  await routed(lab(), 'leaf-a', blocks, ['a1']);
  for (const address of lost) {
    const { outcome, answer } = await lab().traffic.http('outside', address, 8080, { seconds: 5 });
    assert.deepEqual([outcome, answer.replace(/\d+$/, '')], ['answered', 'heir-']);
  }
  await stopAll(lab(), [...heirs]);
  for (const pod of victims) await lab().removePod(podPlace(pod));
  await agreed(lab());
});

test('hostile records, nodes and pools are refused or passed over, and the operator goes on', async () => {
  await using kv = await connectKv({ endpoints: [`unix:${lab().cluster().etcd.socket}`] });
  const rubbish = {
    'causeway/allocations/pod-cidrs/ipv4/10.60.0.0/33': '{}',
    'causeway/allocations/pod-cidrs/ipv4/banana': 'banana',
    'causeway/allocations/pod-cidrs/ipv6/fd60:1::/124': '{"node":',
    'causeway/allocations/addresses/10.60.0.300': '{"owner":null}',
    'causeway/allocations/addresses/fd60:1::7': 'x'.repeat(100_000),
    'causeway/allocations/vips/::': '[]',
  };
  for (const [key, value] of Object.entries(rubbish)) await kv.put(key, value);
  const store = await lab().cluster().store();
  const [theirs] = await eventually('a1 has a CIDR', async () => {
    const cidrs = await held(lab(), 'a1');
    return cidrs.length > 0 ? cidrs : undefined;
  });
  // The node's agent writes it, too: who comes second reads it again.
  await eventually('b1 names a CIDR of a1 as its own', async () => {
    const node = await store.get('CiliumNode', { name: 'b1' });
    const { ipam } = node.spec;
    const allocated = [...(ipam?.pools?.allocated ?? []), { pool: 'rack-a', cidrs: [theirs!] }];
    const spec = { ...node.spec, ipam: { ...ipam, pools: { ...ipam?.pools, allocated } } };
    try {
      return await store.update({ ...node, spec });
    } catch (error) {
      if ((error as { code?: unknown }).code === 'conflict') return undefined;
      throw error;
    }
  });
  const pods = plainPods('b1', 'honest', 20);
  const addresses = (await startAll(lab(), pods)).flat();
  assert.deepEqual(
    addresses.filter((address) => Prefix.contains(theirs!, Address.parse(address))),
    [],
    `none of ${theirs}, which is a1's`,
  );
  await until(
    'b1 is told whose it is, or has let go of it',
    async () => {
      const { spec, status } = await store.get('CiliumNode', { name: 'b1' });
      const names = (spec.ipam?.pools?.allocated ?? []).some(({ cidrs }) =>
        cidrs?.includes(theirs!),
      );
      return !names || /\ba1\b/.test(JSON.stringify(status)) ? undefined : 'neither';
    },
    { timeoutMs: SETTLE_MS },
  );
  assert.equal((await records(lab())).find(({ cidr }) => cidr === theirs)?.node, 'a1');
  const plan = readFileSync(join(EXAMPLES, 'pools/plan.yaml'), 'utf8');
  await store.apply(parseManifests(plan).map(({ value }) => value));
  const clash = {
    apiVersion: 'cilium.io/v2alpha1',
    kind: 'CiliumPodIPPool',
    metadata: { name: 'clash' },
    spec: { ipv4: { cidrs: ['10.61.0.0/24'], maskSize: 28 } },
  };
  await assert.rejects(store.apply([clash]), /10\.61\.0\.0/);
  const spares = { ...clash, spec: { ipv4: { cidrs: ['10.62.3.0/24'], maskSize: 28 } } };
  await assert.rejects(store.apply([spares]), /spare/);
  await stopAll(lab(), pods);
  for (const key of Object.keys(rubbish)) await kv.delete(key);
});
