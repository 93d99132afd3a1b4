import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { nodePaths, nodePrograms } from '../index.ts';
import { apply, eventually, expectNow, expectSoon, sh, useLab } from './support.ts';

const PROGRAM = join(import.meta.dirname, '../../cli/bin/causeway');
const CLIENT = 'main/default/client';
/** All that has a way round, all at once: a kernel of 5.10. */
const OPTIONAL = ['tcx', 'set-retval', 'netns-cookie', 'timer', 'map-batch-lpm'];

const lab = useLab(
  'feat',
  `racks:
  - {name: rack, ipv4: 192.168.36.0/24, ipv6: "fd3a::/64"}
clusters:
  - name: main
    id: 1
    podCIDRs: {ipv4: 10.36.0.0/16, ipv6: "fd3a:1::/48"}
    serviceCIDRs: [10.37.0.0/16, "fd3a:36::/112"]
    agent: {simulate: {missingFeatures: ${JSON.stringify(OPTIONAL)}}}
    nodes:
      - {name: n1, rack: rack}
      - {name: n2, rack: rack}
    pods:
      - {name: client, node: n1, labels: {app: client}}
      - {name: stranger, node: n1, labels: {app: stranger}}
      - {name: near, node: n1, labels: {app: server}, serve: [{port: 80, type: http}]}
      - {name: far, node: n2, labels: {app: server}, serve: [{port: 80, type: http}]}
`,
);

/** Starts an agent by the node's configuration with other settings, to see how it refuses. */
async function refusal(change: (text: string) => string): Promise<string> {
  const { directory } = nodePaths(lab().name, 'n1');
  const { config: agentConfig } = nodePrograms(lab().name, 'n1', 'agent');
  const file = join(directory, 'refused.yaml');
  // A run directory of its own: the node's agent holds the lock of the other.
  const text = readFileSync(agentConfig, 'utf8').replace(
    'runDir: /run/causeway',
    'runDir: /run/causeway/refused',
  );
  writeFileSync(file, change(text));
  const { code, stdout, stderr } = await lab().exec('n1', [PROGRAM, 'agent', '--config', file], {
    timeoutMs: 15_000,
  });
  assert.notEqual(code, 0, 'the agent refuses to start');
  return `${stdout}${stderr}`;
}

const without = (feature: string) => (text: string) =>
  text.replace(/missingFeatures:(\n\s+- .*)+/, `missingFeatures: [${feature}]`);

test('without tcx the programs hang on clsact and carry traffic and policy', async () => {
  const filters = await sh(
    lab(),
    'n1',
    'tc filter show dev eth0 ingress; tc filter show dev cw_host egress',
  );
  assert.match(filters, /from_network/);
  assert.match(filters, /from_host/);
  const pods = ['near', 'far'].map((name) => `main/default/${name}`);
  for (const pod of pods)
    await expectNow(
      (await lab().addresses(pod)).flatMap((address) => [
        {
          what: `client asks ${pod} at ${address}`,
          wanted: 'answered' as const,
          attempt: () => lab().traffic.http(CLIENT, address, 80),
        },
        {
          what: `client pings ${pod} at ${address}`,
          wanted: 'answered' as const,
          attempt: () => lab().traffic.ping(CLIENT, address, { size: 3000 }),
        },
      ]),
    );
  await apply(lab(), 'main', {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'NetworkPolicy',
    metadata: { name: 'servers', namespace: 'default' },
    spec: {
      podSelector: { matchLabels: { app: 'server' } },
      ingress: [{ from: [{ podSelector: { matchLabels: { app: 'client' } } }] }],
    },
  });
  for (const pod of pods)
    await expectSoon(
      (await lab().addresses(pod)).flatMap((address) => [
        {
          what: `client asks ${pod} at ${address} under policy`,
          wanted: 'answered' as const,
          attempt: () => lab().traffic.http(CLIENT, address, 80, { seconds: 1 }),
        },
        {
          what: `stranger asks ${pod} at ${address} under policy`,
          wanted: 'timeout' as const,
          attempt: () => lab().traffic.http('main/default/stranger', address, 80, { seconds: 1 }),
        },
      ]),
    );
});

test('services work and refuse at once without the newer helpers', async () => {
  const service = (name: string, app: string) => ({
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name, namespace: 'default' },
    spec: {
      selector: { app },
      ipFamilyPolicy: 'RequireDualStack',
      ports: [{ port: 8080, targetPort: 80 }],
    },
  });
  await apply(lab(), 'main', service('servers', 'server'), service('nobody', 'nobody'));
  const store = await lab().cluster().store();
  const addresses = async (name: string) =>
    (await store.get('Service', { namespace: 'default', name })).spec.clusterIPs ?? [];
  const [servers, nobody] = [await addresses('servers'), await addresses('nobody')];
  assert.deepEqual([servers.length, nobody.length], [2, 2]);
  await expectSoon([
    ...servers.map((address) => ({
      what: `client asks the service at ${address}`,
      wanted: 'answered' as const,
      attempt: () => lab().traffic.http(CLIENT, address, 8080),
    })),
    ...nobody.map((address) => ({
      what: `client asks nobody at ${address}`,
      wanted: 'refused' as const,
      attempt: () => lab().traffic.http(CLIENT, address, 8080),
    })),
  ]);
});

test('an agent that is killed and started again on clsact keeps traffic', async () => {
  await lab().agent('n1').kill();
  const far = await lab().addresses('main/default/far');
  const asked = far.map((address) => ({
    what: `client asks ${address}`,
    wanted: 'answered' as const,
    attempt: () => lab().traffic.http(CLIENT, address, 80, { seconds: 1 }),
  }));
  await expectNow(asked);
  await lab().agent('n1').start();
  await lab().settled();
  await expectNow(asked);
  const filters = await sh(lab(), 'n1', 'tc filter show dev eth0 ingress');
  assert.equal(filters.match(/direct-action/g)?.length, 1, filters);
});

for (const [feature, words] of [
  ['ringbuf', /ringbuf.*Linux 5\.8/s],
  ['redirect-peer', /redirect-peer.*Linux 5\.10/s],
  ['redirect-neigh', /redirect-neigh.*Linux 5\.10/s],
  ['fib-lookup', /fib-lookup.*Linux 4\.18/s],
  ['skb-tunnel-key', /skb-tunnel-key.*(routingMode native)/s],
  ['bpf-link-cgroup', /bpf-link-cgroup.*(socketLB\.enabled)/s],
] as const) {
  test(`a kernel without ${feature} is refused by its name, with the way out`, async () => {
    assert.match(await refusal(without(feature)), words);
  });
}

test('a feature that is none is refused with those there are', async () => {
  assert.match(await refusal(without('tcy')), /tcy.*tcx/s);
});

test('the agent that runs was not disturbed by those that were refused', async () => {
  await eventually('it is ready', async () =>
    (await lab().agent('n1').missing()) === undefined ? true : undefined,
  );
});
