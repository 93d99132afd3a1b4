import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LabError } from '../errors.ts';
import { loadLab, shippedLabs } from './load.ts';
import { parseLabFile } from './parse.ts';

const SMALL = {
  racks: [{ name: 'r', ipv4: '10.9.0.0/24', ipv6: 'fd09::/64' }],
  clusters: [
    {
      name: 'c',
      id: 1,
      podCIDRs: { ipv4: '10.1.0.0/16', ipv6: 'fd01::/48' },
      nodes: [{ name: 'n', rack: 'r' }],
    },
  ],
};

/** SMALL with one field set, by path. */
function altered(path: string, value: unknown): string {
  const copy = structuredClone(SMALL) as unknown as Record<string, unknown>;
  const steps = path.split('.');
  const last = steps.pop()!;
  let here = copy;
  for (const step of steps) {
    here[step] ??= {};
    here = here[step] as Record<string, unknown>;
  }
  here[last] = value;
  return JSON.stringify(copy);
}

function refused(text: string): LabError {
  try {
    parseLabFile(text, 'test.yaml');
  } catch (error) {
    assert.ok(error instanceof LabError, String(error));
    assert.equal(error.code, 'lab-file-invalid');
    return error;
  }
  return assert.fail(`accepted: ${text}`);
}

test('the shipped labs are lab files, and defaults fill what they leave out', () => {
  assert.deepEqual(shippedLabs(), [
    'demo',
    'edge',
    'hybrid',
    'mesh-10',
    'native',
    'pools',
    'reflector',
    'spine-leaf',
    'ten',
    'three-tier',
    'tiny',
    'two-clusters',
    'two-clusters-tunnel',
  ]);
  for (const name of shippedLabs()) assert.ok(loadLab(name).file.clusters.length > 0);
  const file = parseLabFile(JSON.stringify(SMALL), 'test.yaml');
  assert.deepEqual(file.clusters[0]?.families, ['ipv4', 'ipv6']);
  assert.equal(file.clusters[0]?.routing.mode, 'tunnel');
  assert.equal(file.clusters[0]?.podCIDRs.nodeLength.ipv4, 24);
  assert.equal(file.racks[0]?.mtu, 1500);
});

test('every refusal names the path, the value and what is allowed', () => {
  const cases: [path: string, value: unknown, where: string, words: RegExp][] = [
    ['clusters.0.ipam', 'pools', 'clusters[0].operators', /must be 1 to 3 with ipam: pools/],
    ['clusters.0.operators', 4, 'clusters[0].operators', /3/],
    ['colour', 'red', 'colour', /not a field/],
    ['racks.0.ipv4', '10.9.0.1/24', 'racks[0].ipv4', /10\.9\.0\.0\/24/],
    ['racks.0.ipv4', 'fd08::/64', 'racks[0].ipv4', /must be an ipv4 prefix/],
    ['racks.0.ipv4', '10.9.0.0/31', 'racks[0].ipv4', /\/29 or shorter/],
    ['racks.0.name', 'A_B', 'racks[0].name', /a-z, 0-9/],
    ['racks.0.mtu', 100, 'racks[0].mtu', /1280/],
    ['clusters.0.id', 0, 'clusters[0].id', />=1/],
    ['clusters.0.name', undefined, 'clusters[0].name', /missing/],
    ['clusters.0.routing.mode', 'bgp', 'clusters[0].routing.mode', /one of tunnel, native, hybrid/],
    ['clusters.0.families', ['ipv4'], 'clusters[0].podCIDRs.ipv6', /not among/],
    ['clusters.0.podCIDRs.ipv6', undefined, 'clusters[0].podCIDRs.ipv6', /missing.*ipv4, ipv6/],
    [
      'clusters.0.podCIDRs.ipv4',
      '10.9.0.0/16',
      'clusters[0].podCIDRs.ipv4',
      /overlaps 10\.9\.0\.0\/24 at racks\[0\]/,
    ],
    [
      'clusters.0.podCIDRs.nodeLength.ipv4',
      12,
      'clusters[0].podCIDRs.nodeLength.ipv4',
      /16 or longer/,
    ],
    ['clusters.0.nodes.0.rack', 'q', 'clusters[0].nodes[0].rack', /allowed: r$/],
    ['clusters.0.nodes.0.count', 0, 'clusters[0].nodes[0].count', />=1/],
    [
      'clusters.0.nodes.0.addresses.ipv4',
      '10.8.0.1',
      'clusters[0].nodes[0].addresses.ipv4',
      /must lie in.*10\.9\.0\.0\/24/,
    ],
    ['clusters.0.nodes', [], 'clusters[0].nodes', /1 to 200/],
    [
      'clusters.0.nodes.1',
      { name: 'r', rack: 'r' },
      'clusters[0].nodes[1].name',
      /already \(at racks\[0\]\.name\)/,
    ],
    ['clusters.0.pods', [{ name: 'p', node: 'z' }], 'clusters[0].pods[0].node', /allowed: n$/],
    ['clusters.0.pods', [{ name: 'p' }, { name: 'p' }], 'clusters[0].pods[1].name', /already/],
    ['clusters.0.etcd.rack', 'q', 'clusters[0].etcd.rack', /allowed: r$/],
    [
      'clusters.0.serviceCIDRs',
      ['10.1.5.0/24'],
      'clusters[0].serviceCIDRs[0]',
      /overlaps 10\.1\.0\.0\/16/,
    ],
    [
      'hosts',
      [{ name: 'h', rack: 'r', serve: [{ port: 70000, type: 'http' }] }],
      'hosts[0].serve[0].port',
      /65535/,
    ],
    ['clusters.0.etcd', { proxy: true }, 'clusters[0].etcd.proxy', /takes a mesh/],
    ['clusters.0.inventory', {}, 'clusters[0].nodes', /beside inventory/],
    ['mesh', { pairs: [['c', 'd']] }, 'mesh.pairs[0][1]', /allowed: c$/],
    ['mesh', { pairs: [['c', 'c']] }, 'mesh.pairs[0]', /two different/],
    ['routers', [{ name: 'x', racks: ['q'] }], 'routers[0].racks[0]', /allowed: r$/],
    [
      'routers',
      [{ name: 'x', routing: { type: 'rip' } }],
      'routers[0].routing.type',
      /one of static, bird, frr, gobgp/,
    ],
    [
      'links',
      [{ between: ['x', 'y'], ipv4: '10.255.0.0/30' }],
      'links[0].between[0]',
      /not a router/,
    ],
  ];
  for (const [path, value, where, words] of cases) {
    const error = refused(altered(path, value));
    const issue = error.issues.find((each) => each.path === where);
    assert.ok(issue, `${path}: no issue at ${where} in ${error.message}`);
    assert.match(issue.message, words, path);
    assert.ok(error.message.includes(where));
  }
});

test('all that is wrong is said at once', () => {
  const error = refused(
    altered('clusters.0.nodes', [
      { name: 'a', rack: 'x' },
      { name: 'a', rack: 'y' },
    ]),
  );
  assert.deepEqual(error.issues.map(({ path }) => path).sort(), [
    'clusters[0].nodes[0].rack',
    'clusters[0].nodes[1].name',
    'clusters[0].nodes[1].rack',
  ]);
});

test('text that is no YAML, too long, or a bomb of aliases is refused', () => {
  assert.match(refused('racks: [').message, /line 1/);
  assert.match(refused('').message, /\(file\)/);
  assert.match(refused(`# ${'x'.repeat(1_100_000)}`).message, /longer/);
  let bomb = 'a0: &a0 [1,1,1,1,1,1,1,1,1,1]\n';
  for (let i = 1; i < 9; i++)
    bomb += `a${i}: &a${i} [${Array(10)
      .fill(`*a${i - 1}`)
      .join(',')}]\n`;
  assert.match(refused(bomb).message, /alias/i);
  refused('a: 1\na: 2\n');
});
