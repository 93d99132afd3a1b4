import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type RecordStore, silentLog } from '@causeway/daemon';
import type { HostEndpoint } from '@causeway/datapath';
import { labelFilter } from '@causeway/identity';
import { Address } from '@causeway/ip';
import { Database } from '@causeway/tables';
import { checkAgentConfig } from '../config/load.ts';
import type { ConfigInput } from '../config/schema.ts';
import { namespaceTable } from '../sources/pods.ts';
import { HOST_ENDPOINT_ID, HostEndpointController } from './controller.ts';
import { lifelinesOf } from './lifelines.ts';
import { type HostOverrides, type HostPatch, HostSettings } from './settings.ts';

const store = { address: Address.parse('192.0.2.100'), port: 2379, protocol: 6 };

const lines = (config: ConfigInput, own: readonly string[] = []) =>
  lifelinesOf(
    checkAgentConfig({ node: { name: 'a' }, ...config }),
    [store],
    new Set(own.map(Address.parse)),
  ).map(
    ({ direction, peer, port, protocol }) => `${direction} ${peer ?? 'any'} ${port}/${protocol}`,
  );

test('lifelines: routing, addresses, API servers and the stores; the tunnel where there is one', () => {
  const tunnel = lines({});
  for (const each of ['ingress any 179/6', 'egress any 3784/17', 'egress any 68/17'])
    assert.ok(tunnel.includes(each), each);
  assert.ok(tunnel.includes('egress 192.0.2.100 2379/6'));
  assert.ok(tunnel.includes('egress any 6443/6') && tunnel.includes('ingress any 6443/6'));
  assert.ok(tunnel.includes('ingress any 8472/17'));
  assert.ok(!lines({ routingMode: 'native' }).includes('ingress any 8472/17'));
  assert.ok(lines({}, ['192.0.2.100']).includes('ingress any 2379/6'), 'the store is here');
  assert.ok(!tunnel.some((each) => each.includes(' 53/')), 'its address is no name');
  assert.ok(
    lines({ etcd: { endpoints: ['https://store.example:2379'] } }).includes('egress any 53/17'),
  );
  const own = lines({
    hostEndpoint: {
      enabled: true,
      apiServerPorts: [],
      lifelines: [{ direction: 'ingress', protocol: 'TCP', port: 22, address: '192.0.2.9' }],
    },
  });
  assert.ok(own.includes('ingress 192.0.2.9 22/6') && !own.includes('egress any 6443/6'));
});

/** Keeps what is written, until it is told to fail. */
class Memory implements RecordStore<HostOverrides> {
  readonly records = new Map<string, HostOverrides>();
  broken = false;
  async write(name: string, value: HostOverrides): Promise<void> {
    if (this.broken) throw new Error('no room');
    this.records.set(name, value);
  }
  async remove(name: string): Promise<void> {
    this.records.delete(name);
  }
  load() {
    return { records: new Map(this.records), refused: [] };
  }
}

test('what the API sets holds over the configuration and a restart, until it is taken back', async () => {
  const config = checkAgentConfig({
    node: { name: 'a' },
    hostEndpoint: { enabled: true, labels: { app: 'ledger' } },
  });
  const store = new Memory();
  const settings = new HostSettings(config, store, silentLog);
  assert.deepEqual([settings.audit, settings.labels], [true, { app: 'ledger' }]);
  await Promise.all([settings.change({ audit: false }), settings.change({ labels: { app: 'x' } })]);
  for (const each of [settings, new HostSettings(config, store, silentLog)])
    assert.deepEqual([each.audit, each.labels], [false, { app: 'x' }]);
  store.broken = true;
  await assert.rejects(settings.change({ audit: null }), /no room/);
  assert.equal(settings.audit, false, 'what could not be kept is not in force either');
  store.broken = false;
  await settings.change({ audit: null, labels: null });
  assert.deepEqual(settings.overrides, {});
  assert.deepEqual([settings.audit, settings.labels], [true, { app: 'ledger' }]);
  const all = checkAgentConfig({ node: { name: 'a' }, policy: { auditAll: true } });
  const trial = new HostSettings(all, new Memory(), silentLog);
  await trial.change({ audit: false });
  assert.equal(trial.audit, true, 'auditAll is for everybody');
});

/** A host endpoint whose store answers, or not, as the test says. */
function world(onDebug: () => void = () => {}) {
  const namespaces = namespaceTable(new Database({ freeze: true }));
  const seen = {
    acquired: [] as string[],
    released: [] as string[],
    written: [] as (HostEndpoint | 'on-trial')[],
    announced: [] as number[],
    parties: [] as { identity: number; audit: boolean; nodeLabels: string }[],
  };
  const node = { labels: { rack: '7' }, changed: () => {} };
  const store = { away: false };
  const config = checkAgentConfig({
    cluster: { name: 'east', id: 3 },
    node: { name: 'a' },
    hostEndpoint: { enabled: true, namespace: 'shop', labels: { app: 'ledger' } },
  });
  const held = new Map<string, number>();
  const host = new HostEndpointController({
    config,
    settings: new HostSettings(config, new Memory(), silentLog),
    node: {
      labels: () => node.labels,
      follow: (changed) => {
        node.changed = changed;
        return () => {};
      },
    },
    engine: { *nodePolicies() {} },
    filter: labelFilter(),
    namespaces,
    numbers: {
      connected: true,
      known: () => undefined,
      async acquire(labels) {
        const known = held.get(labels.text);
        if (known !== undefined) return known;
        if (store.away) throw new Error('the store is away');
        seen.acquired.push(labels.text);
        held.set(labels.text, 70_000 + seen.acquired.length);
        return 70_000 + seen.acquired.length;
      },
      release: (labels) => {
        held.delete(labels.text);
        seen.released.push(labels.text);
      },
    },
    policy: {
      setHost({ id, identity, audit, nodeLabels }, write) {
        seen.parties.push({ identity, audit, nodeLabels: nodeLabels.text });
        write({ endpointId: id, policyId: 4, revision: 2, ingress: 'audit', egress: 'off' });
      },
    },
    announce: (identity) => void seen.announced.push(identity),
    setEndpoint: (endpoint) => void seen.written.push(endpoint),
    clock: {
      now: () => 0,
      sleep: () => new Promise<void>((resolve) => setImmediate(resolve)),
    } as never,
    log: { info() {}, debug: onDebug } as never,
  });
  return { host, namespaces, node, store, ...seen };
}

const until = async (condition: () => boolean) => {
  for (let turn = 0; !condition(); turn++) {
    assert.ok(turn < 10_000);
    await new Promise((resolve) => setImmediate(resolve));
  }
};

test('the node takes what number its labels have, and another when they change', async () => {
  const w = world(() => {
    w.store.away = false;
  });
  const { acquired, announced, parties } = w;
  await using host = w.host;
  w.store.away = true;
  host.refresh();
  assert.deepEqual(acquired, [], 'not before what no policy may cut is in the kernel');
  host.start();
  await until(() => announced.length === 1);
  assert.match(acquired[0]!, /app=ledger.*pod\.namespace=shop/s);
  assert.match(acquired[0]!, /reserved:remote-node/, 'to others it goes on to be a node');
  assert.deepEqual(parties, [
    { identity: 70_001, audit: true, nodeLabels: 'reserved:host=;k8s:rack=7;' },
  ]);
  assert.deepEqual(w.written.at(-1), {
    id: HOST_ENDPOINT_ID,
    identity: 70_001,
    policyId: 4,
    policyRevision: 2,
    ingress: 'off',
    egress: 'off',
  });
  assert.deepEqual(host.view.policy?.ingress, 'audit');
  w.namespaces.put({ name: 'shop', labels: { tier: 'gold' }, annotations: {} });
  await until(() => announced.length === 2);
  assert.deepEqual(announced, [70_001, 70_002]);
  assert.deepEqual(w.released, [acquired[0]]);
  w.node.labels = { rack: '8' };
  w.node.changed();
  await until(() => parties.at(-1)?.nodeLabels.includes('rack=8') === true);
  await host.change({ audit: false });
  assert.equal(parties.at(-1)?.audit, false);
  assert.deepEqual([host.view.audit, host.view.changed], [false, { audit: false }]);
  assert.equal(acquired.at(-1), acquired[1], 'neither gives it another number');
});

test('who is locked out puts it on trial at once, though its new labels have no number yet', async () => {
  const w = world();
  await using host = w.host;
  host.start();
  await until(() => w.announced.length === 1);
  await host.change({ audit: false });
  w.store.away = true;
  const inForce = host.view.labels;
  const answered = async (patch: HostPatch) => {
    let done = false;
    void host.change(patch).then(() => {
      done = true;
    });
    await until(() => done);
  };
  await answered({ labels: { app: 'other' } });
  assert.deepEqual(host.view.labels, inForce);
  assert.ok(host.view.pendingLabels?.includes('k8s:app=other'), 'it shows what has no number yet');
  await answered({ audit: true });
  assert.deepEqual(w.parties.at(-1), {
    identity: 70_001,
    audit: true,
    nodeLabels: 'reserved:host=;k8s:rack=7;',
  });
  assert.deepEqual([host.view.audit, host.view.labels], [true, inForce]);
  await answered({ audit: false });
  assert.equal(
    host.view.audit,
    true,
    'policies are put in force with the labels they are meant for',
  );
  w.store.away = false;
  await until(() => w.announced.at(-1) === 70_002);
  assert.equal(w.parties.at(-1)?.audit, false);
  assert.equal(host.view.pendingLabels, undefined);
});

test('who is locked out by what an earlier run enforced is on trial at once, though it has no number yet', async () => {
  const w = world();
  await using host = w.host;
  await host.change({ audit: false });
  w.store.away = true;
  host.start();
  await new Promise((resolve) => setImmediate(resolve));
  assert.deepEqual(w.written, [], 'what was in force stays in force');
  await host.change({ audit: true });
  assert.deepEqual(w.written, ['on-trial']);
  w.store.away = false;
  await until(() => w.announced.length === 1);
  assert.deepEqual(
    w.parties.map(({ audit }) => audit),
    [true],
  );
});
