import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';
import { connectKv, type Kv } from '@causeway/etcd';
import { EtcdProcess } from '@causeway/etcd/testing';
import { Address } from '@causeway/ip';
import { type Claim, claimKey, encodeClaim, standbyClaim, takeClaim } from '@causeway/ipam';
import { pool, startOperator, TestNode, until } from '@causeway/operator/testing';
import { etcdStore } from '@causeway/resources';

const binary = join(import.meta.dirname, '../../bin/causeway');
const directory = mkdtempSync(join(tmpdir(), `causeway-ipam-${process.pid}-`));
const contexts = join(directory, 'contexts.yaml');
let etcd: EtcdProcess;
let kv: Kv;

async function run(...words: string[]): Promise<string> {
  const env = { ...process.env, CAUSEWAY_CONTEXTS: contexts };
  const { stdout } = await promisify(execFile)(binary, ['ipam', ...words], { env });
  return stdout;
}

const json = async (...words: string[]): Promise<unknown> =>
  JSON.parse(await run(...words, '--json'));

async function refusal(...words: string[]): Promise<{ code: number; text: string }> {
  try {
    await run(...words);
  } catch (error) {
    const { code, stderr } = error as { code: number; stderr: string };
    return { code, text: stderr };
  }
  throw new Error(`${words.join(' ')} was taken`);
}

/** A running machine's address, with a second endpoint ready on n2. */
function handingOver(address: Address, partner: Address): Claim {
  const owner = {
    type: 'workload',
    namespace: 'shop',
    kind: 'StatefulSet',
    name: 'db',
    ordinal: 0,
  } as const;
  const wish = { address, owner, partner, home: 'n1', ttlSeconds: 60, reservation: null };
  const taken = takeClaim(undefined, wish, { node: 'n1', holder: 'container-1' });
  assert.ok(taken.type === 'write');
  const ready = standbyClaim(taken.claim, owner, { node: 'n2', holder: 'container-2' });
  assert.ok(ready.type === 'write');
  return ready.claim;
}

before(async () => {
  etcd = await EtcdProcess.start();
  kv = connectKv({ endpoints: [etcd.endpoint], deadline: 60_000 });
  writeFileSync(
    contexts,
    `current: here\ncontexts: {here: {etcd: {endpoints: ["${etcd.endpoint}"]}}}\n`,
  );
  await until('etcd answers', () => kv.health().connected);
  const store = etcdStore(kv);
  await store.apply([
    {
      apiVersion: 'causeway.io/v1',
      kind: 'AddressPlan',
      metadata: { name: 'company' },
      spec: {
        regions: [
          {
            name: 'eu',
            vpcs: [
              {
                name: 'core',
                cidrs: ['10.0.0.0/8'],
                clusters: [{ name: 'default', pods: ['10.1.0.0/16'] }],
              },
            ],
          },
        ],
      },
    },
  ]);
  await store.apply([
    pool('default', { ipv4: { cidrs: ['10.1.0.0/25', '10.1.1.0/24'], maskSize: 25 } }),
    {
      apiVersion: 'causeway.io/v1',
      kind: 'PodIPPoolOptions',
      metadata: { name: 'default' },
      spec: { closed: ['10.1.1.0/24'] },
    },
    {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: {
        name: 'db-0',
        namespace: 'shop',
        ownerReferences: [
          { apiVersion: 'apps/v1', kind: 'StatefulSet', name: 'db', controller: true },
        ],
      },
      spec: { nodeName: 'n1' },
    },
  ]);
  await store.patchStatus(
    'Pod',
    { namespace: 'shop', name: 'db-0' },
    { podIPs: [{ ip: '10.1.0.5' }] },
  );
  for (const name of ['n1', 'n2']) await new TestNode(kv, name).ask('default', 0);
  // Holds half of the closed range, which would leave the pool by itself if nobody did.
  await new TestNode(kv, 'n3').change((pools) => {
    pools.allocated.push({ pool: 'default', cidrs: ['10.1.1.0/25'] });
  });
  for (const [address, partner] of [
    ['10.1.0.5', 'fd00::5'],
    ['fd00::5', '10.1.0.5'],
  ] as const) {
    const made = handingOver(Address.parse(address), Address.parse(partner));
    await kv.put(claimKey(made.address), encodeClaim(made));
  }
});

after(async () => {
  await kv?.[Symbol.asyncDispose]();
  await etcd?.[Symbol.asyncDispose]();
  rmSync(directory, { recursive: true, force: true });
});

test('pools, nodes, drains, the plan and every address can be asked, for people and for programs', async () => {
  await using _operator = startOperator(kv);
  const [n1, n2] = ['n1', 'n2'].map((name) => new TestNode(kv, name)) as [TestNode, TestNode];
  await n1.ask('default', 10);
  await until('n1 is served', async () => (await n1.allocated()).length === 1);
  await n2.ask('default', 10);
  await until('n2 is told', async () => (await n2.error()) !== '');

  const [row] = (await json('pools')) as {
    free: string;
    waiting: number;
    problems: string[];
    pods: number;
  }[];
  assert.deepEqual([row?.free, row?.waiting, row?.pods], ['0', 1, 1]);
  assert.match(
    row?.problems[0] ?? '',
    /open its closed ranges again \(128 addresses are free there\)/,
  );
  assert.match(await run('pools'), /default +ipv4 +10\.1\.0\.0\/25,10\.1\.1\.0\/24/);

  assert.match(await run('nodes'), /n1 +default +10\.1\.0\.0\/25 +given +1/);
  assert.match(await run('nodes'), /n2: pool default has no ipv4 block of \/25 left/);

  const drain = (await json('drain', '10.1.0.0/25')) as {
    blocks: object[];
    restart: string[];
    empty: boolean;
  };
  assert.deepEqual(drain.blocks, [
    { cidr: '10.1.0.0/25', node: 'n1', pool: 'default', pods: ['shop/db-0'] },
  ]);
  assert.equal(drain.empty, false);
  assert.equal(await run('drain', '10.1.0.0/25', '--restart-list'), 'StatefulSet shop/db\n');

  const plan = await run('plan');
  assert.match(
    plan,
    /region eu[\s\S]*vpc core {2}10\.0\.0\.0\/8[\s\S]*cluster default[\s\S]*CiliumPodIPPool\/default/,
  );
  assert.ok(Array.isArray(await json('plan')));

  const why = await run('why', '10.1.0.5');
  assert.match(why, /pod shop\/db-0 on n1 has it/);
  assert.match(why, /kept for StatefulSet shop\/db, pod 0/);
  assert.match(why, /10\.1\.0\.0\/25 of pool default was given to node n1/);
  assert.match(
    await run('why', '192.0.2.1'),
    /nothing in this cluster has to do with 192\.0\.2\.1/,
  );
  assert.deepEqual(await json('vips'), []);
  const store = etcdStore(kv);
  await store.apply([
    {
      apiVersion: 'networking.k8s.io/v1',
      kind: 'ServiceCIDR',
      metadata: { name: 'kubernetes' },
      spec: { cidrs: ['10.250.0.0/24'] },
    },
  ]);
  await store.apply([
    {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name: 'till', namespace: 'shop' },
      spec: { type: 'LoadBalancer', ports: [{ port: 80 }] },
    },
  ]);
  // In the operator's words, or until it has looked, that it has not.
  assert.match(
    await run('vips'),
    /- +shop\/till .*(no enabled pool with ipv4 addresses selects shop\/till|no operator has looked at it yet)/,
  );
});

test('an address is switched with its partner, once, and only to where a second endpoint waits', async () => {
  assert.match(
    await run('claims'),
    /10\.1\.0\.5 +StatefulSet shop\/db, pod 0 +handing-over +n1 +n1 +fd00::5 +n2/,
  );
  const wrong = await refusal('switch', '10.1.0.5', 'n9');
  assert.equal(wrong.code, 4);
  assert.match(wrong.text, /has its second endpoint on n2/);
  const rows = (await json('switch', '10.1.0.5', 'n2')) as {
    node: string;
    epoch: number;
    standby: string;
  }[];
  assert.deepEqual(
    rows.map(({ node, epoch, standby }) => [node, epoch, standby]),
    [
      ['n2', 2, 'n1'],
      ['n2', 2, 'n1'],
    ],
  );
  assert.equal((await refusal('switch', '10.1.0.99', 'n2')).code, 3);
});

test('a node’s CIDRs are released by force only, and by the leader', async () => {
  await using _operator = startOperator(kv);
  const node = new TestNode(kv, 'n1');
  const unforced = await refusal('release', 'n1');
  assert.equal(unforced.code, 2);
  assert.match(unforced.text, /needs --force/);
  const mistyped = await refusal('release', 'n11', '--force');
  assert.equal(mistyped.code, 3);
  assert.match(mistyped.text, /no node n11 holds CIDRs[\s\S]*these do: n1/);
  assert.deepEqual(await json('release', 'n1', '--force'), {
    node: 'n1',
    released: ['10.1.0.0/25'],
  });
  assert.deepEqual(await node.allocated(), []);
  assert.equal((await refusal('drain', 'nonsense')).code, 2);
});
