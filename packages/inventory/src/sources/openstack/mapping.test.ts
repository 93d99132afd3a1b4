import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isMachine, itemOf, type MappingOptions, takesPart } from './mapping.ts';
import { readPort, readServer } from './objects.ts';

const options: MappingOptions = {
  labelsFrom: ['tags', 'metadata', 'project'],
  projectAsNamespace: false,
  deviceOwners: ['compute:*', 'baremetal:*'],
  projects: [],
  networks: [],
  tags: [],
};
const names = { projects: new Map([['p1', 'Web Shop']]), networks: new Map([['n1', 'front']]) };

function port(fields: object = {}) {
  const read = readPort({
    id: 'port-1',
    fixed_ips: [{ ip_address: '192.0.2.1' }, { ip_address: '2001:db8::1' }],
    device_owner: 'compute:nova',
    device_id: 'vm',
    project_id: 'p1',
    network_id: 'n1',
    ...fields,
  });
  assert.equal(read.type, 'object');
  return read.type === 'object' ? read.object : assert.fail();
}

function server(fields: object = {}) {
  const read = readServer({ id: 'vm', name: 'web-1', status: 'ACTIVE', ...fields });
  return read.type === 'object' ? read.object : assert.fail();
}

test('makes labels of tags, metadata and project, and facts of everything', () => {
  const item = itemOf(
    port({ tags: ['app=db', 'blue', 'app=second', '=none', 'a=b=c'] }),
    server({ metadata: { app: 'meta', role: 'x' }, tags: ['tier=1'] }),
    names,
    options,
  );
  assert.deepEqual(item.labels, {
    app: 'db',
    blue: '',
    a: 'b=c',
    tier: '1',
    role: 'x',
    'openstack.causeway.io/project': 'p1',
    'openstack.causeway.io/project-name': 'Web Shop',
  });
  assert.deepEqual(item.addresses, ['192.0.2.1', '2001:db8::1']);
  assert.equal(item.attributes?.['metadata/app'], 'meta');
  assert.equal(item.attributes?.['tag/app'], 'db');
  assert.equal(item.attributes?.['network-name'], 'front');
  assert.equal(item.attributes?.['server-status'], 'ACTIVE');
});

test('lets no project name itself another by tags or metadata', () => {
  const stolen = { 'openstack.causeway.io/project': 'p2' };
  const item = itemOf(
    port({ tags: ['openstack.causeway.io/project=p3'], project_id: '' }),
    server({ metadata: stolen }),
    names,
    options,
  );
  assert.deepEqual(item.labels, {});
});

test('makes labels only of what it is told to', () => {
  const told = (labelsFrom: MappingOptions['labelsFrom']) =>
    Object.keys(
      itemOf(port({ tags: ['t'] }), server({ metadata: { m: '1' } }), names, {
        ...options,
        labelsFrom,
      }).labels,
    );
  assert.deepEqual(told([]), []);
  assert.deepEqual(told(['tags']), ['t']);
  assert.deepEqual(told(['metadata']), ['m']);
});

test('tells virtual machines, bare metal and pods apart', () => {
  const platform = (fields: object) => itemOf(port(fields), undefined, names, options).platform;
  assert.equal(platform({}), 'vm');
  assert.equal(platform({ device_owner: 'baremetal:none' }), 'bare-metal');
  assert.equal(platform({ 'binding:vnic_type': 'baremetal' }), 'bare-metal');
  assert.equal(platform({ device_owner: 'compute:kuryr' }), 'pod');
});

test('makes a namespace of a project', () => {
  const space = (id: string, name: string) =>
    itemOf(
      port({ project_id: id }),
      undefined,
      { ...names, projects: new Map([[id, name]]) },
      {
        ...options,
        projectAsNamespace: true,
      },
    ).namespace;
  assert.equal(space('p1', 'Shop'), 'shop');
  assert.equal(space('0AF3', 'Web Shop'), '0af3');
});

test('names an item by its server, then its port, then by its id, in what a name may have', () => {
  const name = (p: object, s?: object) =>
    itemOf(port(p), s === undefined ? undefined : server(s), names, options).name;
  assert.equal(name({ name: 'p' }, { name: 'web\u0007-1' }), 'web-1');
  assert.equal(name({ name: 'p' }, { name: '' }), 'p');
  assert.equal(name({ name: '' }), 'port-1');
  assert.equal(name({}, { name: 'x'.repeat(255) }).length, 253);
});

test('takes machines only, and those of the projects, networks and tags that are asked for', () => {
  assert.equal(takesPart(port(), options), true);
  for (const owner of ['network:dhcp', 'network:router_interface', '', 'Octavia'])
    assert.equal(isMachine(owner, options.deviceOwners), false);
  assert.equal(isMachine('compute:az-2', ['compute:az-1', 'compute:az-2']), true);
  assert.equal(takesPart(port(), { ...options, projects: ['p2'] }), false);
  assert.equal(takesPart(port(), { ...options, networks: ['n1'] }), true);
  const tagged = { ...options, tags: ['mesh', 'blue'] };
  assert.equal(takesPart(port({ tags: ['mesh'] }), tagged), false);
  assert.equal(takesPart(port({ tags: ['blue', 'mesh', 'x'] }), tagged), true);
});

test('knows that an object exists which it cannot read', () => {
  assert.equal(readPort({ id: 'port-1', fixed_ips: 'x' }).type, 'unknown');
  assert.equal(readPort({ id: '../x', fixed_ips: [] }).type, 'nothing');
  assert.equal(readPort(null).type, 'nothing');
  // Nova 2.69 says no more of a server whose cell is out of reach.
  assert.equal(readServer({ id: 'vm', status: 'UNKNOWN', tenant_id: 'p' }).type, 'unknown');
  assert.equal(readServer({ id: 'vm', status: 'DELETED' }).type, 'object');
});

test('takes addresses of pairs for facts, networks of pairs for nothing', () => {
  const pairs = ['10.0.0.9', '10.0.0.10/32', '2001:db8::5/128', '10.0.0.0/24'];
  const given = port({ allowed_address_pairs: pairs.map((ip_address) => ({ ip_address })) });
  assert.deepEqual(given.pairs, ['10.0.0.9', '10.0.0.10', '2001:db8::5']);
  assert.deepEqual(itemOf(given, undefined, names, options).addresses, [
    '192.0.2.1',
    '2001:db8::1',
  ]);
});
