import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import type { ApiError } from '@causeway/daemon';
import { peerConfigOf } from './core.ts';
import { diffSettings } from './diff.ts';
import { type Owned, readOwner, settingsOf } from './owners.ts';
import { redact } from './redact.ts';
import type { SpeakerConfigInput } from './schema.ts';
import type { Settings } from './settings.ts';

const base = { asn: 65001, routerId: '192.0.2.1' };
const families = [{ family: 'ipv4-unicast' as const }];
const near = { name: 'near', peer: { address: '192.0.2.2' }, asn: 65002, families };

async function read(configs: Record<string, unknown>): Promise<Settings | undefined> {
  const owners = new Map<string, Owned>();
  for (const [owner, raw] of Object.entries(configs))
    owners.set(owner, await readOwner(owner, raw));
  return settingsOf(owners);
}

const whole = async (config: SpeakerConfigInput): Promise<Settings> => (await read({ a: config }))!;

async function refused(configs: Record<string, unknown>): Promise<ApiError> {
  try {
    await read(configs);
  } catch (error) {
    return error as ApiError;
  }
  return assert.fail(`accepted: ${JSON.stringify(configs)}`);
}

const withNeighbor = (change: object) => ({ ...base, neighbors: [{ ...near, ...change }] });

test('every refusal names field and value', async () => {
  const cases: [config: unknown, field: string, value: unknown, text: RegExp][] = [
    [{ ...base, asn: 0 }, 'asn', 0, /1 to 4294967295/],
    [{ ...base, asn: '65536.1' }, 'asn', '65536.1', /AS number/],
    [{ routerId: '192.0.2.1' }, 'asn', undefined, /is missing/],
    [{ asn: 1 }, 'routerId', undefined, /is missing/],
    [{ ...base, routerId: '0.0.0.0' }, 'routerId', '0.0.0.0', /dotted quad/],
    [{ ...base, neighbours: [] }, 'neighbours', [], /did you mean neighbors/],
    [withNeighbor({ asn: 'extern' }), 'neighbors.0.asn', 'extern', /internal or external or any/],
    [
      withNeighbor({ peer: { address: '192.0.2.300' } }),
      'neighbors.0.peer.address',
      '192.0.2.300',
      /IPv4 or IPv6/,
    ],
    [
      withNeighbor({ peer: { address: 'fe80::1' } }),
      'neighbors.0.peer.interface',
      undefined,
      /link-local/,
    ],
    [
      withNeighbor({ peer: { interfce: 'eth0' } }),
      'neighbors.0.peer.interfce',
      'eth0',
      /did you mean interface/,
    ],
    [
      withNeighbor({ peer: { interface: 'eth 0' } }),
      'neighbors.0.peer.interface',
      'eth 0',
      /interface name/,
    ],
    [
      withNeighbor({ peer: { defaultGateway: 'ipv5' } }),
      'neighbors.0.peer.defaultGateway',
      'ipv5',
      /ipv4, ipv6/,
    ],
    [
      withNeighbor({ localAddress: '2001:db8::1' }),
      'neighbors.0.localAddress',
      '2001:db8::1',
      /another family/,
    ],
    [withNeighbor({ timers: { hold: 2 } }), 'neighbors.0.timers.hold', 2, /0 or 3/],
    [
      withNeighbor({ timers: { hold: 9, keepalive: 9 } }),
      'neighbors.0.timers.keepalive',
      9,
      /less than hold/,
    ],
    [withNeighbor({ families: [] }), 'neighbors.0.families', [], /./],
    [
      withNeighbor({ families: [...families, ...families] }),
      'neighbors.0.families',
      [...families, ...families],
      /twice/,
    ],
    [
      withNeighbor({ families: [{ family: 'ipv4' }] }),
      'neighbors.0.families.0.family',
      'ipv4',
      /ipv4-unicast/,
    ],
    [
      withNeighbor({ families: [{ family: 'ipv4-unicast', import: 'x' }] }),
      'neighbors.0.families.0.import',
      'x',
      /names no policy/,
    ],
    [
      withNeighbor({ ttlSecurity: 1, multihopTtl: 2 }),
      'neighbors.0.multihopTtl',
      2,
      /beside ttlSecurity/,
    ],
    [withNeighbor({ ttlSecurity: 255 }), 'neighbors.0.ttlSecurity', 255, /254/],
    [withNeighbor({ password: 'x'.repeat(81) }), 'neighbors.0.password', '(secret)', /80/],
    [withNeighbor({ password: '(set)' }), 'neighbors.0.password', '(set)', /not one/],
    [
      withNeighbor({ password: 'a', passwordFile: '/b' }),
      'neighbors.0.passwordFile',
      '/b',
      /beside password/,
    ],
    [
      withNeighbor({ passwordFile: '/nowhere/at/all' }),
      'neighbors.0.passwordFile',
      '/nowhere/at/all',
      /cannot be read/,
    ],
    [
      withNeighbor({ routeReflectorClient: true }),
      'neighbors.0.routeReflectorClient',
      true,
      /internal/,
    ],
    [withNeighbor({ name: 'a b' }), 'neighbors.0.name', 'a b', /letters/],
    [withNeighbor({ name: 'local:a' }), 'neighbors.0.name', 'local:a', /originated/],
    [
      withNeighbor({ bfd: { auth: { type: 'keyed-md5', keyId: 1, key: 'x'.repeat(17) } } }),
      'neighbors.0.bfd.auth.key',
      '(set)',
      /16 bytes/,
    ],
    [{ ...base, neighbors: [near, near] }, 'neighbors.1.name', 'near', /neighbors\.0/],
    [{ ...base, neighbors: [near, { ...near, name: 'b' }] }, 'neighbors.1.peer', near.peer, /near/],
    [{ ...base, kernel: { mode: 'prefixes' } }, 'kernel.prefixes', undefined, /is missing/],
    [
      { ...base, kernel: { mode: 'some' } },
      'kernel.mode',
      'some',
      /none, all, prefixes, same-rack/,
    ],
    [{ ...base, prefixSets: { a: ['10.0.0.1/8'] } }, 'prefixSets.a.0', '10.0.0.1/8', /host bits/],
    [
      { ...base, policies: { p: { statements: [{ thn: 'accept' }] } } },
      'policies.p.statements.0.thn',
      'accept',
      /did you mean then/,
    ],
    [
      {
        ...base,
        dynamicNeighbors: [
          { name: 'd', prefix: '10.0.0.0/8', asns: 'any', limit: 0, template: { families } },
        ],
      },
      'dynamicNeighbors.0.limit',
      0,
      /1/,
    ],
    [
      {
        ...base,
        neighbors: [near],
        dynamicNeighbors: [
          { name: 'near', prefix: '10.0.0.0/8', asns: 'any', template: { families } },
        ],
      },
      'neighbors.0.name',
      'near',
      /dynamic/,
    ],
    [{ ...base, bmp: [{ address: '192.0.2.9', views: ['in'] }] }, 'bmp.0.views.0', 'in', /in-pre/],
    [{ ...base, listen: [{ address: 'localhost' }] }, 'listen.0.address', 'localhost', /address/],
  ];
  for (const [config, field, value, text] of cases) {
    const error = await refused({ a: config });
    assert.equal(error.code, 'bad-config', error.message);
    assert.equal(error.field, field, error.message);
    assert.deepEqual(error.value, value, error.message);
    assert.match(error.message, text);
    assert.match(error.message, /^configuration of a: /);
  }
});

test('owners are put together, and who disagrees with whom is said', async () => {
  const settings = await read({
    file: { ...base, policies: { p: { statements: [] } } },
    agent: { neighbors: [{ ...near, families: [{ family: 'ipv4-unicast', export: 'p' }] }] },
    more: { asn: 65001, neighbors: [{ ...near, name: 'far', peer: { address: '192.0.2.3' } }] },
  });
  assert.deepEqual([...settings!.neighbors.keys()], ['near', 'far']);
  assert.deepEqual(
    settings?.listen.map(({ address, port }) => `${address} ${port}`),
    ['0.0.0.0 179', ':: 179'],
  );
  assert.equal(await read({}), undefined);
  for (const [other, field] of [
    [{ asn: 65009 }, 'asn'],
    [{ neighbors: [{ ...near, asn: 65003 }] }, 'neighbors.0.name'],
    [{ policies: { p: { statements: [], otherwise: 'accept' } } }, 'policies.p'],
    [{ kernel: { mode: 'all' } }, 'kernel'],
  ] as const) {
    const error = await refused({
      one: { ...base, neighbors: [near], policies: { p: { statements: [] } }, kernel: {} },
      two: other,
    });
    assert.deepEqual([error.code, error.field, error.status], ['conflict', field, 409]);
    assert.match(error.message, /two: .*one/);
  }
});

test('secrets are read from files and never shown', async () => {
  const dir = mkdtempSync(join(tmpdir(), `cw-speaker-${process.pid}-`));
  try {
    const file = join(dir, 'secret');
    writeFileSync(file, 'word\n');
    const settings = await whole({
      ...base,
      neighbors: [
        { ...near, passwordFile: file, bfd: { auth: { type: 'simple', keyId: 1, key: 'k' } } },
      ],
    });
    assert.equal(settings.neighbors.get('near')?.password, 'word');
    writeFileSync(file, '');
    assert.equal(
      (await refused({ a: withNeighbor({ passwordFile: file }) })).field,
      'neighbors.0.passwordFile',
    );
    assert.deepEqual(redact({ a: [{ password: 'x', key: 'y', name: 'z' }] }), {
      a: [{ password: '(set)', key: '(set)', name: 'z' }],
    });
  } finally {
    rmSync(dir, { recursive: true });
  }
});

test('what a change touches', async () => {
  const dynamic = { name: 'd', prefix: '10.0.0.0/8', asns: 'any' as const, template: { families } };
  const policies = { p: { statements: [], otherwise: 'accept' as const } };
  const full: SpeakerConfigInput = {
    ...base,
    neighbors: [near, { ...near, name: 'far', peer: { address: '192.0.2.3' } }],
    dynamicNeighbors: [dynamic],
    policies,
    bmp: [{ address: '192.0.2.9', port: 5000 }],
  };
  const [first, second] = full.neighbors as [typeof near, typeof near];
  const names = (list: readonly { name: string }[]) => list.map(({ name }) => name);
  const summary = async (after: SpeakerConfigInput) => {
    const { speaker, library, neighbors, dynamicNeighbors, listen, kernel, bmp, bfdSocket } =
      diffSettings(await whole(full), await whole(after));
    return Object.fromEntries(
      Object.entries({
        speaker,
        library,
        added: names(neighbors.added),
        changed: names(neighbors.changed),
        removed: names(neighbors.removed),
        dynamic: names([
          ...dynamicNeighbors.added,
          ...dynamicNeighbors.changed,
          ...dynamicNeighbors.removed,
        ]),
        listen: [...listen.added, ...listen.removed].map(({ address }) => String(address)),
        kernel,
        bmp: names([...bmp.added, ...bmp.changed, ...bmp.removed]),
        bfdSocket,
      }).filter(([, value]) => value !== false && !(Array.isArray(value) && value.length === 0)),
    );
  };
  const cases: [after: SpeakerConfigInput, touched: object][] = [
    [full, {}],
    [{ ...full, neighbors: [second, first] }, {}],
    [{ ...full, listen: [{ address: '::' }, { address: '0.0.0.0', port: 179 }] }, {}],
    [{ ...full, neighbors: [first] }, { removed: ['far'] }],
    [
      {
        ...full,
        neighbors: [first, second, { ...near, name: 'new', peer: { address: '192.0.2.4' } }],
      },
      { added: ['new'] },
    ],
    [{ ...full, neighbors: [first, { ...second, description: 'x' }] }, { changed: ['far'] }],
    [{ ...full, policies: { p: { statements: [] } } }, { library: true }],
    [{ ...full, routerId: '192.0.2.7' }, { speaker: true }],
    [{ ...full, multipath: { ebgp: 4 } }, { speaker: true }],
    [{ ...full, kernel: { mode: 'all' } }, { kernel: true }],
    [{ ...full, listen: [{ address: '0.0.0.0' }] }, { listen: ['::'] }],
    [{ ...full, dynamicNeighbors: [{ ...dynamic, limit: 5 }] }, { dynamic: ['d'] }],
    [
      { ...full, bmp: [{ name: 's', address: '192.0.2.9', port: 5000 }] },
      { bmp: ['s', '192.0.2.9:5000'] },
    ],
    [{ ...full, bfdSocket: '/x' }, { bfdSocket: true }],
  ];
  for (const [after, touched] of cases)
    assert.deepEqual(await summary(after), touched, JSON.stringify(touched));
});

test('a neighbour becomes what the core takes, without undefined keys', async () => {
  const settings = await whole({
    ...base,
    gracefulRestart: { restartTime: 30 },
    neighbors: [
      { ...near, description: 'x', timers: { hold: 9 }, bfd: { strict: true } },
      {
        name: 'link',
        peer: { interface: 'eth0' },
        asn: 'external',
        families,
        gracefulRestart: false,
      },
    ],
  });
  const [first, second] = [...settings.neighbors.values()];
  assert.deepEqual(
    peerConfigOf(
      first!,
      settings,
      { address: first!.peer && 'address' in first!.peer ? first!.peer.address : undefined! },
      { sharedSubnets: ['192.0.2.0/24'], selfAddresses: ['2001:db8::1'] },
    ),
    {
      name: 'near',
      asn: 65002,
      target: { address: '192.0.2.2' },
      families: [{ family: 'ipv4-unicast' }],
      timers: { hold: 9 },
      gracefulRestart: { restartTime: 30 },
      bfd: { strict: true },
      sharedSubnets: ['192.0.2.0/24'],
      selfAddresses: ['2001:db8::1'],
    },
  );
  assert.deepEqual(
    peerConfigOf(second!, settings, { device: 'eth0' }, { sharedSubnets: [], selfAddresses: [] }),
    {
      name: 'link',
      asn: 'external',
      target: { device: 'eth0' },
      families: [{ family: 'ipv4-unicast' }],
      extendedNextHop: true,
    },
  );
});
