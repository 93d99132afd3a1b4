import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { StateDirectory, silentLog } from '@causeway/daemon';
import { Prefix } from '@causeway/ip';
import { Database } from '@causeway/tables';
import { NodeAddressPool } from '../endpoints/pool.ts';
import { ownNodeTable, type StoredNode, storedNodeTable } from '../node/own-node.ts';
import { heldBlocksRecord } from './held.ts';
import { BlockKeeper } from './keeper.ts';
import { NodeDemand } from './node-demand.ts';
import { addressTables, type PoolRow } from './sources.ts';
import type { PoolWish } from './stored-pools.ts';

const cidr = (text: string) => Prefix.parse(text);
const FIRST = cidr('10.1.0.0/29');
const SECOND = cidr('10.1.0.8/29');

/** What outlives an agent and what surrounds it: the test says what is true of it. */
class Surroundings implements Disposable {
  readonly directory = fs.mkdtempSync(path.join(os.tmpdir(), `cw-keeper-${process.pid}-`));
  allocated: readonly Prefix[] = [];
  readonly recorded = new Set<Prefix>();
  readonly takenBy = new Map<Prefix, string>();
  readonly claimsKnown = new Set<Prefix>();
  readonly told = new Set<Prefix>();
  readonly sentFor = new Set<Prefix>();
  readonly closed = new Set<Prefix>();
  now = 0;

  /** One life of an agent. */
  life() {
    const database = new Database({ freeze: true });
    const known = storedNodeTable(database, 'known-node');
    const ownNode = ownNodeTable(database);
    const tables = addressTables(database);
    tables.pools.put({ name: 'default', labels: {}, families: ['ipv4'] } satisfies PoolRow);
    const pool = new NodeAddressPool(['ipv4'], () => this.now, 1_000);
    const wishes: PoolWish[] = [];
    let stopped = 0;
    const store = () => {
      const node: StoredNode = {
        name: 'a',
        addresses: [],
        labels: {},
        podCIDRs: [],
        pools: {
          requested: [],
          allocated: this.allocated.map((each) => ({ pool: 'default', cidr: each })),
        },
      };
      known.put(node);
      tables.options.put({
        name: 'default',
        marks: { high: 0.9, low: 0.5, lowForSeconds: 1 },
        preAllocate: 2,
        closed: [...this.closed],
      });
    };
    store();
    const keeper = new BlockKeeper({
      node: 'a',
      known,
      ownNode,
      state: new StateDirectory(this.directory, heldBlocksRecord),
      log: silentLog,
    });
    keeper.attach({
      pool,
      demand: new NodeDemand({
        families: ['ipv4'],
        tables,
        waiting: () => new Map(),
        recent: () => 0,
        now: () => this.now,
      }),
      claimsKnown: (each) => this.claimsKnown.has(each),
      claimsPending: () => false,
      announced: (each) => this.told.has(each) && this.sentFor.has(each),
      withdrawn: (each) => !this.told.has(each),
      records: {
        of: (each) => ({ recorded: this.recorded.has(each), takenBy: this.takenBy.get(each) }),
        follow: () => {},
      },
      silent: () => stopped > 0,
      want: (wish) => wishes.push(wish),
      onTaken: () => stopped++,
    });
    const phases = () => Object.fromEntries(keeper.blocks.map((each) => [each.cidr, each.phase]));
    /** Turns until nothing changes any more. */
    const settle = async () => {
      for (let last = ''; last !== JSON.stringify(phases()); ) {
        last = JSON.stringify(phases());
        store();
        keeper.look();
        await new Promise((resolve) => setImmediate(resolve));
      }
    };
    const published = () => ownNode.get('a')?.podCIDRs ?? [];
    return { keeper, pool, wishes, phases, settle, published, stopped: () => stopped };
  }

  [Symbol.dispose](): void {
    fs.rmSync(this.directory, { recursive: true });
  }
}

const give = (pool: NodeAddressPool, name: string) =>
  pool.give({ containerId: name, ifname: 'eth0' }, { ipv4: { pool: 'default' } }).addresses.ipv4!;

test('a CIDR is used after its record, its claims and its announcement are there, and let go in the opposite order', async () => {
  using world = new Surroundings();
  const { keeper, pool, wishes, phases, settle, published } = world.life();
  using _keeper = keeper;
  keeper.restored();
  world.allocated = [FIRST];
  await settle();
  assert.deepEqual(phases(), { [FIRST]: 'learning' });
  assert.throws(() => give(pool, 'early'), { code: 'no-cidr' }, 'the record is not there');
  world.recorded.add(FIRST);
  await settle();
  assert.deepEqual(phases(), { [FIRST]: 'learning' }, 'claims in it are not known');
  assert.deepEqual(published(), []);
  world.claimsKnown.add(FIRST);
  await settle();
  assert.deepEqual(phases(), { [FIRST]: 'announcing' });
  assert.deepEqual(published(), [FIRST]);
  const early = give(pool, 'early');
  assert.ok(Prefix.contains(FIRST, early), 'where nothing else is left an ADD does not wait');
  world.told.add(FIRST);
  world.sentFor.add(FIRST);
  await settle();
  assert.deepEqual(phases(), { [FIRST]: 'ready' });

  // A second one, that is not announced yet, is passed over as long as the first has an address.
  world.allocated = [FIRST, SECOND];
  for (const set of [world.recorded, world.claimsKnown]) set.add(SECOND);
  await settle();
  assert.deepEqual(phases(), { [FIRST]: 'ready', [SECOND]: 'announcing' });
  assert.ok(Prefix.contains(FIRST, give(pool, 'b')));
  for (const set of [world.told, world.sentFor]) set.add(SECOND);
  await settle();

  // Its range is closed: no new pods, until the last has gone and its address has rested.
  world.closed.add(FIRST);
  await settle();
  assert.deepEqual(phases(), { [FIRST]: 'draining', [SECOND]: 'ready' });
  assert.ok(Prefix.contains(SECOND, give(pool, 'c')));
  for (const name of ['early', 'b']) pool.release({ containerId: name, ifname: 'eth0' });
  await settle();
  assert.deepEqual(phases()[FIRST], 'draining', 'the addresses rest');
  assert.deepEqual(published(), [FIRST, SECOND]);
  world.now += 5_000;
  await settle();
  assert.deepEqual(phases()[FIRST], 'withdrawing');
  assert.deepEqual(published(), [SECOND]);
  assert.ok(!wishes.some(({ returned }) => returned.has(FIRST)), 'others still send for it here');
  world.told.delete(FIRST);
  await settle();
  assert.deepEqual(phases()[FIRST], 'returning');
  assert.ok(wishes.at(-1)?.returned.has(FIRST));
  world.allocated = [SECOND];
  await settle();
  assert.deepEqual(phases(), { [SECOND]: 'ready' });
});

test('an agent that dies at any step goes on from there, and nothing is let go before use is known', async () => {
  using world = new Surroundings();
  world.allocated = [FIRST];
  const steps: (() => void)[] = [
    () => world.recorded.add(FIRST),
    () => world.claimsKnown.add(FIRST),
    () => world.told.add(FIRST),
    () => world.sentFor.add(FIRST),
    () => world.closed.add(FIRST),
    () => (world.now += 5_000),
    () => world.told.delete(FIRST),
  ];
  const seen: string[] = [];
  for (const step of [() => {}, ...steps]) {
    step();
    {
      const { keeper, phases, settle } = world.life();
      using _keeper = keeper;
      keeper.restored();
      await settle();
      seen.push(phases()[FIRST] ?? 'gone');
    }
    // A life that ends before it knows what is in use.
    const { keeper, phases, settle } = world.life();
    using _keeper = keeper;
    await settle();
    assert.equal(phases()[FIRST], seen.at(-1));
  }
  assert.deepEqual(seen, [
    'learning',
    'learning',
    'announcing',
    'announcing',
    'ready',
    'withdrawing',
    'withdrawing',
    'returning',
  ]);
});

test('taken by force: pods go on as long as nobody else has it, then stop; a CIDR that comes back is used again', async () => {
  using world = new Surroundings();
  const { keeper, pool, wishes, phases, settle, published, stopped } = world.life();
  using _keeper = keeper;
  keeper.restored();
  world.allocated = [FIRST];
  for (const set of [world.recorded, world.claimsKnown, world.told, world.sentFor]) set.add(FIRST);
  await settle();
  give(pool, 'a');
  world.allocated = [];
  world.recorded.delete(FIRST);
  await settle();
  assert.deepEqual(phases(), { [FIRST]: 'lost' });
  assert.deepEqual(published(), [FIRST], 'its pod is still to be reached');
  assert.throws(() => give(pool, 'b'), { code: 'no-cidr' });
  assert.deepEqual(wishes.at(-1)?.named, [{ pool: 'default', cidr: FIRST }]);
  world.takenBy.set(FIRST, 'b');
  await settle();
  assert.deepEqual(phases(), { [FIRST]: 'taken' });
  assert.equal(keeper.blocks[0]?.holder, 'b');
  assert.deepEqual(published(), []);
  await new Promise((resolve) => setImmediate(resolve));
  assert.equal(stopped(), 1);
  world.takenBy.delete(FIRST);
  world.recorded.add(FIRST);
  world.allocated = [FIRST];
  await settle();
  assert.deepEqual(phases(), { [FIRST]: 'ready' });
  assert.ok(Prefix.contains(FIRST, give(pool, 'b')));
});
