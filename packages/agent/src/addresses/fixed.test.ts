import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import { StateDirectory, silentLog } from '@causeway/daemon';
import { memoryEtcd, systemClock } from '@causeway/etcd';
import { type Address, type Family, Prefix } from '@causeway/ip';
import { type Claim, claimKey, decodeClaim, releaseClaim, takeClaim } from '@causeway/ipam';
import { encodePodCidr, podCidrKey } from '@causeway/resources';
import { Database } from '@causeway/tables';
import { clusterTables } from '../cluster/tables.ts';
import { NodeAddressPool } from '../endpoints/pool.ts';
import { endpointTable } from '../endpoints/table.ts';
import { podTable } from '../sources/pods.ts';
import { StoreTrust } from '../sources/trust.ts';
import { claimRecord, claimTable } from './claim-rows.ts';
import { ClaimStore } from './claims.ts';
import { catchUp } from './duties.ts';
import { FixedAddresses } from './fixed.ts';
import type { FixedWish } from './wish.ts';

const BOTH: readonly Family[] = ['ipv4', 'ipv6'];
const directory = fs.mkdtempSync(path.join(os.tmpdir(), `cw-fixed-${process.pid}-`));
const etcd = memoryEtcd({ clock: systemClock });
after(async () => {
  await etcd[Symbol.asyncDispose]();
  fs.rmSync(directory, { recursive: true });
});

/** A node's part in addresses that stay, over the store of all tests. */
function life(node: string, cidrs: readonly string[], recorded = false) {
  const kv = etcd.connect();
  const database = new Database({ freeze: true });
  const stop = new AbortController();
  const trust = new StoreTrust(kv, systemClock);
  const cluster = clusterTables(database, trust, stop.signal);
  const pool = new NodeAddressPool(['ipv4', 'ipv6'], () => performance.now());
  const prefixes = cidrs.map((text) => Prefix.parse(text));
  pool.setCidrs(prefixes.map((prefix) => ({ prefix })));
  const claims = new ClaimStore({
    kv,
    table: claimTable(database),
    state: new StateDirectory(path.join(directory, node), claimRecord),
    node,
    covering(address) {
      const cidr = prefixes.find((each) => Prefix.contains(each, address));
      return cidr && { cidr, recorded };
    },
    log: silentLog,
  });
  const state = { connected: true };
  const pods = podTable(database);
  const fixed = new FixedAddresses({
    node,
    cluster: 'east',
    pool,
    claims,
    pods,
    endpoints: endpointTable(database),
    nodes: cluster.nodes,
    covers: (address) => prefixes.some((each) => Prefix.contains(each, address)),
    connected: () => state.connected,
  });
  const take = async (container: string, wish: FixedWish, asked = BOTH) => {
    const owner = { containerId: container, ifname: 'eth0' };
    const any = (families: readonly Family[]) =>
      pool.give(owner, Object.fromEntries(families.map((family) => [family, 'any'])));
    return (await fixed.take(owner, wish, asked, any)).addresses;
  };
  const release = async (
    container: string,
    addresses: Partial<Record<Family, Address | undefined>>,
  ) => {
    pool.release({ containerId: container, ifname: 'eth0' });
    const gone = { node, holder: `${container}/eth0` };
    for (const address of Object.values(addresses)) {
      if (address === undefined) continue;
      await claims.change([{ address, step: (claim) => releaseClaim(claim!, gone, 0) }]);
    }
  };
  const end = async () => {
    stop.abort();
    trust[Symbol.dispose]();
    await claims[Symbol.asyncDispose]();
    await kv[Symbol.asyncDispose]();
  };
  return {
    kv,
    pool,
    claims,
    cluster,
    state,
    fixed,
    pods,
    take,
    release,
    [Symbol.asyncDispose]: end,
  };
}

const wishFor = (owner: FixedWish['owner'], more: Partial<FixedWish> = {}): FixedWish => ({
  type: 'fixed',
  owner,
  addresses: {},
  pool: undefined,
  ttlSeconds: 60,
  reservation: undefined,
  why: 'the test asks for it',
  ...more,
});
const podOf = (pod: string) => ({ type: 'pod' as const, namespace: 'shop', pod });

test('an address is given with its record, follows its owner, and is kept from everybody else', async () => {
  await using a = life('a', ['10.1.0.0/28', 'fd00:1::/124']);
  await using b = life('b', ['10.2.0.0/28', 'fd00:2::/124']);
  const first = await a.take('c1', wishFor(podOf('db')));
  const record = decodeClaim((await a.kv.get(claimKey(first.ipv4!)))!.text);
  assert.deepEqual(
    [record.home, record.at, record.holder, record.partner, record.announced],
    ['a', 'a', 'c1/eth0', first.ipv6, false],
  );
  assert.deepEqual(await a.take('c1', wishFor(podOf('db'))), first, 'asked again, the same answer');
  await b.claims.read(new AbortController().signal);
  assert.deepEqual(await b.take('c2', wishFor(podOf('db'))), first, 'on another node');
  const moved = decodeClaim((await a.kv.get(claimKey(first.ipv4!)))!.text);
  assert.deepEqual([moved.home, moved.at, moved.from, moved.epoch], ['a', 'b', null, 2]);

  const named = { addresses: { ipv4: first.ipv4! } };
  await using c = life('c', ['10.7.0.0/28', 'fd00:7::/124']);
  await c.claims.read(new AbortController().signal);
  await assert.rejects(c.take('c3', wishFor(podOf('thief'), named)), {
    code: 'address-held',
    message: /is kept for pod shop\/db on b/,
  });
});

test('who asks for what is not his is told whose it is', async () => {
  await using a = life('a', ['10.3.0.0/28', 'fd00:3::/124']);
  const addressed = (text: string) => wishFor(podOf('p'), { addresses: { ipv4: text as Address } });
  a.cluster.nodes.put({
    cluster: 'east',
    name: 'far',
    addresses: [],
    podCIDRs: [Prefix.parse('10.4.0.0/24')],
    labels: {},
  });
  await assert.rejects(a.take('x', addressed('10.4.0.9')), {
    code: 'address-outside',
    message: /a pod CIDR of the node far/,
  });
  await assert.rejects(a.take('x', addressed('10.99.0.9')), {
    code: 'address-outside',
    message: /in no pod CIDR of any node/,
  });
  a.pool.give(
    { containerId: 'other', ifname: 'eth0' },
    { ipv4: { address: '10.3.0.5' as Address } },
  );
  await assert.rejects(a.take('x', addressed('10.3.0.5')), {
    code: 'address-in-use',
    message: /in use by container other on this node/,
  });
  await assert.rejects(
    a.take('x', addressed('10.3.0.1')),
    { code: 'address-outside' },
    'the gateway',
  );
  assert.equal(a.pool.stats()[0]?.used, 1n, 'nothing was given meanwhile');
  assert.equal((await a.take('x', addressed('10.3.0.7'))).ipv4, '10.3.0.7');
});

test('pods without numbers take what their workload has, each its own, also at the same time', async () => {
  await using a = life('a', ['10.5.0.0/27', 'fd00:5::/123']);
  const owner = {
    type: 'any-of' as const,
    workload: { namespace: 'shop', kind: 'Deployment', name: 'front' },
  };
  const names = ['p1', 'p2', 'p3', 'p4'];
  const given = await Promise.all(names.map((name) => a.take(name, wishFor(owner))));
  assert.equal(new Set(given.map(({ ipv4 }) => ipv4)).size, 4);
  await a.release('p2', given[1]!);
  assert.deepEqual(await a.take('p5', wishFor(owner)), given[1], 'what is free is taken first');
});

test('while the store is away what is known goes on, and what is not is refused', async () => {
  const cidrs = ['10.6.0.0/28', 'fd00:6::/124'];
  let given: Partial<Record<Family, Address | undefined>>;
  {
    await using a = life('away', cidrs);
    given = await a.take('c1', wishFor(podOf('kept')));
    a.state.connected = false;
    await a.release('c1', {});
    assert.deepEqual(await a.take('c2', wishFor(podOf('kept'))), given, 'its own pod, made anew');
    assert.equal(a.claims.table.get(given.ipv4!)?.claim.holder, 'c2/eth0');
  }
  await using again = life('away', cidrs);
  again.state.connected = false;
  assert.deepEqual(
    await again.take('c3', wishFor(podOf('kept'))),
    given,
    'remembered over a restart',
  );
  if (!again.claims.synced) {
    await assert.rejects(again.take('c4', wishFor(podOf('unknown'))), {
      code: 'store-unavailable',
    });
  }
});

test('what changed while the store was away is not undone by what the store says before both were compared', async () => {
  await using a = life('outage', ['10.8.0.0/28', 'fd00:8::/124']);
  const { signal } = new AbortController();
  const { ipv4 } = await a.take('c1', wishFor(podOf('again')));
  a.state.connected = false;
  await a.release('c1', {});
  await a.take('c2', wishFor(podOf('again')));
  await a.claims.read(signal);
  const row = a.claims.table.get(ipv4!)!;
  assert.deepEqual([row.claim.holder, row.revision], ['c2/eth0', 0], 'the pod that runs has it');
  a.state.connected = true;
  await a.claims.change([{ address: ipv4!, step: (stored) => catchUp(stored, row.claim) }]);
  const stored = decodeClaim((await a.kv.get(claimKey(ipv4!)))!.text);
  assert.equal(stored.holder, 'c2/eth0');
  assert.ok(a.claims.table.get(ipv4!)!.revision > 0, 'nothing waits any more');

  const moved = { ...stored, at: 'elsewhere', holder: 'c3/eth0', epoch: stored.epoch + 1 };
  assert.deepEqual(catchUp(moved, stored), { type: 'same', claim: moved }, 'moved on since');
});

test('no claim is made in a CIDR that another node has by now, also not one that waited for the store', async () => {
  const cidr = Prefix.parse('10.12.0.0/28');
  await using a = life('unaware', [cidr], true);
  const give = (node: string) => {
    const record = {
      cidr,
      pool: 'p',
      node,
      since: '2026-01-01T00:00:00Z',
      state: 'given',
    } as const;
    return a.kv.put(podCidrKey(cidr), encodePodCidr(record));
  };
  const ask = (container: string) => a.take(container, wishFor(podOf(container)), ['ipv4']);
  await assert.rejects(ask('c1'), { code: 'address-held', message: /is of no node/ });
  await give('unaware');
  const { ipv4 } = await ask('c1');
  await give('another');
  await assert.rejects(ask('c2'), { code: 'address-held', message: /which .* is of another/ });
  assert.equal(a.pool.stats()[0]?.used, 1n, 'what was given for it has gone back');

  a.state.connected = false;
  const waiting = await ask('c3');
  const { claim } = a.claims.table.get(waiting.ipv4!)!;
  const late = {
    address: claim.address,
    step: (stored: Claim | undefined) => catchUp(stored, claim),
  };
  const outcome = await a.claims.change([late]);
  assert.equal(outcome.type === 'refused' && outcome.code, 'block-taken');
  assert.equal(await a.kv.get(claimKey(claim.address)), undefined);
  assert.ok(await a.kv.get(claimKey(ipv4!)), 'what was made before stands');
});

test('claims of others in a CIDR that has come here are remembered, for a restart while the store is away', async () => {
  const address = '10.13.0.3' as Address;
  const cidrs = ['10.13.0.0/28'];
  {
    await using far = life('far-away', []);
    const owner = podOf('traveller');
    const wish = { address, owner, partner: null, home: null, ttlSeconds: 60, reservation: null };
    const place = { node: 'far-away', holder: 'c1/eth0' };
    await far.claims.change([{ address, step: (claim) => takeClaim(claim, wish, place) }]);
    await using a = life('new-home', cidrs);
    await a.claims.read(new AbortController().signal);
  }
  const state = new StateDirectory(path.join(directory, 'new-home'), claimRecord);
  assert.equal(state.load().records.get(address)?.claim.at, 'far-away');
});

test('a hand-over takes nothing of another namespace, whatever a pod claims to have for addresses', async () => {
  await using a = life('first', ['10.9.0.0/28', 'fd00:9::/124']);
  await using b = life('second', ['10.10.0.0/28', 'fd00:10::/124']);
  const given = await a.take('c1', wishFor(podOf('victim')));
  await b.claims.read(new AbortController().signal);
  b.pods.put({
    namespace: 'mallory',
    name: 'bait',
    labels: {},
    annotations: {},
    addresses: [given.ipv4!],
  } as never);
  const owner = { containerId: 'c2', ifname: 'eth0' };
  const wish = (namespace: string, from: string) =>
    ({ type: 'hand-over', namespace, from }) as const;
  await assert.rejects(b.fixed.standBy(owner, wish('mallory', 'bait')), {
    code: 'address-unknown',
  });
  const own = await b.fixed.standBy(owner, wish('shop', 'victim'));
  assert.equal(own.addresses.ipv4, given.ipv4, 'its own namespace may');
});

test('a store that comes back without its claims is told again what endpoints here have', async () => {
  await using a = life('told', ['10.11.0.0/28', 'fd00:11::/124']);
  const { ipv4 } = await a.take('c1', wishFor(podOf('kept-on')));
  const row = () => a.claims.table.get(ipv4!);
  while (!a.claims.synced) await new Promise((resolve) => setTimeout(resolve, 10));
  etcd.wipe();
  while (row()?.revision !== 0) await new Promise((resolve) => setTimeout(resolve, 10));
  assert.equal(row()?.claim.holder, 'c1/eth0');
  const own = row()!.claim;
  await a.claims.change([{ address: ipv4!, step: (stored) => catchUp(stored, own) }]);
  assert.equal(decodeClaim((await a.kv.get(claimKey(ipv4!)))!.text).holder, 'c1/eth0');
});
