/**
 * What addresses cost to give: allocations a second on a node by itself; blocks a second from one operator and from
 * three when 500 nodes ask at once, against the transactions a second that the same etcd does for a client that
 * wants nothing else; the operator's memory, and its time to lead, with 20,000 nodes.
 */
import type { ChildProcess } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ApiClient } from '@causeway/daemon';
import { absent, connectKv, type Kv, type TxnOperation } from '@causeway/etcd';
import { EtcdProcess } from '@causeway/etcd/testing';
import { Address, Prefix } from '@causeway/ip';
import { NodeIpam } from '@causeway/ipam';
import { pool, TestNode, until } from '@causeway/operator/testing';
import { encodePodCidr, etcdStore, POD_CIDRS, podCidrKey, registryKey } from '@causeway/resources';
import { type Bar, type Benchmark, compare, type Figure, ratioBar } from './lib/benchmark.ts';
import { startChild, takeAwayOnInterrupt, temporaryDirectory } from './lib/interrupt.ts';

const POOL = pool('default', {
  ipv4: { cidrs: ['10.0.0.0/8'], maskSize: 26 },
  ipv6: { cidrs: ['fd00::/40'], maskSize: 64 },
});

/** One operator as a process of its own. */
class OperatorProcess implements AsyncDisposable {
  readonly #child: ChildProcess;
  readonly #client: ApiClient;

  constructor(directory: string, name: string, endpoint: string) {
    const runDir = join(directory, name);
    const file = join(directory, `${name}.json`);
    const settings = { name, runDir, etcd: { endpoints: [endpoint] }, log: 'error' };
    writeFileSync(
      file,
      JSON.stringify({ ...settings, podCidrs: { nodeGoneSeconds: 0, emptiedGraceSeconds: 0 } }),
    );
    const binary = join(import.meta.dirname, '../packages/cli/bin/causeway');
    this.#child = startChild([binary, 'operator', '--config', file], { stdio: 'inherit' });
    this.#client = new ApiClient('operator', join(runDir, 'operator.sock'));
  }

  async status(): Promise<{ ready: boolean; leader: boolean; giving?: boolean } | undefined> {
    return (await this.#client.ask('GET', '/v1/status').catch(() => undefined)) as never;
  }

  /** Resident memory now and at its highest, in MiB. */
  memory(): { now: number; peak: number } {
    const text = readFileSync(`/proc/${this.#child.pid}/status`, 'utf8');
    const field = (name: string): number =>
      Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(text)?.[1]) / 1024;
    return { now: field('VmRSS'), peak: field('VmHWM') };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const ended = new Promise((resolve) => this.#child.once('exit', resolve));
    if (this.#child.exitCode !== null || !this.#child.kill('SIGTERM')) return;
    await ended;
  }
}

/** Pairs of allocation and release a second on a node that has `held` pods. */
function localRate(blocks: number, held: number, seconds: number): number {
  let at = 0;
  const cidrs = Array.from({ length: blocks }, (_, index) => ({
    prefix: Prefix.parse(`10.0.${index}.0/24`),
  }));
  const ipam = new NodeIpam({ cidrs, quarantineMs: 0 });
  const owner = (index: number) => ({ containerId: `c${index}`, ifname: 'eth0' });
  for (let index = 0; index < held; index++) ipam.allocate(owner(index), { ipv4: 'any' }, at++);
  const end = performance.now() + seconds * 1000;
  let done = 0;
  const began = performance.now();
  while (performance.now() < end) {
    for (let step = 0; step < 200; step++) {
      ipam.allocate(owner(held), { ipv4: 'any' }, at++);
      ipam.release(owner(held), at++);
      done++;
    }
  }
  return (done * 1000) / (performance.now() - began);
}

/** Transactions a second of the form that one block takes: two absences, two puts. */
async function etcdRate(kv: Kv, count: number): Promise<number> {
  const value = 'x'.repeat(400);
  const began = performance.now();
  let next = 0;
  const work = async (): Promise<void> => {
    for (let index = next++; index < count; index = next++) {
      const keys = [`bench/a/${index}`, `bench/b/${index}`];
      await kv.txn({
        compare: keys.map(absent),
        success: keys.map((key): TxnOperation => ({ type: 'put', key, value })),
      });
    }
  };
  await Promise.all(Array.from({ length: 64 }, work));
  const seconds = (performance.now() - began) / 1000;
  await kv.deletePrefix('bench/');
  return count / seconds;
}

/** Blocks a second from the first node's asking to the last record, two blocks for each of the nodes. */
async function blockRate(kv: Kv, nodes: number): Promise<number> {
  await kv.deletePrefix(registryKey('CiliumNode', { name: '' }));
  await until(
    'all is free',
    async () => (await kv.list(POD_CIDRS, { keysOnly: true })).entries.length === 0,
  );
  const all = Array.from({ length: nodes }, (_, index) => new TestNode(kv, `n${index}`));
  for (const node of all) await node.ask('default', 0);
  const done = Promise.withResolvers<void>();
  let seen = 0;
  await using watch = kv.watch(POD_CIDRS);
  const watching = (async () => {
    for await (const event of watch) {
      if (event.type === 'put' && ++seen === nodes * 2) done.resolve();
    }
  })();
  const began = performance.now();
  await Promise.all(all.map((node) => node.ask('default', 40, 40)));
  await done.promise;
  const seconds = (performance.now() - began) / 1000;
  await watch[Symbol.asyncDispose]();
  await watching;
  return (nodes * 2) / seconds;
}

/** Nodes that hold two blocks each, with their records, as they are after a year. */
async function fill(kv: Kv, nodes: number): Promise<void> {
  const four = Address.toBigInt(Address.parse('10.0.0.0'));
  const six = Address.toBigInt(Address.parse('fd00::'));
  const since = '2026-01-01T00:00:00Z';
  let operations: TxnOperation[] = [];
  for (let index = 0; index < nodes; index++) {
    const node = `node-${index}.rack-${index % 40}.example`;
    const cidrs = [
      Prefix.parse(`${Address.fromBigInt('ipv4', four + BigInt(index) * 64n)}/26`),
      Prefix.parse(`${Address.fromBigInt('ipv6', six + (BigInt(index) << 64n))}/64`),
    ];
    const object = {
      apiVersion: 'cilium.io/v2',
      kind: 'CiliumNode',
      metadata: {
        name: node,
        uid: crypto.randomUUID(),
        generation: 3,
        labels: { rack: `r${index % 40}`, zone: `z${index % 3}` },
      },
      spec: {
        addresses: [{ type: 'InternalIP', ip: `172.16.${index >> 8}.${index & 255}` }],
        ipam: {
          pools: {
            requested: [{ pool: 'default', needed: { 'ipv4-addrs': 40, 'ipv6-addrs': 40 } }],
            allocated: [{ pool: 'default', cidrs }],
          },
        },
      },
    };
    operations.push({
      type: 'put',
      key: registryKey('CiliumNode', { name: node }),
      value: JSON.stringify(object),
    });
    for (const cidr of cidrs) {
      const record = { cidr, pool: 'default', node, since, state: 'given' } as const;
      operations.push({ type: 'put', key: podCidrKey(cidr), value: encodePodCidr(record) });
    }
    if (operations.length >= 120 || index === nodes - 1) {
      await kv.txn({ compare: [], success: operations });
      operations = [];
    }
  }
}

const allocate: Benchmark = async ({ quick, log }) => {
  const figures: Figure[] = [];
  const bars: Bar[] = [];
  const rounds = quick ? 1 : 5;
  const local = {
    metric: 'allocations on a node (with their releases)',
    unit: '1/s',
    better: 'higher',
    reference: 'one /24, empty',
    rounds,
  } as const;
  const seconds = quick ? 0.2 : 1;
  figures.push(
    ...(await compare(
      {
        ...local,
        variants: {
          'one /24, empty': async () => localRate(1, 0, seconds),
          'one /24, 250 pods': async () => localRate(1, 250, seconds),
          'eight /24, 2,000 pods': async () => localRate(8, 2000, seconds),
        },
      },
      log,
    )),
  );

  using directory = temporaryDirectory();
  await using etcd = await EtcdProcess.start();
  const forget = takeAwayOnInterrupt(() => etcd[Symbol.asyncDispose]());
  await using kv = connectKv({ endpoints: [etcd.endpoint], deadline: 60_000 });
  await until('etcd answers', () => kv.health().connected);
  await etcdStore(kv).apply([POOL]);
  const nodes = quick ? 50 : 500;
  const withOperators = async (count: number): Promise<number> => {
    await using stack = new AsyncDisposableStack();
    const operators = Array.from({ length: count }, (_, index) =>
      stack.use(new OperatorProcess(directory.path, `operator-${count}-${index}`, etcd.endpoint)),
    );
    await until('all are ready and one leads', async () => {
      const all = await Promise.all(operators.map((each) => each.status()));
      return all.every((each) => each?.ready) && all.some((each) => each?.giving);
    });
    // Awaited here: the operators go with this scope.
    return await blockRate(kv, nodes);
  };
  const rate = `blocks given, ${nodes} nodes asking at once`;
  figures.push(
    ...(await compare(
      {
        metric: rate,
        unit: '1/s',
        better: 'higher',
        reference: 'transactions of etcd itself',
        rounds,
        variants: {
          'transactions of etcd itself': () => etcdRate(kv, quick ? 500 : 5000),
          '1 operator': () => withOperators(1),
          '3 operators': () => withOperators(3),
        },
      },
      log,
    )),
  );
  for (const variant of ['1 operator', '3 operators']) {
    bars.push(ratioBar(figures, rate, variant, 0.1));
  }

  const many = quick ? 2_000 : 20_000;
  const memory: Figure[] = [];
  const leading: number[] = [];
  const sizes: Record<string, { now: number; peak: number }[]> = {};
  for (const [variant, count] of [
    ['no nodes', 0],
    [`${many.toLocaleString('en')} nodes`, many],
  ] as const) {
    await kv.deletePrefix('causeway/');
    await etcdStore(kv).apply([POOL]);
    await fill(kv, count);
    await using stack = new AsyncDisposableStack();
    const began = performance.now();
    const [leader, follower] = ['a', 'b'].map((each) =>
      stack.use(new OperatorProcess(directory.path, `memory-${count}-${each}`, etcd.endpoint)),
    ) as [OperatorProcess, OperatorProcess];
    await until('one leads', async () => {
      const all = await Promise.all([leader.status(), follower.status()]);
      return all.every((each) => each?.ready) && all.some((each) => each?.giving);
    });
    leading.push((performance.now() - began) / 1000);
    // Until the collector has been through what the start left behind.
    await new Promise((resolve) => setTimeout(resolve, quick ? 1_000 : 10_000));
    const first = await leader.status();
    const [one, two] = first?.leader ? [leader, follower] : [follower, leader];
    sizes[variant] = [one.memory(), two.memory()];
    log(
      `${variant}: leader ${one.memory().now.toFixed(0)} MiB, follower ${two.memory().now.toFixed(0)} MiB`,
    );
  }
  const variants = Object.keys(sizes);
  const [none, full] = variants as [string, string];
  const figure = (metric: string, unit: string, values: readonly number[]): Figure[] =>
    values.map((value, index) => ({
      metric,
      unit,
      better: 'lower',
      variant: variants[index]!,
      median: value,
      samples: [value],
      reference: none,
      ratio: value / values[0]!,
    }));
  memory.push(
    ...figure('memory of the leader', 'MiB', [sizes[none]![0]!.now, sizes[full]![0]!.now]),
    ...figure('memory of the leader at its highest', 'MiB', [
      sizes[none]![0]!.peak,
      sizes[full]![0]!.peak,
    ]),
    ...figure('memory of a follower', 'MiB', [sizes[none]![1]!.now, sizes[full]![1]!.now]),
    ...figure('from the start of the process to a lead that gives', 's', leading),
  );
  figures.push(...memory);
  const most = quick ? 250 : 300;
  const got = sizes[full]![0]!.now;
  bars.push({
    what: `memory of the leader with ${full}`,
    wanted: `at most ${most} MiB`,
    got: `${got.toFixed(0)} MiB`,
    met: got <= most,
  });
  forget();
  return {
    figures,
    bars,
    notes: [
      `each of the ${nodes} nodes is given two blocks, one of each family; asking costs it a read and a transaction of its own`,
      'etcd runs without fsync, for both sides of the comparison',
    ],
  };
};

export default allocate;
