import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import { silentLog } from '@causeway/daemon';
import { Address, Prefix } from '@causeway/ip';
import type { Frontend } from '@causeway/loadbalancing';
import { parseManifests, type Resource, type Service, validateAll } from '@causeway/resources';
import { Database } from '@causeway/tables';
import { addressTables } from '../addresses/sources.ts';
import { checkAgentConfig } from '../config/load.ts';
import type { DeviceView } from '../host/devices.ts';
import { ownNodeTable } from '../node/own-node.ts';
import { serviceTable } from '../services/tables.ts';
import { FakeSpeaker } from '../testing/fake-speaker.ts';
import { realClock } from '../testing/fakes.ts';
import { BgpController } from './controller.ts';
import { advertisement, BASE } from './fixture.ts';
import { SpeakerClient } from './speaker-client.ts';
import { bgpTables } from './tables.ts';

const directory = fs.mkdtempSync(path.join(os.tmpdir(), `cw-bgp-${process.pid}-`));
after(() => fs.rmSync(directory, { recursive: true }));

const PODS = advertisement('pods', '- {advertisementType: PodCIDR}');
let made = 0;

/** A controller between tables that the test fills and a speaker that only remembers. */
async function world(options: { speaker?: boolean } = {}) {
  const socket = path.join(directory, `${made++}.sock`);
  const speaker = new FakeSpeaker(socket);
  if (options.speaker !== false) await speaker.start();
  const agent = () => {
    const database = new Database({ freeze: true });
    const bgp = bgpTables(database);
    const ownNode = ownNodeTable(database);
    const services = serviceTable(database);
    const devices = database.table({ name: 'devices', key: (row: DeviceView) => row.index });
    const sources = Object.values(bgp).map((table) => table.source('test'));
    const frontends = new Map<string, readonly Frontend[]>();
    const listeners = new Set<() => void>();
    const attracted: (readonly Prefix[])[] = [];
    const balancing = {
      synced: false,
      frontendsOf: ({ namespace, name }: { namespace: string; name: string }) =>
        frontends.get(`${namespace}/${name}`) ?? [],
      onChange: (listener: () => void) => void listeners.add(listener),
    };
    const controller = new BgpController({
      config: checkAgentConfig({ node: { name: 'a' }, serviceCIDRs: ['10.96.0.0/16'] }),
      database,
      sources: {
        bgp,
        ownNode,
        devices,
        pools: addressTables(database).pools,
        podAddresses: () => [],
        services,
        nodeAddresses: () => [Address.parse('192.0.2.1')],
        balancing,
        outside: {
          synced: true,
          view: () => ({ role: 'none', others: [] }),
          unreachable: () => undefined,
          egress: () => [],
          onChange: () => {},
        },
        nodes: { initialized: true, rows: () => [], onCommit: () => () => {} },
      },
      port: new SpeakerClient(socket),
      onAttracted: (prefixes) => attracted.push(prefixes),
      clock: realClock,
      random: () => 0.5,
      log: silentLog,
    });
    const tables: Partial<Record<Resource['kind'], { put(row: never): unknown }>> = {
      CiliumBGPClusterConfig: bgp.clusterConfigs,
      CiliumBGPPeerConfig: bgp.peerConfigs,
      CiliumBGPAdvertisement: bgp.advertisements,
    };
    return {
      controller,
      bgp,
      attracted,
      services,
      apply(manifest: string) {
        for (const object of validateAll(parseManifests(manifest)))
          tables[object.kind]!.put(object as never);
      },
      own(...podCIDRs: string[]) {
        ownNode.put({
          name: 'a',
          addresses: [],
          podCIDRs: podCIDRs.map((text) => Prefix.parse(text)),
          pools: [],
          labels: { rack: 'r1' },
        });
      },
      serve(name: string, address: string, backend: { node: string; state: string } | undefined) {
        const service = { namespace: 'shop', name };
        frontends.set(`shop/${name}`, [
          {
            service,
            type: 'ClusterIP',
            address: Address.parse(address),
            trafficPolicy: 'Local',
            backends: backend === undefined ? [] : [backend],
          } as unknown as Frontend,
        ]);
        services.put({
          apiVersion: 'v1',
          kind: 'Service',
          metadata: { ...service, labels: { app: name } },
          spec: { type: 'ClusterIP', sessionAffinity: 'None' },
        } as Service);
        for (const listener of listeners) listener();
      },
      /** Everything has been read. */
      ready() {
        balancing.synced = true;
        for (const source of sources) source.done();
      },
    };
  };
  return { speaker, agent };
}

async function until(what: string, condition: () => boolean): Promise<void> {
  for (let i = 0; i < 3000; i++) {
    if (condition()) return;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  assert.fail(`still not: ${what}`);
}
const settle = () => new Promise((resolve) => setTimeout(resolve, 400));

test('nothing is told before everything has been read; then all of it, once', async () => {
  const { speaker, agent } = await world();
  await using _speaker = speaker;
  const a = agent();
  await using controller = a.controller;
  a.own('10.1.1.0/24');
  a.apply(BASE + PODS);
  await settle();
  assert.deepEqual(speaker.requests, []);
  assert.match(
    controller.health()[0]!.detail,
    /not read yet; the speaker goes on with what it has/,
  );
  a.ready();
  await until('paths', () => speaker.paths !== undefined);
  assert.deepEqual(speaker.requests, ['PUT /v1/config/agent', 'PUT /v1/paths/agent']);
  assert.deepEqual(
    speaker.paths?.map(({ prefix }) => prefix),
    ['10.1.1.0/24'],
  );
  assert.equal(speaker.config?.asn, 65001);
  await controller.settled();
  assert.deepEqual(
    controller.health().map(({ healthy }) => healthy),
    [true, true],
  );
  a.own('10.1.1.0/24', '10.1.9.0/24');
  await until('the new CIDR', () => speaker.paths?.length === 2);
  a.own('10.1.9.0/24');
  await until('the old one is gone', () => speaker.paths?.length === 1);
  const view = controller.view();
  assert.deepEqual(
    view.announcements.map(({ prefix, announced }) => [prefix, announced]),
    [['10.1.9.0/24', true]],
  );
  assert.deepEqual(
    view.neighbors.map(({ name }) => name),
    ['tor1', 'tor2'],
  );
});

test('an agent that is started again changes nothing at a speaker that went on', async () => {
  const { speaker, agent } = await world();
  await using _speaker = speaker;
  {
    const a = agent();
    await using controller = a.controller;
    a.own('10.1.1.0/24', 'fd00:1:1::/64');
    a.apply(BASE + PODS);
    a.ready();
    await until('told', () => speaker.paths?.length === 2);
    await controller.settled();
  }
  assert.equal(speaker.paths?.length, 2, 'the end takes nothing back');
  const [config, paths] = [speaker.config, speaker.paths];
  const before = speaker.requests.length;
  const b = agent();
  await using controller = b.controller;
  b.own();
  await settle();
  assert.equal(speaker.requests.length, before, 'an agent that knows nothing says nothing');
  b.apply(BASE + PODS);
  b.own('10.1.1.0/24', 'fd00:1:1::/64');
  b.ready();
  await until('told again', () => speaker.requests.length === before + 2);
  await controller.settled();
  assert.deepEqual([speaker.config, speaker.paths], [config, paths], 'the same words');
});

test('a speaker that is not there, comes, fails, and is started again without its memory', async () => {
  const { speaker, agent } = await world({ speaker: false });
  await using _speaker = speaker;
  const a = agent();
  await using controller = a.controller;
  a.own('10.1.1.0/24');
  a.apply(BASE + PODS);
  a.ready();
  await until('the status says so', () =>
    controller
      .health()
      .some(({ healthy, detail }) => !healthy && /speaker does not answer/.test(detail)),
  );
  speaker.failures = 1;
  await speaker.start();
  await until('told', () => speaker.paths?.length === 1);
  await speaker.stop();
  await speaker.start(true);
  await until('told again', () => speaker.paths?.length === 1);
  assert.equal(controller.view().speaker?.process, 'run 2 0');
});

test('nothing that stays is withdrawn while advertisements change around it', async () => {
  const { speaker, agent } = await world();
  await using _speaker = speaker;
  const a = agent();
  await using controller = a.controller;
  a.own('10.1.1.0/24');
  a.apply(BASE + PODS);
  a.ready();
  await until('told', () => speaker.paths?.length === 1);
  const from = speaker.history.length;
  const more = advertisement(
    'more',
    '- {advertisementType: PodCIDR, attributes: {localPreference: 9}}',
  );
  a.apply(more);
  await until('both', () => (speaker.paths?.[0]?.tag ?? '').includes('+'));
  await controller.settled();
  a.bgp.advertisements.delete('pods');
  await until('the other alone', () => !(speaker.paths?.[0]?.tag ?? '').includes('+'));
  a.apply(PODS);
  a.bgp.advertisements.delete('more');
  const tagsOut = () =>
    speaker.config!.policies['export:tor:ipv4-unicast']!.statements.flatMap(
      ({ match }) => match?.tags ?? [],
    );
  // In whichever steps it comes there, the ways out that nobody uses any more are closed in the end.
  await until('the first alone', () => {
    const tag = speaker.paths?.[0]?.tag ?? '';
    return /pods/.test(JSON.stringify(controller.view().announcements)) && tagsOut().join() === tag;
  });
  await controller.settled();
  for (const [index, sent] of speaker.history.slice(from).entries())
    assert.ok(
      sent.has('tor1 10.1.1.0/24'),
      `withdrawn after request ${index}: ${speaker.requests[from + index]}`,
    );
  assert.ok(speaker.history.length >= from + 4);
  assert.deepEqual(tagsOut(), [speaker.paths![0]!.tag]);
});

test('a node that is not meant any more takes back all it said', async () => {
  const { speaker, agent } = await world();
  await using _speaker = speaker;
  const a = agent();
  await using controller = a.controller;
  a.own('10.1.1.0/24');
  a.apply(BASE + PODS);
  a.ready();
  await until('told', () => speaker.paths?.length === 1);
  a.bgp.clusterConfigs.delete('r1');
  await until('taken back', () => speaker.paths === undefined && speaker.config === undefined);
  await controller.settled();
  assert.match(controller.health()[0]!.detail, /no CiliumBGPClusterConfig for this node/);
});

test('what an earlier agent said of a node that is not meant now is taken back at the first full sync', async () => {
  const { speaker, agent } = await world();
  await using _speaker = speaker;
  {
    const a = agent();
    await using controller = a.controller;
    a.own('10.1.1.0/24');
    a.apply(BASE + PODS);
    a.ready();
    await until('told', () => speaker.paths?.length === 1);
    await controller.settled();
  }
  const b = agent();
  await using _controller = b.controller;
  b.own('10.1.1.0/24');
  await settle();
  assert.equal(speaker.paths?.length, 1, 'not before everything has been read');
  b.ready();
  await until('taken back', () => speaker.paths === undefined);
});

test('readiness decides with policy Local, and what is announced is refused behind the load balancer', async () => {
  const { speaker, agent } = await world();
  await using _speaker = speaker;
  const a = agent();
  await using controller = a.controller;
  a.own();
  a.apply(
    BASE +
      advertisement(
        'vips',
        '- {advertisementType: Service, service: {addresses: [ClusterIP]}, selector: {}}',
      ),
  );
  a.serve('web', '10.96.0.7', undefined);
  a.ready();
  await until('known', () => controller.synced && speaker.paths?.length === 0);
  a.serve('web', '10.96.0.7', { node: 'b', state: 'active' });
  await settle();
  assert.equal(speaker.paths?.length, 0, 'a backend elsewhere');
  a.serve('web', '10.96.0.7', { node: 'a', state: 'active' });
  await until('announced', () => speaker.paths?.[0]?.prefix === '10.96.0.7/32');
  assert.deepEqual(a.attracted.at(-1), ['10.96.0.7/32']);
  a.serve('web', '10.96.0.7', { node: 'a', state: 'terminating' });
  await until('withdrawn', () => speaker.paths?.length === 0);
  assert.deepEqual(a.attracted.at(-1), []);
  assert.match(controller.view().announcements[0]!.reason, /no ready backend/);
});

test('what became of a prefix: sent once a session stands, gone once the speaker was told without it', async () => {
  const { speaker, agent } = await world();
  await using _speaker = speaker;
  speaker.established = false;
  const a = agent();
  await using controller = a.controller;
  const [old, young] = [Prefix.parse('10.1.1.0/24'), Prefix.parse('10.1.9.0/24')];
  a.own(old);
  a.apply(BASE + PODS);
  assert.ok(!controller.reach.announced(old), 'nothing is known yet');
  a.ready();
  await until('the speaker has it', () => speaker.paths?.length === 1);
  await settle();
  assert.ok(!controller.reach.announced(old), 'the speaker has it, no neighbour does');
  speaker.established = true;
  await until('a neighbour has it', () => controller.reach.announced(old));
  assert.ok(!controller.reach.announced(young), 'nobody planned it');
  a.own(old, young);
  await until('the next one, too', () => controller.reach.announced(young));
  assert.ok(!controller.reach.withdrawn(old));
  await speaker.stop();
  a.own(young);
  await settle();
  assert.ok(!controller.reach.withdrawn(old), 'a speaker that is away has withdrawn nothing');
  await speaker.start();
  await until('it is gone', () => controller.reach.withdrawn(old));
  await until('the other one is asked about anew', () => controller.reach.announced(young));
  a.bgp.advertisements.delete('pods');
  await until('nobody is to have it: that is not waited for', () =>
    controller.view().announcements.every(({ announced }) => !announced),
  );
  assert.ok(controller.reach.announced(young));
});
