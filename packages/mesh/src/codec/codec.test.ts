import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { Address, Prefix } from '@causeway/ip';
import fc from 'fast-check';
import { MeshError } from '../errors.ts';
import { clusterConfigKey, ipKey, nodeKey, serviceKey } from '../keys.ts';
import { decodeMask, encodeMask } from './cidr.ts';
import { decodeClusterConfig, encodeClusterConfig, timeText } from './cluster-config.ts';
import { goJson, goMap } from './go-json.ts';
import { decodeIp, encodeIp, type IpValue, NO_PORTS } from './ip.ts';
import { decodeNode, encodeNode, type NodeValue } from './node.ts';
import { decodeService, encodeService, type ServiceValue } from './service.ts';

/** Keys and values as Cilium 1.19 and its clustermesh-apiserver wrote them. */
const golden = readFileSync(new URL('../../testdata/cilium-1.19.txt', import.meta.url), 'utf8')
  .trimEnd()
  .split('\n');
const pairs = Array.from({ length: golden.length / 2 }, (_, i) => [
  golden[2 * i]!,
  golden[2 * i + 1]!,
]) as [string, string][];
/** clc was written by hand, with fewer fields than Cilium writes. */
const written = pairs.filter(([key]) => !key.includes('/clc'));
const under = (prefix: string) => written.filter(([key]) => key.startsWith(prefix));

test('golden: cluster configs', () => {
  const found = under('cilium/cluster-config/');
  assert.equal(found.length, 3);
  for (const [key, value] of found) {
    const config = decodeClusterConfig(value);
    assert.equal(encodeClusterConfig(config), value);
    assert.equal(clusterConfigKey(key.slice(-3)), key);
  }
});

test('golden: nodes', () => {
  const found = under('cilium/state/nodes/');
  assert.equal(found.length, 3);
  for (const [key, value] of found) {
    const node = decodeNode(value);
    assert.equal(encodeNode(node), value);
    assert.equal(nodeKey(node.cluster, node.name), key);
  }
  const n1 = decodeNode(found.find(([key]) => key.endsWith('/cla/n1'))![1]);
  assert.deepEqual(n1.podCIDRs, { ipv4: ['10.1.1.0/24'], ipv6: [] });
  assert.deepEqual(n1.addresses[1], { type: 'CiliumInternalIP', ip: '10.1.1.112' });
});

test('golden: ip entries', () => {
  const found = under('cilium/state/ip/').filter(([key]) => !key.includes('10.3.4.5'));
  assert.equal(found.length, 3);
  for (const [key, value] of found) {
    const entry = decodeIp(value);
    assert.equal(encodeIp(entry), value);
    assert.equal(ipKey(entry.address), key);
  }
});

test('golden: services', () => {
  const found = under('cilium/state/services/');
  assert.equal(found.length, 2);
  for (const [key, value] of found) {
    const service = decodeService(value);
    assert.equal(encodeService(service), value);
    assert.equal(serviceKey(service.cluster, service.namespace, service.name), key);
  }
});

test('hand-written values with fewer fields decode', () => {
  const short = pairs.filter(([key]) => key.includes('/clc'));
  const of = (part: string) => short.find(([key]) => key.startsWith(part))![1];
  assert.equal(decodeNode(of('cilium/state/nodes/')).bootId, '');
  assert.equal(decodeService(of('cilium/state/services/')).clusterId, 3);
});

test('the examples of the form: every field filled', () => {
  const ip: IpValue = {
    address: Address.parse('10.77.4.9'),
    hostIP: Address.parse('198.51.100.21'),
    identity: 2425132,
    encryptionKey: 0,
    metadata: '',
    namespace: 'shop',
    pod: 'till-vm-3',
    serviceAccount: '',
    namedPorts: [{ name: 'http', port: 8080, protocol: 'TCP' }],
  };
  assert.equal(
    encodeIp(ip),
    '{"IP":"10.77.4.9","Mask":null,"HostIP":"198.51.100.21","ID":2425132,"Key":0,"Metadata":"","K8sNamespace":"shop","K8sPodName":"till-vm-3","NamedPorts":[{"Name":"http","Port":8080,"Protocol":"TCP"}]}',
  );
  const prefix: IpValue = { ...ip, address: Prefix.parse('fd00:77::/64'), namedPorts: NO_PORTS };
  assert.match(encodeIp(prefix), /^\{"IP":"fd00:77::","Mask":"\/{10}8AAAAAAAAAAA==",/);
  assert.deepEqual(decodeIp(encodeIp(prefix)), prefix);
});

test('masks: the base64 of the form', () => {
  for (const [prefix, text] of [
    ['10.0.0.0/24', '////AA=='],
    ['10.0.0.0/16', '//8AAA=='],
    ['0.0.0.0/0', 'AAAAAA=='],
    ['fd00::/64', '//////////8AAAAAAAAAAA=='],
  ] as const) {
    assert.equal(encodeMask(Prefix.parse(prefix)), text);
  }
  for (const bad of ['////', 'AP8AAA==', '/wD/AA==', '?', '////AA', 'fwAAAA==']) {
    assert.throws(() => decodeMask(bad, 32, 'Mask'), MeshError, bad);
  }
  assert.throws(() => decodeIp('{"IP":"10.0.0.1","Mask":""}'), MeshError, 'not a /0');
  assert.throws(() => decodeIp('{"IP":"10.0.0.1","Mask":"////AA=="}'), /beyond its mask/);
});

test('Go: case, null, order of maps, escapes', () => {
  assert.equal(decodeIp('{"ip":"10.0.0.1","id":7,"HOSTIP":null}').identity, 7);
  assert.equal(
    goJson({ map: goMap({ 10: 'a', 2: '<&>', '-': '\u2028' }), none: goMap(undefined) }),
    '{"map":{"-":"\\u2028","10":"a","2":"\\u003c\\u0026\\u003e"},"none":null}',
  );
  assert.equal(timeText(Date.UTC(2026, 10, 22, 1, 45, 11, 999)), '2026-11-22T01:45:11Z');
});

test('values that do not decode are refused with the field', () => {
  const cases: [(text: string) => unknown, string, string | undefined][] = [
    [decodeIp, '', undefined],
    [decodeIp, '[]', ''],
    [decodeIp, '{"IP":"10.0.0.999"}', 'IP'],
    [decodeIp, '{"IP":"10.0.0.1","ID":-1}', 'ID'],
    [decodeIp, '{"IP":"10.0.0.1","ID":1.5}', 'ID'],
    [decodeIp, '{"IP":"10.0.0.1","ID":"1"}', 'ID'],
    [decodeIp, '{"IP":"10.0.0.1","Key":256}', 'Key'],
    [decodeNode, '{"Name":"n"}', 'Cluster'],
    [decodeNode, '{"Name":"n","Cluster":"c","IPv4AllocCIDR":"10.0.0.0/8"}', 'IPv4AllocCIDR'],
    [decodeService, '{"cluster":"c","namespace":"n"}', 'name'],
    [
      decodeService,
      '{"cluster":"c","namespace":"n","name":"a","backends":{"None":{}}}',
      'backends',
    ],
    [
      decodeService,
      '{"cluster":"c","namespace":"n","name":"a","backends":{"10.0.0.1":{"p":null}}}',
      'backends[10.0.0.1].ports[p]',
    ],
    [decodeClusterConfig, '{"id":0}', 'id'],
    [decodeClusterConfig, '{"id":256}', 'id'],
    [
      decodeClusterConfig,
      '{"id":1,"capabilities":{"maxConnectedClusters":3}}',
      'capabilities.maxConnectedClusters',
    ],
  ];
  for (const [decode, text, field] of cases) {
    assert.throws(
      () => decode(text),
      (e) => e instanceof MeshError && e.field === field,
      text,
    );
  }
});

test('bad named ports are dropped alone', () => {
  const ports = decodeIp(
    '{"IP":"10.0.0.1","NamedPorts":[{"Name":"a","Port":1},null,{"Name":"b","Port":70000},{"Name":"c","Port":3,"Protocol":"UDP"},7]}',
  ).namedPorts;
  assert.deepEqual(ports, [
    { name: 'a', port: 1, protocol: 'TCP' },
    { name: 'c', port: 3, protocol: 'UDP' },
  ]);
});

const rec: typeof fc.record = ((shape: object) =>
  fc.record(shape as never, { noNullPrototype: true })) as never;
const address = fc.oneof(
  fc.ipV4().map((text) => Address.parse(text)),
  fc.ipV6().map((text) => Address.parse(text)),
);
const prefixOf = (family: 4 | 6) =>
  fc
    .tuple(
      family === 4 ? fc.ipV4() : fc.uint8Array({ minLength: 16, maxLength: 16 }),
      fc.nat(family === 4 ? 32 : 128),
    )
    .map(([from, length]) =>
      Prefix.from(typeof from === 'string' ? Address.parse(from) : Address.fromBytes(from), length),
    )
    .filter((prefix) => prefix.includes(':') === (family === 6));
const name = fc.stringMatching(/^[a-z][a-z0-9-]{0,8}[a-z0-9]$/);
const map = fc.dictionary(
  fc.string({ minLength: 1, maxLength: 6 }).filter((k) => k !== '__proto__'),
  fc.string({ maxLength: 6 }),
  { noNullPrototype: true },
);

test('property: what is encoded decodes to itself', () => {
  const ip: fc.Arbitrary<IpValue> = rec({
    address: fc.oneof(address, prefixOf(4), prefixOf(6)),
    hostIP: fc.option(address, { nil: undefined }),
    identity: fc.nat(0xff_ffff),
    encryptionKey: fc.nat(255),
    metadata: fc.string({ maxLength: 10 }),
    namespace: fc.string({ maxLength: 10 }),
    pod: fc.string({ maxLength: 10 }),
    serviceAccount: fc.string({ maxLength: 5 }),
    namedPorts: fc.array(
      rec({
        name,
        port: fc.integer({ min: 1, max: 65535 }),
        protocol: fc.constantFrom('TCP', 'UDP', 'SCTP'),
      }),
      { maxLength: 3 },
    ),
  });
  fc.assert(fc.property(ip, (value) => assert.deepEqual(decodeIp(encodeIp(value)), value)));
  const family = rec({
    ipv4: fc.option(
      fc.ipV4().map((text) => Address.parse(text)),
      { nil: undefined },
    ),
    ipv6: fc.option(address, { nil: undefined }),
  });
  const node: fc.Arbitrary<NodeValue> = rec({
    name,
    cluster: name,
    clusterId: fc.nat(511),
    addresses: fc.array(
      rec({ type: fc.constantFrom('InternalIP', 'CiliumInternalIP'), ip: address }),
      { maxLength: 3 },
    ),
    podCIDRs: rec({
      ipv4: fc.array(prefixOf(4), { maxLength: 3 }),
      ipv6: fc.array(prefixOf(6), { maxLength: 3 }),
    }),
    healthIPs: family,
    ingressIPs: family,
    source: name,
    encryptionKey: fc.nat(255),
    labels: fc.option(map, { nil: undefined }),
    annotations: fc.option(map, { nil: undefined }),
    nodeIdentity: fc.nat(255),
    wireguardPublicKey: fc.base64String({ maxLength: 8 }),
    bootId: name,
  });
  fc.assert(fc.property(node, (value) => assert.deepEqual(decodeNode(encodeNode(value)), value)));
  const ports = fc.dictionary(
    fc.oneof(fc.ipV4(), address),
    fc.dictionary(
      name,
      rec({ protocol: fc.constantFrom('TCP', 'UDP', 'SCTP'), port: fc.nat(65535) }),
      { maxKeys: 2, noNullPrototype: true },
    ),
    { maxKeys: 3, noNullPrototype: true },
  );
  const service: fc.Arbitrary<ServiceValue> = rec({
    cluster: name,
    clusterId: fc.nat(511),
    namespace: name,
    name,
    frontends: ports,
    backends: ports,
    hostnames: map,
    zones: fc.dictionary(name, rec({ zone: name, forZones: fc.array(name, { maxLength: 2 }) }), {
      maxKeys: 2,
      noNullPrototype: true,
    }),
    labels: map,
    selector: map,
    includeExternal: fc.boolean(),
    shared: fc.boolean(),
  });
  fc.assert(
    fc.property(service, (value) => {
      const text = encodeService(value);
      assert.deepEqual(decodeService(text), value);
      assert.equal(encodeService(decodeService(text)), text);
    }),
  );
});

test('property: no bytes crash a decoder', () => {
  const values = pairs.map(([, value]) => value);
  const mutated = fc
    .tuple(fc.constantFrom(...values), fc.nat(), fc.string({ maxLength: 3 }))
    .map(([text, at, extra]) => {
      const cut = at % (text.length + 1);
      return text.slice(0, cut) + extra + text.slice(cut + extra.length);
    });
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.json(), mutated), (text) => {
      for (const decode of [decodeIp, decodeNode, decodeService, decodeClusterConfig]) {
        try {
          decode(text);
        } catch (error) {
          assert.ok(error instanceof MeshError, `${decode.name}: ${String(error)}`);
        }
      }
    }),
    { numRuns: 1000 },
  );
});
