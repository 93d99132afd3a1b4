import assert from 'node:assert/strict';
import { test } from 'node:test';
import { within } from '../testing/within.ts';
import { apply, eventually, expectNow, expectSoon, useLab } from './support.ts';

const FAMILIES = ['ipv4', 'ipv6'] as const;
/** By the socket hooks at connect and send, and packet by packet. */
const WAYS = { sockets: '{enabled: true, pods: true}', packets: '{enabled: false, pods: false}' };

const cluster = ([name, socketLB]: [string, string], i: number) => `
  - name: ${name}
    id: ${i + 1}
    podCIDRs: {ipv4: 10.${120 + i}.0.0/16, ipv6: "fd5${i}:1::/48"}
    serviceCIDRs: [10.${130 + i}.0.0/16, "fd6${i}:1::/112"]
    socketLB: ${socketLB}
    nodes:
      - {name: ${name}-a, rack: rack}
      - {name: ${name}-b, rack: rack}
    pods:
      - {name: client, node: ${name}-a, labels: {app: client}}
      - {name: near, node: ${name}-a, labels: {app: web}, serve: [{name: web, port: 80, type: http}, {port: 7, type: udp}, {port: 7000, type: tcp}]}
      - {name: far, node: ${name}-b, labels: {app: web}, serve: [{name: web, port: 80, type: http}, {port: 7, type: udp}, {port: 7000, type: tcp}]}
      - {name: alone, node: ${name}-b, labels: {app: alone}, serve: [{port: 7000, type: tcp}, {port: 80, type: http}]}`;

const service = (name: string, app: string, spec: object = {}) => ({
  apiVersion: 'v1',
  kind: 'Service',
  metadata: { name, namespace: 'default' },
  spec: {
    selector: { app },
    ipFamilyPolicy: 'RequireDualStack',
    ports: [
      { name: 'web', port: 8080, targetPort: name === 'web' ? 'web' : 80 },
      { name: 'echo', port: 7007, targetPort: 7, protocol: 'UDP' },
      { name: 'talk', port: 9000, targetPort: 7000 },
    ],
    ...spec,
  },
});

const addresses = new Map<string, readonly string[]>();

const lab = useLab(
  'svc',
  `racks:
  - {name: rack, ipv4: 192.168.38.0/24, ipv6: "fd3e::/64"}
clusters:${Object.entries(WAYS).map(cluster).join('')}
`,
  async () => {
    for (const name of Object.keys(WAYS)) {
      const objects = [
        service('web', 'web'),
        service('sticky', 'web', { sessionAffinity: 'ClientIP' }),
        service('alone', 'alone'),
        service('nobody', 'nobody'),
      ];
      await apply(lab(), name, ...objects);
      const store = await lab().cluster(name).store();
      for (const each of ['web', 'sticky', 'alone', 'nobody']) {
        const { spec } = await store.get('Service', { namespace: 'default', name: each });
        addresses.set(`${name} ${each}`, spec.clusterIPs ?? []);
      }
    }
  },
);

for (const way of Object.keys(WAYS)) {
  const place = (pod: string) => `${way}/default/${pod}`;
  const of = (name: string) => {
    const found = addresses.get(`${way} ${name}`) ?? [];
    assert.equal(found.length, 2, `service ${name} has an address of each family`);
    return found;
  };
  const names = async (ask: () => Promise<{ answer: string }>, count = 32) => {
    const seen = new Set<string>();
    for (let i = 0; i < count; i++) seen.add((await ask()).answer.split(' ')[0]!);
    return [...seen].sort().join();
  };

  test(`${way}: TCP and UDP reach the backends of a service, by named ports too`, async () => {
    assert.equal(of('web').length, FAMILIES.length);
    await expectSoon(
      of('web').flatMap((address) => [
        {
          what: `http ${address}`,
          wanted: 'answered' as const,
          answer: /^(near|far)$/,
          attempt: () => lab().traffic.http(place('client'), address, 8080),
        },
        ...[true, false].map((connected) => ({
          what: `udp ${address} ${connected ? 'connected' : 'unconnected'}`,
          wanted: 'answered' as const,
          answer: /^(near|far) hello$/,
          attempt: () => lab().traffic.udp(place('client'), address, 7007, { connected }),
        })),
      ]),
    );
    for (const address of of('web'))
      assert.equal(
        await names(() => lab().traffic.http(place('client'), address, 8080)),
        'far,near',
        'connections are spread',
      );
  });

  test(`${way}: a service with nobody behind it refuses at once, in TCP and UDP`, async (t) => {
    for (const address of of('nobody')) {
      // A connection that is tried a second time takes a second.
      await within(t, `refusal of ${address}`, 500, async () => {
        const tcp = await lab().traffic.http(place('client'), address, 8080);
        assert.equal(tcp.outcome, 'refused', `${address}: ${tcp.detail}`);
        return tcp.milliseconds;
      });
      const udp = await lab().traffic.udp(place('client'), address, 7007);
      assert.equal(udp.outcome, 'refused', `${address}: ${udp.detail}`);
    }
  });

  test(`${way}: a pod reaches itself through its service`, async () => {
    await expectNow(
      of('alone').flatMap((address) => [
        {
          what: `alone asks itself at ${address}`,
          wanted: 'answered' as const,
          answer: /^alone$/,
          attempt: () => lab().traffic.http(place('alone'), address, 8080),
        },
        {
          what: `alone talks to itself at ${address}`,
          wanted: 'answered' as const,
          answer: /^alone .*\nword$/s,
          attempt: () => lab().traffic.tcp(place('alone'), address, 9000, { say: 'word' }),
        },
      ]),
    );
  });

  test(`${way}: with session affinity a client stays with its backend`, async () => {
    for (const address of of('sticky')) {
      const seen = await names(() => lab().traffic.http(place('client'), address, 8080));
      assert.match(seen, /^(near|far)$/);
    }
  });

  test(`${way}: connections to a backend that is no longer ready go on, new ones go elsewhere`, async () => {
    const talks = of('web').map((address) => {
      const host = address.includes(':') ? `[${address}]` : address;
      const child = lab().spawn(place('client'), ['socat', '-', `TCP:${host}:9000`]);
      const talk = { child, heard: '' };
      child.stdout?.on('data', (data) => {
        talk.heard += String(data);
      });
      return talk;
    });
    try {
      for (const talk of talks)
        await eventually('a greeting', async () =>
          /^(near|far) /.test(talk.heard) ? true : undefined,
        );
      const leaving = talks[0]!.heard.split(' ')[0]!;
      const staying = leaving === 'near' ? 'far' : 'near';
      await lab().setReady(place(leaving), false);
      for (const address of of('web'))
        await eventually('new connections go elsewhere', async () =>
          (await names(() => lab().traffic.http(place('client'), address, 8080), 6)) === staying
            ? true
            : undefined,
        );
      for (const [i, talk] of talks.entries()) {
        talk.child.stdin?.write(`still-${i}\n`);
        await eventually('the old one answers', async () =>
          talk.heard.includes(`still-${i}`) ? true : undefined,
        );
      }
      await lab().setReady(place(leaving), true);
    } finally {
      for (const { child } of talks) child.kill('SIGKILL');
    }
  });
}

test('a node’s own processes reach services by their sockets', async () => {
  await expectNow(
    (addresses.get('sockets web') ?? []).map((address) => ({
      what: `node asks ${address}`,
      wanted: 'answered' as const,
      answer: /^(near|far)$/,
      attempt: () => lab().traffic.http('sockets-b', address, 8080),
    })),
  );
});
