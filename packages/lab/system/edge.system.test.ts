import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { parseManifests } from '@causeway/resources';
import { FlowServers, Flows, type LoadTarget, podPlace, sumFlows, until } from '../index.ts';
import { asServersSay, hostRoute, routed } from './address-book.ts';
import { becomes, ownerOf } from './bgp-fabric.ts';
import { apply, expectSoon, useLab } from './support.ts';

const EDGES = ['e1', 'e2', 'e3', 'e4'];
const SWITCHES = ['tor-1', 'tor-2'];
const SETTLE_MS = 90_000;
/** Of examples/egress/policy.yaml, by the client that they are seen by. */
const EGRESS = { '172.31.0.11': '10.52.0.200', 'fd31::11': 'fd50:52::1:c8' } as const;

const lab = useLab('edge', { shipped: 'edge' });

/** The service's addresses for the world outside, one of each family. */
async function vips(name = 'web'): Promise<string[]> {
  let found: string[] = [];
  await until(
    `addresses of ${name}`,
    async () => {
      const store = await lab().cluster().store();
      const { status } = await store.get('Service', { namespace: 'default', name });
      found = (status?.loadBalancer?.ingress ?? []).flatMap(({ ip }) => ip ?? []);
      return found.length === 2 ? undefined : found.join(', ') || 'none';
    },
    { timeoutMs: SETTLE_MS },
  );
  return found;
}

/** Waits until both switches spread both addresses over exactly these nodes. */
async function paths(addresses: readonly string[], nodes: readonly string[]): Promise<void> {
  for (const name of SWITCHES)
    for (const address of addresses)
      await becomes(
        `paths of ${name} to ${address}`,
        nodes,
        async () => {
          const family = address.includes(':') ? 'ipv6' : 'ipv4';
          const routes = await lab().router(name).routes(family);
          const hops = routes.find(({ prefix }) => prefix === hostRoute(address))?.via ?? [];
          return hops.map((hop) => ownerOf(lab(), hop)).sort();
        },
        SETTLE_MS,
      );
}

test('a service gets addresses of its pool; all edge nodes announce them, and clients outside reach every backend', async () => {
  const addresses = await vips();
  assert.match(addresses.find((address) => !address.includes(':')) ?? '', /^10\.52\.0\./);
  assert.match(addresses.find((address) => address.includes(':')) ?? '', /^fd50:52::/);
  await paths(addresses, EDGES);
  await routed(lab(), 'border', addresses.map(hostRoute), ['tor-1', 'tor-2']);
  await expectSoon(
    addresses.flatMap((address) => [
      {
        what: `http ${address}`,
        wanted: 'answered' as const,
        answer: /^(web|far)-\d$/,
        attempt: () => lab().traffic.http('client-1', address, 80),
      },
      {
        what: `the backend sees who asks at ${address}`,
        wanted: 'answered' as const,
        answer: new RegExp(
          `^(web|far)-\\d .*${asServersSay(address.includes(':') ? 'fd31::12' : '172.31.0.12')}`,
        ),
        attempt: () => lab().traffic.tcp('client-2', address, 7000, { say: 'hello' }),
      },
    ]),
  );
  for (const address of addresses) {
    const seen = new Set<string>();
    // Chosen by a hash of the client's port: of a hundred one backend is left out once in a trillion times.
    for (let i = 0; i < 100 && seen.size < 4; i += 1)
      seen.add((await lab().traffic.http('client-1', address, 80)).answer);
    assert.deepEqual([...seen].sort(), ['far-1', 'far-2', 'web-0', 'web-1']);
  }
});

test('an edge node is cut off, comes back, or drains: connections live on, on other edge nodes', async () => {
  const addresses = await vips();
  const places = lab()
    .pods.filter(({ labels }) => labels.app === 'web')
    .map(podPlace);
  await apply(lab(), 'main', {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: 'flows', namespace: 'default' },
    spec: {
      type: 'LoadBalancer',
      ipFamilyPolicy: 'RequireDualStack',
      selector: { app: 'web' },
      ports: [{ port: 7777, targetPort: 7777 }],
    },
  });
  const own = await vips('flows');
  assert.deepEqual(
    own.filter((address) => addresses.includes(address)),
    [],
  );
  await paths(own, EDGES);
  await using _servers = await FlowServers.start(lab(), 'client-2', places, 7777);
  const targets: LoadTarget[] = own.map((address) => ({ name: 'flows', address, port: 7777 }));
  await using flows = await Flows.open(lab(), 'client-1', { targets, flows: 200 });
  assert.equal(sumFlows(flows.opened).lost, 0);
  assert.equal(new Set(flows.opened.map(({ backend }) => backend)).size, places.length);
  await lab().freeze('e2');
  await paths(own, ['e1', 'e3', 'e4']);
  const cut = sumFlows(await flows.check(15));
  assert.ok(cut.kept >= 0.99, `${cut.lost} of ${cut.flows} were lost`);
  await lab().thaw('e2');
  await paths(own, EDGES);
  const back = sumFlows(await flows.check(15));
  assert.ok(back.kept >= 0.99, `${back.lost} of ${back.flows} were lost when it came back`);
  await edgeLabel('e3', 'draining');
  await paths(own, ['e1', 'e2', 'e4']);
  const drained = sumFlows(await flows.check(15));
  assert.ok(drained.kept >= 0.99, `${drained.lost} of ${drained.flows} were lost as it drained`);
  await edgeLabel('e3', 'true');
  await paths(own, EDGES);
  await (await lab().cluster().store()).delete('Service', { namespace: 'default', name: 'flows' });
});

test('an edge node that reaches no backend of a checked service leaves its addresses to the others', async () => {
  const addresses = await vips();
  const check = 'causeway.io/health-check';
  const annotated = (annotations: Record<string, string>) => ({
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: 'web', namespace: 'default', annotations },
    spec: {
      type: 'LoadBalancer',
      ipFamilyPolicy: 'RequireDualStack',
      selector: { app: 'web' },
      ports: [
        { name: 'http', port: 80, targetPort: 'http' },
        { name: 'talk', port: 7000, targetPort: 'talk' },
      ],
    },
  });
  await apply(lab(), 'main', annotated({ [check]: 'tcp', [`${check}-interval`]: '500ms' }));
  const backends = (
    await Promise.all(
      lab()
        .pods.filter(({ labels }) => labels.app === 'web')
        .map((pod) => lab().addresses(podPlace(pod))),
    )
  ).flat();
  const block = async (verb: 'add' | 'del') => {
    for (const address of backends) {
      await lab().exec('e3', ['ip', 'route', verb, 'blackhole', hostRoute(address)]);
    }
  };
  await paths(addresses, EDGES);
  await block('add');
  try {
    await paths(addresses, ['e1', 'e2', 'e4']);
  } finally {
    await block('del');
  }
  await paths(addresses, EDGES);
  await apply(lab(), 'main', annotated({}));
});

async function edgeLabel(name: string, value: string): Promise<void> {
  const store = await lab().cluster().store();
  await until(
    `${name} has its label`,
    async () => {
      const node = await store.get('CiliumNode', { name });
      const labels = { ...node.metadata.labels, 'causeway.io/edge': value };
      // Its agent and the operator write it too.
      return store.update({ ...node, metadata: { ...node.metadata, labels } }).then(
        () => undefined,
        (error: Error) => error.message,
      );
    },
    { timeoutMs: SETTLE_MS },
  );
}

test('pods leave by the egress gateway with its address, and by the standby when it is gone', async () => {
  const text = readFileSync(
    join(import.meta.dirname, '../../../examples/egress/policy.yaml'),
    'utf8',
  );
  await apply(lab(), 'main', ...parseManifests(text).map(({ value }) => value));
  const seenAs = (destination: string, source: string) => ({
    what: `${destination} sees ${source}`,
    wanted: 'answered' as const,
    answer: new RegExp(asServersSay(source)),
    attempt: () => lab().traffic.tcp('main/default/caller', destination, 7000, { say: 'hello' }),
  });
  const through = Object.entries(EGRESS).map(([destination, source]) =>
    seenAs(destination, source),
  );
  // The other client is excluded: it sees the node's address.
  await expectSoon([...through, seenAs('172.31.0.12', '192.168.52.12')]);
  await lab().freeze('e1');
  try {
    for (const { what, attempt, answer } of through)
      await until(
        `${what} by the standby`,
        async () => {
          const got = await attempt();
          return answer.test(got.answer) ? undefined : got.answer || got.outcome;
        },
        { timeoutMs: SETTLE_MS },
      );
  } finally {
    await lab().thaw('e1');
  }
});
