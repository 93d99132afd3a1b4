import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type RecordStore, silentLog } from '@causeway/daemon';
import { Mac, Prefix } from '@causeway/ip';
import { Database } from '@causeway/tables';
import type { AttachRequest, Endpoint } from '../api/types.ts';
import { AgentError } from '../errors.ts';
import { FakeEnforcement, FakeIdentities, FakePrograms } from '../testing/fakes.ts';
import type {
  EndpointKernel,
  FoundInterface,
  HostLink,
  PodInterface,
  PodNamespace,
} from './kernel.ts';
import { EndpointManager } from './manager.ts';
import { NodeAddressPool } from './pool.ts';
import type { EndpointRecord } from './record.ts';
import { recoverFromRows, restoreEndpoints } from './restore.ts';
import { addressList, endpointTable } from './table.ts';

/** The process died: nothing that it wanted to do after this happens. */
class Crash extends Error {}

/** What outlives an agent: devices, namespaces, pins, rows and files. Each change may be the last one. */
class World {
  readonly namespaces = new Map<
    string,
    { readonly identity: string; readonly interfaces: Set<string> }
  >();
  readonly links = new Map<
    string,
    HostLink & { readonly namespace: string; readonly ifname: string; raised: boolean }
  >();
  readonly files = new Map<string, string>();
  readonly programs = new FakePrograms();
  readonly enforcement = new FakeEnforcement();
  /** Changes that are left before the process dies; infinite: it lives. */
  budget = Number.POSITIVE_INFINITY;
  dead = false;
  #lastIndex = 1;
  #lastInode = 1;

  change<T>(work: () => T): T {
    if (this.dead || this.budget <= 0) {
      this.dead = true;
      throw new Crash('killed');
    }
    this.budget--;
    return work();
  }

  makeNamespace(path: string): void {
    this.namespaces.set(path, { identity: `4:${this.#lastInode++}`, interfaces: new Set() });
  }

  /** A namespace takes its interfaces with it, and the other side of each. */
  dropNamespace(path: string): void {
    this.namespaces.delete(path);
    for (const [name, link] of this.links) if (link.namespace === path) this.links.delete(name);
  }

  kernel(): EndpointKernel {
    return {
      openNamespace: (path): PodNamespace => {
        const found = this.namespaces.get(path);
        if (found === undefined) throw new AgentError('netns-missing', path);
        return { identity: found.identity, [Symbol.dispose]() {} };
      },
      createInterface: (namespace, spec: PodInterface) =>
        this.change(() => {
          const [path, found] = [...this.namespaces].find(
            ([, { identity }]) => identity === namespace.identity,
          )!;
          if (this.links.has(spec.hostIfname) || found.interfaces.has(spec.ifname)) {
            throw new AgentError('interface-exists', spec.hostIfname);
          }
          found.interfaces.add(spec.ifname);
          const index = ++this.#lastIndex;
          this.links.set(spec.hostIfname, {
            index,
            name: spec.hostIfname,
            alias: spec.alias,
            kind: 'veth',
            mac: spec.hostMac,
            mtu: spec.mtu,
            up: true,
            namespace: path,
            ifname: spec.ifname,
            raised: false,
          });
          return { hostIfindex: index };
        }),
      findInterface: (): FoundInterface => assert.fail('no chained pods here'),
      raise: (index) =>
        this.change(() => {
          for (const link of this.links.values()) if (link.index === index) link.raised = true;
        }),
      hostLink: (name) => this.links.get(name),
      hostLinks: () => [...this.links.values()],
      removeInterface: async (name) =>
        this.change(() => {
          const link = this.links.get(name);
          if (link === undefined) return false;
          this.namespaces.get(link.namespace)?.interfaces.delete(link.ifname);
          return this.links.delete(name);
        }),
      differences: () => [],
    };
  }

  state(): RecordStore<EndpointRecord> {
    return {
      write: async (name, value) =>
        this.change(() => void this.files.set(name, JSON.stringify(value))),
      remove: async (name) => this.change(() => void this.files.delete(name)),
      load: () => ({
        records: new Map(
          Array.from(this.files, ([name, text]) => [name, JSON.parse(text) as EndpointRecord]),
        ),
        refused: [],
      }),
    };
  }
}

/** mulberry32: small, and the same run for the same seed. */
function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

async function live(world: World, clock: () => number) {
  const table = endpointTable(new Database());
  const kernel = world.kernel();
  const state = world.state();
  const addresses = new NodeAddressPool(['ipv4', 'ipv6'], clock);
  addresses.setCidrs([
    { prefix: Prefix.parse('10.5.0.0/25') },
    { prefix: Prefix.parse('fd00:5::/64') },
  ]);
  const { programs, enforcement } = world;
  const guarded = {
    programs: {
      attach: (name: string, index: number) => world.change(() => programs.attach(name, index)),
      detach: (name: string) => world.change(() => programs.detach(name)),
      attached: (name: string, index: number) => programs.attached(name, index),
      devices: () => programs.devices(),
    },
    enforcement: {
      put: (record: EndpointRecord) => world.change(() => enforcement.put(record)),
      remove: (record: EndpointRecord) => world.change(() => enforcement.remove(record)),
      differences: (record: EndpointRecord) => enforcement.differences(record),
    },
  };
  const manager = new EndpointManager({
    node: 'a',
    table,
    state,
    kernel,
    ...guarded,
    identities: new FakeIdentities(),
    addresses,
    podMtu: () => 1500,
    assertReady: () => {},
    maxEndpoints: 1000,
    now: clock,
    log: silentLog,
  });
  await restoreEndpoints({
    state,
    kernel,
    programs: guarded.programs,
    addresses,
    manager,
    recover: (link) =>
      recoverFromRows(
        link,
        [...enforcement.rows.values()].flatMap((record) =>
          addressList(record).map((address) => ({
            address: address as never,
            ifindex: record.hostIfindex,
            endpointId: record.id,
            identity: record.identity,
            policyId: 1,
            policyRevision: 1,
            mac: Mac.parse(record.mac),
            hostMac: Mac.parse(record.hostMac),
            ingress: 'off' as const,
            egress: 'off' as const,
          })),
        ),
        [],
      ),
    log: silentLog,
  });
  return { manager, table, addresses };
}

test('10,000 random steps with kills in the middle of each: no address is lost or given twice', async () => {
  const next = random(20260521);
  const pick = (n: number) => Math.floor(next() * n);
  const world = new World();
  let now = 0;
  let agent = await live(world, () => now);
  /** What the runtime believes to be attached: told so, and not asked to go. */
  const believed = new Map<string, Endpoint>();
  /** Asked to go and not told that it went; or asked to come and not told that it came. */
  const open = new Set<string>();
  const kinds = new Map<string, number>();
  const count = (kind: string) => kinds.set(kind, (kinds.get(kind) ?? 0) + 1);

  const bodyOf = (id: string): AttachRequest => ({
    containerId: id,
    ifname: 'eth0',
    netns: `/ns/${id}`,
  });
  const restart = async () => {
    for (;;) {
      world.dead = false;
      try {
        agent = await live(world, () => now);
        break;
      } catch (error) {
        assert.ok(error instanceof Crash, String(error));
        count('killed while starting');
        world.budget = pick(30);
      }
    }
    world.budget = Number.POSITIVE_INFINITY;
    for (const [id, endpoint] of believed) {
      const found = agent.manager.list().find((each) => each.containerId === id);
      assert.deepEqual(
        found?.addresses,
        endpoint.addresses,
        `${id} has its addresses after a restart`,
      );
      assert.equal(found?.id, endpoint.id);
    }
  };
  /** One request that may be cut off by a kill. */
  const attempt = async (kind: string, work: () => Promise<void>) => {
    if (next() < 0.25) world.budget = pick(8);
    try {
      await work();
      world.budget = Number.POSITIVE_INFINITY;
      // A kill may also come right after the answer was ready, before it was sent: nobody knows.
      if (world.dead) await restart();
    } catch (error) {
      if (!world.dead) throw error;
      count(`killed in ${kind}`);
      world.budget = next() < 0.3 ? pick(30) : Number.POSITIVE_INFINITY;
      await restart();
    }
  };

  for (let step = 0; step < 10_000; step++) {
    now += 1_000;
    const id = `c${pick(40)}`;
    const dice = next();
    if (dice < 0.5) {
      if (!world.namespaces.has(`/ns/${id}`)) world.makeNamespace(`/ns/${id}`);
      open.add(id);
      await attempt('ADD', async () => {
        const { endpoint } = await agent.manager.attach(bodyOf(id));
        if (world.dead) return;
        const before = believed.get(id);
        if (before !== undefined)
          assert.deepEqual(endpoint, before, 'a repeated ADD gives the same');
        believed.set(id, endpoint);
        open.delete(id);
      });
    } else if (dice < 0.85) {
      believed.delete(id);
      open.add(id);
      await attempt('DEL', async () => {
        await agent.manager.detach(bodyOf(id));
        if (!world.dead) open.delete(id);
      });
      if (next() < 0.5 && !open.has(id)) world.dropNamespace(`/ns/${id}`);
    } else if (dice < 0.9) {
      // The container dies, its namespace and interface with it; the runtime will ask for DEL.
      world.dropNamespace(`/ns/${id}`);
      believed.delete(id);
      open.add(id);
    } else if (dice < 0.95) {
      await restart();
      count('restart');
    } else {
      await attempt('GC', async () => {
        await agent.manager.collectGarbage(
          [...believed.keys()].map((containerId) => ({ containerId, ifname: 'eth0' })),
        );
        if (world.dead) return;
        open.clear();
        const listed = agent.manager
          .list()
          .map(({ containerId }) => containerId)
          .sort();
        assert.deepEqual(
          listed,
          [...believed.keys()].sort(),
          'GC leaves what is valid and nothing else',
        );
      });
    }
    // The fake enforcement refuses an address of two endpoints; here the rest must agree.
    const names = [...agent.table.rows()].map(({ record }) => record.hostIfname);
    assert.equal(new Set(names).size, names.length);
  }

  for (let i = 0; i < 40; i++) await agent.manager.detach(bodyOf(`c${i}`));
  assert.equal(agent.table.size, 0);
  assert.deepEqual([...world.links.keys()], [], 'no device is left');
  assert.deepEqual([...world.enforcement.rows.keys()], [], 'no row is left');
  assert.deepEqual(world.programs.devices(), [], 'no program is left');
  assert.deepEqual([...world.files.keys()], [], 'no record is left');
  now += 100_000;
  for (const { used, quarantined } of agent.addresses.stats()) {
    assert.deepEqual([used, quarantined], [0n, 0n], 'every address is free again');
  }
  for (const kind of [
    'killed in ADD',
    'killed in DEL',
    'killed in GC',
    'killed while starting',
    'restart',
  ]) {
    assert.ok((kinds.get(kind) ?? 0) > 10, `${kind} happened ${kinds.get(kind) ?? 0} times`);
  }
});
