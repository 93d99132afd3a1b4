import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { type TxnOperation, unchanged } from '@causeway/etcd';
import type { Address, Prefix } from '@causeway/ip';
import { type Claim, claimKey, decodeClaim, encodeClaim, switchClaim } from '@causeway/ipam';
import { decodePodCidr, encodePodCidr, podCidrKey } from '@causeway/resources';
import { isolated } from './testing/isolated.ts';
import { TwoNodes, until } from './testing/two-nodes.ts';

const FAMILIES = ['ipv4', 'ipv6'] as const;

/** Of the pods of the StatefulSet. */
const OWNED = {
  ownerReferences: [{ apiVersion: 'apps/v1', kind: 'StatefulSet', name: 'db', controller: true }],
};

/** Two nodes whose addresses come from an operator: CIDRs by pool as use grows and ends, and addresses that stay. */
isolated(import.meta.filename, () => {
  let nodes: TwoNodes;

  const node = (name: string, number: number, labels: Record<string, string> = {}) => ({
    apiVersion: 'cilium.io/v2',
    kind: 'CiliumNode',
    metadata: { name, labels },
    spec: {
      addresses: [
        { type: 'InternalIP', ip: `192.0.2.${number}` },
        { type: 'InternalIP', ip: `2001:db8::${number}` },
      ],
    },
  });
  const pool = (name: string, ipv4: string, ipv6: string) => ({
    apiVersion: 'cilium.io/v2alpha1',
    kind: 'CiliumPodIPPool',
    metadata: { name },
    spec: {
      ipv4: { cidrs: [ipv4], maskSize: 29 },
      ipv6: { cidrs: [ipv6], maskSize: 125 },
    },
  });
  const options = (name: string, spec: Record<string, unknown> = {}) => ({
    apiVersion: 'causeway.io/v1',
    kind: 'PodIPPoolOptions',
    metadata: { name },
    spec: { preAllocate: 2, marks: { high: 0.9, low: 0.5, lowForSeconds: 1 }, ...spec },
  });

  before(async () => {
    nodes = new TwoNodes();
    await nodes.startEtcd();
    await nodes.store.apply([
      node('a', 1, { rack: 'r1' }),
      node('b', 2),
      pool('default', '10.7.0.0/24', 'fd00:7::/112'),
      options('default'),
      pool('rack1', '10.7.1.0/24', 'fd00:7:1::/112'),
      options('rack1', { nodeSelector: { matchLabels: { rack: 'r1' } } }),
      { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'shop' } },
    ]);
    await nodes.startOperator();
    const config = { routingMode: 'native', ipam: { quarantineSeconds: 1 } };
    await Promise.all([nodes.startAgent('a', config), nodes.startAgent('b', config)]);
    await Promise.all([nodes.ready('a'), nodes.ready('b')]);
  });
  after(() => nodes[Symbol.asyncDispose]());

  // biome-ignore lint/suspicious/noExplicitAny: answers have many shapes
  const ipam = async (of: 'a' | 'b'): Promise<any> => (await nodes.ask(of, 'GET', '/v1/ipam')).body;
  const cidrs = async (of: 'a' | 'b', family: 'ipv4' | 'ipv6'): Promise<string[]> =>
    (await ipam(of)).cidrs
      .filter((each: { family: string }) => each.family === family)
      .map((each: { cidr: string }) => each.cidr);

  /** The hand-over's one update: both addresses' records in one transaction, as `causeway ipam switch` makes it. */
  async function switchTo(to: string, addresses: readonly Address[]): Promise<void> {
    const entries = await Promise.all(addresses.map((each) => nodes.kv.get(claimKey(each))));
    const success = entries.map((entry): TxnOperation => {
      const step = switchClaim(decodeClaim(entry!.text), to);
      assert.equal(step.type, 'write', JSON.stringify(step));
      return { type: 'put', key: entry!.key, value: encodeClaim((step as { claim: Claim }).claim) };
    });
    const compare = entries.map((entry) => unchanged(entry!));
    assert.ok((await nodes.kv.txn({ compare, success })).succeeded);
  }

  /** What the operator does when a node is released by force and its CIDR is given to another. */
  async function takeByForce(from: string, cidr: Prefix, to: string): Promise<void> {
    const stored = await nodes.store.get('CiliumNode', { name: from });
    const { pools = {} } = stored.spec.ipam ?? {};
    const allocated = (pools.allocated ?? []).map(({ pool: name, cidrs: all = [] }) => ({
      pool: name,
      cidrs: all.filter((each) => each !== cidr),
    }));
    const record = decodePodCidr((await nodes.kv.get(podCidrKey(cidr)))!)!;
    await nodes.kv.put(podCidrKey(cidr), encodePodCidr({ ...record, node: to }));
    await nodes.store.update({
      ...stored,
      spec: { ...stored.spec, ipam: { ...stored.spec.ipam, pools: { ...pools, allocated } } },
    });
  }

  test('each node is given a CIDR of its place, and pods of both reach each other', async () => {
    const web = await nodes.addPod('a', 'web');
    const far = await nodes.addPod('b', 'far');
    assert.match(web.addresses.ipv4, /^10\.7\.1\./);
    assert.match(web.addresses.ipv6, /^fd00:7:1::/);
    assert.match(far.addresses.ipv4, /^10\.7\.0\./);
    for (const family of FAMILIES)
      await until(`web to far ${family}`, () => nodes.ping('web', far.addresses[family]));
  });

  test('a node that runs out is given more before its pods wait; the emptiest goes back when they have gone', async () => {
    const names = Array.from({ length: 12 }, (_, index) => `p${index}`);
    for (const name of names) await nodes.addPod('a', name);
    const grown = await cidrs('a', 'ipv4');
    assert.ok(grown.length >= 3, `12 pods and one more in CIDRs of 5: ${grown.join(', ')}`);
    const last = (await nodes.ask('a', 'GET', '/v1/endpoints/by-container/c-p11/eth0')).body;
    for (const family of FAMILIES)
      await until(`far to the last ${family}`, () => nodes.ping('far', last.addresses[family]));
    for (const name of names) await nodes.removePod('a', name);
    await until('what is spare went back', async () => {
      const left = await cidrs('a', 'ipv4');
      return left.length < grown.length && left.length <= 2;
    });
    await until('the object says the same', async () => {
      const { items } = await nodes.store.list('CiliumNode');
      const own = items.find(({ metadata }) => metadata.name === 'a');
      const allocated = own?.spec.ipam?.pools?.allocated?.flatMap((each) => each.cidrs ?? []);
      return (await cidrs('a', 'ipv4')).every((cidr) => allocated?.includes(cidr));
    });
  });

  test('a pod of a StatefulSet takes its addresses along to another node, and back', async () => {
    await nodes.store.apply([
      {
        apiVersion: 'apps/v1',
        kind: 'StatefulSet',
        metadata: {
          name: 'db',
          namespace: 'shop',
          annotations: { 'causeway.io/fixed-address': 'true' },
        },
        spec: {},
      },
    ]);
    const first = await nodes.addPod('a', 'db-0', {}, { metadata: OWNED, container: 'c-db-0-a' });
    for (const family of FAMILIES)
      await until(`far to db ${family}`, () => nodes.ping('far', first.addresses[family]));

    // The new one is there before the old one has gone, as when a node hangs.
    const second = await nodes.addPod('b', 'db-0', {}, { metadata: OWNED, container: 'c-db-0-b' });
    assert.deepEqual(second.addresses, first.addresses);
    for (const family of FAMILIES) {
      await until(`web to db on b ${family}`, () => nodes.ping('web', first.addresses[family]));
      await until(`far to db on b ${family}`, () => nodes.ping('far', first.addresses[family]));
      await until(`node a to db ${family}`, () => nodes.ping('a', first.addresses[family]));
      await until(`node b to db ${family}`, () => nodes.ping('b', first.addresses[family]));
    }
    const old = (await nodes.ask('a', 'GET', '/v1/endpoints/by-container/c-db-0-a/eth0')).body;
    assert.equal(old.state, 'error');
    assert.match(old.stateReason, /has gone to b with StatefulSet shop\/db, pod 0/);
    await until('the move is over', async () => {
      const { claims } = await ipam('b');
      return claims.every(
        (each: { at: string; announced: boolean; from: string | null }) =>
          each.at === 'b' && each.announced && each.from === null,
      );
    });
    await nodes.removePod('a', 'db-0', 'c-db-0-a');
    await nodes.removePod('b', 'db-0', 'c-db-0-b');
    // Its home keeps the address out of use.
    const other = await nodes.addPod('a', 'other');
    assert.notEqual(other.addresses.ipv4, first.addresses.ipv4);
    const third = await nodes.addPod('a', 'db-0', {}, { metadata: OWNED, container: 'c-db-0-c' });
    assert.deepEqual(third.addresses, first.addresses);
    for (const family of FAMILIES)
      await until(`far to db again ${family}`, () => nodes.ping('far', first.addresses[family]));
  });

  test('what cannot be given says who has it', async () => {
    const web = (await nodes.ask('a', 'GET', '/v1/endpoints/by-container/c-web/eth0')).body;
    const refused = await nodes.tryPod('a', 'thief', {
      'causeway.io/addresses': web.addresses.ipv4,
    });
    assert.equal(refused.status, 409);
    assert.match(refused.body.error.message, /is in use by shop\/web on this node/);
    const foreign = await nodes.tryPod('b', 'stranger', {
      'causeway.io/addresses': web.addresses.ipv4,
    });
    assert.equal(foreign.status, 422);
    assert.match(foreign.body.error.message, /a pod CIDR of the node a/);
    const held = (await ipam('a')).claims[0].address;
    const claimed = await nodes.tryPod('a', 'claimer', { 'causeway.io/addresses': held });
    assert.equal(claimed.status, 409);
    assert.match(claimed.body.error.message, /StatefulSet shop\/db, pod 0|is in use by shop\/db-0/);
  });

  test('a running machine is handed over: the second endpoint is silent until one update', async () => {
    const vm = await nodes.addPod(
      'a',
      'vm-1',
      {},
      {
        annotations: { 'causeway.io/fixed-address': 'true' },
      },
    );
    await until('far reaches it', () => nodes.ping('far', vm.addresses.ipv4));
    const next = await nodes.addPod(
      'b',
      'vm-2',
      {},
      {
        annotations: { 'causeway.io/migrating-from': 'vm-1' },
      },
    );
    assert.deepEqual(next.addresses, vm.addresses);
    assert.ok(nodes.ping('far', vm.addresses.ipv4), 'the first one answers');
    assert.ok(!nodes.ping('vm-2', '192.0.2.2'), 'the second one is silent');
    await switchTo('b', Object.values(vm.addresses));
    for (const family of FAMILIES) {
      await until(`it speaks ${family}`, () =>
        nodes.ping('vm-2', family === 'ipv4' ? '192.0.2.2' : '2001:db8::2'),
      );
      await until(`far reaches it ${family}`, () => nodes.ping('far', vm.addresses[family]));
      await until(`web reaches it ${family}`, () => nodes.ping('web', vm.addresses[family]));
    }
    assert.ok(!nodes.ping('vm-1', '192.0.2.1'), 'now the first one is silent');
  });

  test('agents that are killed: what is held goes on, in the tunnel too, where addresses move as well', async () => {
    const used = async (of: 'a' | 'b') => {
      const { cidrs: all } = await ipam(of);
      const { body } = await nodes.ask(of, 'GET', '/v1/endpoints');
      return {
        cidrs: all
          .filter((each: { used: number }) => each.used > 0)
          .map((each: { cidr: string }) => each.cidr)
          .sort(),
        addresses: body
          .map((each: { addresses: unknown }) => JSON.stringify(each.addresses))
          .sort(),
      };
    };
    const before = [await used('a'), await used('b')];
    await Promise.all([nodes.killAgent('a'), nodes.killAgent('b')]);
    const config = { routingMode: 'tunnel', ipam: { quarantineSeconds: 1 } };
    await Promise.all([nodes.startAgent('a', config), nodes.startAgent('b', config)]);
    await Promise.all([nodes.ready('a'), nodes.ready('b')]);
    assert.deepEqual([await used('a'), await used('b')], before);
    const db = (await nodes.ask('a', 'GET', '/v1/endpoints/by-container/c-db-0-c/eth0')).body;
    const moved = await nodes.addPod('b', 'db-0', {}, { metadata: OWNED, container: 'c-db-0-d' });
    assert.deepEqual(moved.addresses, db.addresses);
    for (const family of FAMILIES) {
      for (const from of ['web', 'far', 'a', 'b'])
        await until(`${from} to db in the tunnel ${family}`, () =>
          nodes.ping(from, db.addresses[family]),
        );
    }
  });

  test('the store is away: pods come and go with what the nodes hold', async () => {
    nodes.pauseEtcd();
    try {
      await nodes.removePod('a', 'other', 'c-other', false);
      const away = await nodes.tryPod('a', 'away', undefined, false);
      assert.equal(away.status, 201, JSON.stringify(away.body));
      assert.ok(nodes.ping('away', away.body.gateways.ipv4));
    } finally {
      nodes.resumeEtcd();
    }
    await nodes.removePod('a', 'away', 'c-away', false);
  });

  test('CIDRs taken by force: pods of what another has are stopped, and the API names it', async () => {
    const { cidr } = (await ipam('b')).cidrs.find(
      (each: { family: string; used: number }) => each.family === 'ipv4' && each.used > 0,
    );
    await nodes.stopOperator();
    await takeByForce('b', cidr, 'somebody');
    await until('its pod is stopped', async () => {
      const { body } = await nodes.ask('b', 'GET', '/v1/endpoints/by-container/c-far/eth0');
      return body.state === 'error' && /is of the node somebody now/.test(body.stateReason);
    });
    assert.ok(!nodes.ping('far', '192.0.2.2'));
    const row = (await ipam('b')).cidrs.find((each: { cidr: string }) => each.cidr === cidr);
    assert.equal(row.phase, 'taken');
    assert.equal(row.holder, 'somebody');
  });
});
