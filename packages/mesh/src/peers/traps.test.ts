import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Prefix } from '@causeway/ip';
import { PeerWorld } from '../../testing/peer-world.ts';
import { announceClusterConfig, announceSynced } from '../announcements.ts';
import { clusterConfigKey, identityKey, ipKey } from '../keys.ts';
import { internalAddress } from '../rows.ts';

/** The ten traps of a mesh's stores, from the reader's side, in the order of the reference's section 10. */

const WHOLE = { nodes: 1, services: 20, identities: 1, ip: 1 };

test('1: without a heartbeat the connection is made anew again and again; what is known stays', async () => {
  await using t = new PeerWorld();
  const east = t.store('east', 7);
  await east.fill();
  t.join(east);
  await t.until('ready', () => t.row('east').state === 'ready', 10_000);
  await t.pass(110_000);
  assert.equal(t.row('east').state, 'ready', 'a heartbeat may take two minutes');
  await t.until('a loss', () => t.log.some(({ state }) => state === 'stale'), 20_000);
  assert.match(t.log.find(({ state }) => state === 'stale')?.reason ?? '', /not written for 120 s/);
  await t.until(
    'another',
    () => t.log.filter(({ state }) => state === 'stale').length === 2,
    300_000,
  );
  assert.deepEqual(t.have('east'), WHOLE);
  t.keep(east);
  await t.until('ready', () => t.row('east').state === 'ready', 60_000);
  const losses = t.log.length;
  await t.pass(600_000);
  assert.equal(t.log.length, losses, 'a kept store is left alone');
});

test('2: without a cluster-config or a marker nothing is read, and the status says what is missing', async () => {
  await using t = new PeerWorld();
  const east = t.store('east', 7);
  await east.beat();
  t.keep(east);
  await east.identity(300, 'till');
  await east.node('n1', '192.0.7.1', '10.7.0.0/16');
  t.join(east);
  await t.until('the greeting', () => t.row('east').state === 'handshake', 10_000);
  assert.match(t.row('east').reason ?? '', /cluster-config\/east does not stand in its store/);
  await east.put({ key: clusterConfigKey('east'), value: '{"id":"seven"}' });
  await t.until('the fault', () => /id/.test(t.row('east').reason ?? ''), 60_000);
  await t.until('anew after three minutes', () => t.row('east').state === 'refused', 200_000);
  await east.config();
  await t.until('waiting', () => t.row('east').state === 'syncing', 60_000);
  assert.match(
    t.row('east').reason ?? '',
    /ip \(no marker cilium\/synced\/east\/cilium\/state\/ip\/v1\)/,
  );
  await t.pass(300_000);
  assert.deepEqual(t.have('east'), { nodes: 0, services: 0, identities: 0, ip: 0 });
  for (const kind of ['nodes', 'services', 'identities'] as const) {
    await east.put(announceSynced('east', kind, 0));
  }
  await t.until('the others', () => t.have('east').nodes === 1, 10_000);
  assert.equal(t.row('east').state, 'syncing');
  await east.put(announceSynced('east', 'ip', 0));
  await t.until('ready', () => t.row('east').state === 'ready', 10_000);
});

test('3: identities of others and other bits are refused with the reason, and the rest is read', async () => {
  await using t = new PeerWorld();
  const east = t.store('east', 7);
  t.keep(east);
  await east.fill();
  // The own cluster's range, the peer's range with another's label, and an entry of our identity.
  await east.put({ key: identityKey((1 << 16) | 400), value: east.labels('mine').text });
  const foreign = east.labels('x').text.replace('=east;', '=own;');
  await east.put({ key: identityKey((7 << 16) | 401), value: foreign });
  const ours = '{"IP":"10.7.0.66","Mask":null,"HostIP":"","ID":65936,"Key":0}';
  await east.put({ key: ipKey('10.7.0.66'), value: ours });
  t.join(east);
  await t.until('ready', () => t.row('east').state === 'ready', 10_000);
  assert.deepEqual(t.have('east'), WHOLE);
  const reasons = [...t.tables.rejected.rows()].map(({ key, reason }) => `${key}: ${reason}`);
  assert.equal(reasons.length, 3, reasons.join('\n'));
  assert.ok(reasons.some((each) => /65936 is outside 458752 to 524287 of cluster east/.test(each)));
  assert.ok(reasons.some((each) => /do not name cluster east/.test(each)));
  const west = t.store('west', 8);
  t.keep(west);
  await west.fill();
  await west.config({ maxConnectedClusters: 511 });
  t.join(west);
  await t.until('refused', () => t.row('west').state === 'refused', 10_000);
  assert.match(t.row('west').reason ?? '', /for 511 clusters, this one for 255/);
  assert.equal(t.row('east').state, 'ready');
});

test("4 and 5: labels in another order are the same labels; forms that are not Go's are refused", async () => {
  await using t = new PeerWorld();
  const east = t.store('east', 7);
  t.keep(east);
  await east.fill();
  const { text } = east.labels('till');
  const turned = `${text.split(';').filter(Boolean).toReversed().join(';')};`;
  assert.notEqual(turned, text);
  await east.put({ key: identityKey((7 << 16) | 500), value: turned });
  const entry = (address: string, mask: string) =>
    `{"IP":"${address}","Mask":${mask},"HostIP":"","ID":${(7 << 16) | 300}}`;
  await east.put({ key: ipKey('10.7.0.70'), value: entry('10.7.0.70', '""') });
  await east.put({ key: ipKey('10.7.0.71'), value: entry('10.7.0.72', 'null') });
  await east.put({ key: ipKey('fd00::0001'), value: entry('fd00::1', 'null') });
  const node = '{"Name":"n2","Cluster":"east","ClusterID":7,"IPv4AllocCIDR":"10.7.9.0/24"}';
  await east.put({ key: 'cilium/state/nodes/v1/east/n2', value: node });
  t.join(east);
  await t.until('ready', () => t.row('east').state === 'ready', 10_000);
  assert.equal(t.tables.identities.get((7 << 16) | 500)?.labels.text, text);
  assert.deepEqual(t.have('east'), { ...WHOLE, identities: 2 });
  assert.equal(t.row('east').counts.rejected, 4);
});

test("6 and 8: HostIP is a tunnel's end only if given; NodeIdentity makes no identity", async () => {
  await using t = new PeerWorld();
  const east = t.store('east', 7);
  t.keep(east);
  await east.fill();
  const plain = `{"IP":"10.7.0.80","Mask":null,"HostIP":"","ID":${(7 << 16) | 300}}`;
  await east.put({ key: ipKey('10.7.0.80'), value: plain });
  const node =
    '{"Name":"n3","Cluster":"east","ClusterID":7,"NodeIdentity":458999,"IPAddresses":[{"Type":"InternalIP","IP":"192.0.7.3"}]}';
  await east.put({ key: 'cilium/state/nodes/v1/east/n3', value: node });
  t.join(east);
  await t.until('ready', () => t.row('east').state === 'ready', 10_000);
  assert.equal(t.tables.ipEntries.get('east', '10.7.0.80')?.hostIP, undefined);
  assert.equal(t.tables.ipEntries.get('east', '10.7.0.9')?.hostIP, '192.0.7.1');
  const third = t.tables.nodes.get('east/n3');
  assert.ok(third !== undefined && internalAddress(third, 'ipv4') === undefined);
  assert.equal(t.have('east').identities, 1);
});

test('10: an etcd that comes back empty takes nothing away before its markers stand', async () => {
  await using t = new PeerWorld();
  const east = t.store('east', 7);
  t.keep(east);
  await east.fill();
  t.join(east);
  await t.until('ready', () => t.row('east').state === 'ready', 10_000);
  east.etcd.wipe();
  await t.until('the loss', () => t.row('east').state === 'stale', 60_000);
  await t.pass(120_000);
  assert.deepEqual(t.have('east'), WHOLE, 'no config, no markers: nothing is believed to be gone');
  await east.config();
  await east.identity(300, 'till');
  await t.pass(120_000);
  assert.deepEqual(t.have('east'), WHOLE);
  await east.markers();
  await t.until('ready', () => t.row('east').state === 'ready', 60_000);
  assert.deepEqual(t.have('east'), { nodes: 0, services: 0, identities: 1, ip: 0 });
});

test('10: a store put back to an old snapshot is read anew, whatever its revisions', async () => {
  await using t = new PeerWorld();
  const east = t.store('east', 7);
  t.keep(east);
  await east.fill();
  t.join(east);
  await t.until('ready', () => t.row('east').state === 'ready', 10_000);
  // What an old snapshot has: another node and no service; fewer revisions than were seen.
  east.etcd.wipe();
  await east.beat();
  await east.node('n0', '192.0.7.200', '10.7.0.0/16');
  await east.markers();
  await east.config();
  await t.until('the old node', () => t.tables.nodes.has('east/n0'), 120_000);
  await t.until('ready', () => t.row('east').state === 'ready', 60_000);
  assert.deepEqual(t.have('east'), { nodes: 1, services: 0, identities: 0, ip: 0 });
});

test('10: of a peer that promises no markers an emptied store is not believed before its writers had time', async () => {
  await using t = new PeerWorld();
  const east = t.store('east', 7);
  t.keep(east);
  await east.fill();
  await east.config({ syncedCanaries: false });
  t.join(east);
  await t.until('ready', () => t.row('east').state === 'ready', 10_000);
  east.etcd.wipe();
  await east.config({ syncedCanaries: false });
  await t.until(
    'it is noticed',
    () => /its writers are given 15 s/.test(t.row('east').reason ?? ''),
    60_000,
  );
  assert.deepEqual(t.have('east'), WHOLE);
  // They come back within it, all but one.
  await east.identity(300, 'till');
  await east.node('n1', '192.0.7.1', '10.7.0.0/16');
  await east.ip('10.7.0.9', 300, '192.0.7.1');
  using changes = t.tables.nodes.changes('test', 'now');
  await t.until('ready', () => t.row('east').state === 'ready', 60_000);
  assert.deepEqual(t.have('east'), { ...WHOLE, services: 0 });
  assert.equal(changes.pending, false, 'who came back in time was never gone');
});

test('ids: a clash with ours or another peer is refused, both are named, and the first is unhurt', async () => {
  await using t = new PeerWorld();
  const [east, twin, self] = [t.store('east', 7), t.store('twin', 7), t.store('self', 1)];
  for (const store of [east, twin, self]) {
    t.keep(store);
    await store.fill();
  }
  t.join(east);
  await t.until('ready', () => t.row('east').state === 'ready', 10_000);
  const peer = t.join(twin);
  t.join(self);
  await t.until('refused', () => t.row('twin').state === 'refused', 10_000);
  assert.match(t.row('twin').reason ?? '', /cluster twin says it has id 7, which cluster east has/);
  await t.until('refused', () => t.row('self').state === 'refused', 10_000);
  assert.match(t.row('self').reason ?? '', /id 1, which this cluster own has/);
  assert.deepEqual(t.have('east'), WHOLE);
  assert.deepEqual(t.have('twin'), { nodes: 0, services: 0, identities: 0, ip: 0 });
  assert.equal(t.row('east').state, 'ready');
  // Another id than the one that was agreed on.
  const other = t.store('other', 9);
  t.keep(other);
  await other.fill();
  t.join(other, 10);
  await t.until('refused', () => t.row('other').state === 'refused', 10_000);
  assert.match(t.row('other').reason ?? '', /has id 9, and its MeshPeer says 10/);
  await peer[Symbol.asyncDispose]();
});

test('a peer whose id changes is drained, and read under the new one', async () => {
  await using t = new PeerWorld();
  const east = t.store('east', 7);
  t.keep(east);
  await east.fill();
  t.join(east);
  await t.until('ready', () => t.row('east').state === 'ready', 10_000);
  east.etcd.wipe();
  const { key, value } = announceClusterConfig('east', {
    id: 9,
    syncedCanaries: false,
    cached: false,
    maxConnectedClusters: 255,
    serviceExportsEnabled: undefined,
  });
  await east.put({ key, value });
  await t.until(
    'the new id',
    () => t.row('east').id === 9 && t.row('east').state === 'ready',
    120_000,
  );
  assert.deepEqual(t.have('east'), { nodes: 0, services: 0, identities: 0, ip: 0 });
  assert.doesNotThrow(() => t.ids.reserve(7, 'west'), 'the old id is free');
});

test("overlaps: a peer may not speak of our ranges, of nobody's, or of everything", async () => {
  await using t = new PeerWorld();
  t.ranges.setOwn([
    { prefix: Prefix.parse('10.1.0.0/16'), what: 'the pool default' },
    { prefix: Prefix.parse('192.0.2.10/32'), what: 'the address of node a' },
    { prefix: Prefix.parse('10.96.0.0/16'), what: 'a range of services' },
  ]);
  const east = t.store('east', 7);
  t.keep(east);
  await east.fill();
  for (const address of ['10.1.4.4', '10.0.0.0/8', '10.1.2.0/24', '192.0.2.10', '127.0.0.1']) {
    await east.ip(address, 300, '192.0.7.1');
  }
  await east.put({
    key: ipKey('0.0.0.0/0'),
    value: `{"IP":"0.0.0.0","Mask":"AAAAAA==","HostIP":"","ID":${(7 << 16) | 300}}`,
  });
  await east.node('greedy', '192.0.7.9', '10.1.3.0/24');
  await east.node('everything', '192.0.7.10', '0.0.0.0/0');
  await east.node('a', '192.0.2.10', '10.7.200.0/24');
  await east.service('catch', '10.96.0.1');
  t.join(east);
  await t.until('ready', () => t.row('east').state === 'ready', 10_000);
  assert.deepEqual(t.have('east'), WHOLE);
  assert.equal(t.row('east').counts.rejected, 10);
  const reason = (key: string) => t.tables.rejected.get(`east ${key}`)?.reason ?? '';
  assert.match(
    reason(ipKey('10.1.4.4')),
    /10\.1\.0\.0\/16, which is the pool default of this cluster/,
  );
  assert.match(reason(ipKey('0.0.0.0/0')), /wider than a \/8/);
  assert.match(reason('cilium/state/services/v1/east/shop/catch'), /a range of services/);
  // Another peer cannot take the first one's pod CIDR.
  const west = t.store('west', 8);
  t.keep(west);
  await west.fill();
  await west.node('thief', '192.0.8.9', '10.7.0.0/24');
  t.join(west);
  await t.until('ready', () => t.row('west').state === 'ready', 10_000);
  assert.match(
    t.tables.rejected.get('west cilium/state/nodes/v1/west/thief')?.reason ?? '',
    /10\.7\.0\.0\/16, which cluster east had first/,
  );
});

test('trust: a range must be of its nodes’ pods, identities are its own, and little of the Internet is its', async () => {
  await using t = new PeerWorld();
  const east = t.store('east', 7);
  t.keep(east);
  await east.fill();
  const id = (7 << 16) | 300;
  const entry = (ip: string, number: number, mask = 'null') => ({
    key: ipKey(ip),
    value: `{"IP":"${ip.split('/')[0]}","Mask":${mask},"HostIP":"192.0.7.1","ID":${number},"Key":0}`,
  });
  const SLASH_24 = '"////AA=="';
  // Of the world: a range of somebody's, and half of the Internet as pod CIDRs of its nodes.
  await east.put(entry('203.0.113.0/24', id, SLASH_24));
  await east.node('wide', '192.0.7.3', '16.0.0.0/12');
  for (let i = 0; i < 4; i++) await east.node(`quarter${i}`, '192.0.7.4', `9.${i}.0.0/17`);
  // Within its pods' CIDR, though it comes before the node is known; one loses its node later.
  await east.put(entry('10.7.9.0/24', id, SLASH_24));
  await east.put(entry('10.77.1.0/24', id, SLASH_24));
  await east.node('n2', '192.0.7.2', '10.77.0.0/16');
  // Everybody, unmanaged, its API server where no node is; and what stores do carry.
  for (const [ip, number] of [
    ['10.7.1.2', 2],
    ['10.7.1.3', 3],
    ['10.7.1.7', 7],
    ['10.7.1.128', 128],
    ['192.0.7.1', 7],
    ['10.7.1.4', 4],
    ['10.7.1.8', 8],
    ['10.7.1.6', 6],
    ['10.7.1.1', 1],
  ] as const) {
    await east.put(entry(ip, number));
  }
  t.join(east);
  await t.until('ready', () => t.row('east').state === 'ready', 10_000);
  const rejected = () =>
    [...t.tables.rejected.rows()].map(({ key }) => key.slice(key.lastIndexOf('v1/') + 3)).sort();
  const wanted = [
    'default/10.7.1.128',
    'default/10.7.1.2',
    'default/10.7.1.3',
    'default/10.7.1.7',
    'default/203.0.113.0/24',
    'east/quarter2',
    'east/quarter3',
    'east/wide',
  ];
  assert.deepEqual(rejected(), wanted);
  const reason = (key: string) => t.tables.rejected.get(`east ${key}`)?.reason ?? '';
  assert.match(reason(ipKey('203.0.113.0/24')), /lies in no pod CIDR of its nodes/);
  assert.match(reason(ipKey('10.7.1.2')), /identity 2 \(reserved:world\) is not/);
  assert.match(reason(ipKey('10.7.1.7')), /for addresses of its own nodes/);
  assert.match(reason('cilium/state/nodes/v1/east/wide'), /more of the Internet's addresses/);
  await east.kv.delete('cilium/state/nodes/v1/east/n2');
  await t.until('its range goes', () => rejected().includes('default/10.77.1.0/24'), 10_000);
  assert.equal(t.tables.ipEntries.get('east', '10.77.1.0/24'), undefined);
  await east.node('n2', '192.0.7.2', '10.77.0.0/16');
  await t.until('and is back', () => rejected().length === wanted.length, 10_000);
  assert.ok(t.tables.ipEntries.get('east', '10.77.1.0/24'));
});

test('trust: allowedCIDRs are what a peer may speak of, ranges beyond its nodes’ among it', async () => {
  await using t = new PeerWorld();
  const east = t.store('east', 7);
  t.keep(east);
  await east.fill();
  await east.ip('10.50.0.1', 300, '192.0.7.1');
  await east.ip('203.0.113.0/24', 300, '192.0.7.1');
  await east.node('n2', '198.51.100.2', '10.7.0.0/24');
  await east.service('away', '10.51.0.1');
  const ranges = ['10.7.0.0/16', '192.0.7.0/24', '203.0.113.0/24'].map((each) =>
    Prefix.parse(each),
  );
  t.join(east, undefined, undefined, { ranges, by: 'spec.allowedCIDRs of its MeshPeer' });
  await t.until('ready', () => t.row('east').state === 'ready', 10_000);
  assert.deepEqual(t.have('east'), { ...WHOLE, ip: 2 });
  assert.ok(t.tables.ipEntries.get('east', '203.0.113.0/24'));
  for (const { reason } of t.tables.rejected.rows()) {
    assert.match(reason, /lies outside spec\.allowedCIDRs of its MeshPeer/);
  }
  assert.equal(t.row('east').counts.rejected, 3);
});

test('a name longer than any that there is is refused by its key, and its peer is read on', async () => {
  await using t = new PeerWorld();
  const east = t.store('east', 7);
  t.keep(east);
  await east.fill();
  await east.node('n'.repeat(70_000), '192.0.7.3', '10.7.0.0/24');
  await east.node(`${'n'.repeat(70_000)}x`, '192.0.7.3', '10.7.0.0/24');
  await east.node('é'.repeat(600), '192.0.7.4', '10.7.0.0/24');
  await east.node('m'.repeat(1024), '192.0.7.5', '10.7.0.0/24');
  t.join(east);
  await t.until('ready', () => t.row('east').state === 'ready', 10_000);
  assert.deepEqual(t.have('east'), { ...WHOLE, nodes: 2 });
  const rows = [...t.tables.rejected.rows()];
  assert.deepEqual(rows.map(({ reason }) => reason.replace('its name has ', '')).sort(), [
    '1200 bytes, more than 1024',
    '70000 bytes, more than 1024',
    '70001 bytes, more than 1024',
  ]);
  assert.ok(rows.every(({ key }) => key.length < 700));
});

test('a store that does not answer any more is shown so at once, before its connection is given up', async () => {
  await using t = new PeerWorld();
  const east = t.store('east', 7);
  t.keep(east);
  await east.fill();
  t.join(east);
  await t.until('ready', () => t.row('east').state === 'ready', 10_000);
  assert.equal(t.row('east').lastContact, undefined);
  east.etcd.freeze();
  await t.until('an age', () => t.row('east').lastContact !== undefined, 60_000);
  const { state, reason } = t.row('east');
  assert.equal(state, 'ready');
  assert.match(reason ?? '', /its store does not answer/);
  await t.until('it is given up', () => t.row('east').state === 'stale', 60_000);
});
