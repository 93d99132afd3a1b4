import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { silentLog } from '@causeway/daemon';
import { systemClock } from '@causeway/etcd';
import { Authority } from '@causeway/pki';
import { RecordingSink, Scratch, StandInKubeServer, until } from '../../../testing/index.ts';
import { kubernetesSource } from './config.ts';
import { KubernetesSource } from './source.ts';

const TOKEN = 'a-token-of-a-service-account';
const validity = { now: new Date(), days: 1 };

/** Against a stand-in, said loudly: see testing/kube-server.ts. */
async function world(scratch: Scratch) {
  const { authority } = await Authority.create('kube', validity);
  const { certificate, key } = await authority.issueServer(['127.0.0.1'], validity);
  const server = await StandInKubeServer.start({ cert: certificate, key }, TOKEN);
  writeFileSync(scratch.file('ca.crt'), authority.certificate);
  writeFileSync(scratch.file('token'), TOKEN);
  const run = (more: object = {}) => {
    const config = kubernetesSource.parse({
      type: 'kubernetes',
      name: 'other-cni',
      server: server.url,
      caFile: scratch.file('ca.crt'),
      tokenFile: scratch.file('token'),
      pageSize: 3,
      ...more,
    });
    const stop = new AbortController();
    const sink = new RecordingSink();
    const source = new KubernetesSource(config, {
      clock: systemClock,
      random: Math.random,
      log: silentLog,
    });
    const running = source.run(sink, stop.signal);
    const names = () =>
      [...sink.items.values()]
        .map(({ name }) => name)
        .sort()
        .join();
    return {
      sink,
      names,
      of: (name: string) => [...sink.items.values()].find((item) => item.name === name),
      async [Symbol.asyncDispose]() {
        stop.abort();
        await running;
      },
    };
  };
  return { server, run };
}

test('pods and their namespaces are listed by pages and followed', async () => {
  using scratch = new Scratch();
  const { server, run } = await world(scratch);
  await using _ = server;
  server.namespace('shop', { team: 'red' });
  for (let i = 0; i < 8; i++)
    server.pod('shop', `p${i}`, { app: 'till' }, [`10.1.0.${i}`, `2001:db8::${i + 1}`]);
  server.pod('shop', 'on-host', {}, ['192.0.2.1'], { spec: { hostNetwork: true } });
  server.pod('shop', 'done', {}, ['10.1.0.99'], { phase: 'Succeeded' });
  await using source = run({ tunnelToHosts: true });
  await until('all are listed', () => source.names() === 'p0,p1,p2,p3,p4,p5,p6,p7');
  assert.deepEqual(source.of('p3'), {
    id: 'uid-5',
    name: 'p3',
    addresses: ['10.1.0.3', '2001:db8::4'],
    platform: 'pod',
    labels: { app: 'till' },
    attributes: { node: 'n1' },
    namespace: 'shop',
    namespaceLabels: { team: 'red' },
    serviceAccount: 'default',
    nodeAddress: '192.0.2.1',
  });
  await until('both watches stand', () => server.watching === 2);
  server.pod('shop', 'p8', { app: 'till' }, []);
  server.pod('shop', 'p8', { app: 'till' }, ['10.1.0.8']);
  server.remove('/api/v1/pods', 'shop/p0');
  server.pod('shop', 'p1', { app: 'till' }, ['10.1.0.1'], { phase: 'Failed' });
  await until('changes are followed', () => source.names() === 'p2,p3,p4,p5,p6,p7,p8');
  server.namespace('shop', { team: 'blue' });
  await until(
    'a namespace’s labels reach its pods',
    () => source.of('p7')?.namespaceLabels?.team === 'blue',
  );
  assert.equal(source.sink.snapshots, 1);
});

test('a broken watch goes on where it was; one whose revision is gone lists again, as one snapshot', async () => {
  using scratch = new Scratch();
  const { server, run } = await world(scratch);
  await using _ = server;
  server.namespace('shop', {});
  server.pod('shop', 'a', {}, ['10.1.0.1']);
  await using source = run();
  await until('followed', () => source.names() === 'a' && server.watching === 2);
  server.bookmark();
  server.cut();
  server.pod('shop', 'b', {}, ['10.1.0.2']);
  await until('what came between is known', () => source.names() === 'a,b');
  assert.equal(source.sink.snapshots, 1);
  await until('watched again', () => server.watching === 2);
  server.cut();
  server.remove('/api/v1/pods', 'shop/a');
  server.pod('shop', 'c', {}, ['10.1.0.3']);
  server.compact();
  await until('listed again', () => source.names() === 'b,c');
  assert.equal(source.sink.snapshots, 2);
  await until('it follows', () => source.sink.lastReport?.state === 'following');
});

test('who is not let in, or finds no server, says so and changes nothing', async () => {
  using scratch = new Scratch();
  const { server, run } = await world(scratch);
  await using _ = server;
  writeFileSync(scratch.file('token'), 'wrong');
  await using refused = run();
  await until('refused', () => /answers 401/.test(refused.sink.lastReport?.message ?? ''));
  await using lost = run({ server: 'https://127.0.0.1:1' });
  await until('lost', () => /127.0.0.1:1/.test(lost.sink.lastReport?.message ?? ''));
  writeFileSync(
    scratch.file('other.crt'),
    (await Authority.create('other', validity)).authority.certificate,
  );
  await using doubted = run({ caFile: scratch.file('other.crt') });
  await until('a server that another has signed', () =>
    /certificate/.test(doubted.sink.lastReport?.message ?? ''),
  );
  for (const { sink } of [refused, lost, doubted]) assert.equal(sink.snapshots, 0);
});

test('a kubeconfig says server, authority and user', async () => {
  using scratch = new Scratch();
  const { server, run } = await world(scratch);
  await using _ = server;
  server.namespace('shop', {});
  server.pod('shop', 'a', {}, ['10.1.0.1']);
  writeFileSync(
    scratch.file('kubeconfig'),
    JSON.stringify({
      apiVersion: 'v1',
      kind: 'Config',
      clusters: [
        {
          name: 'c',
          cluster: { server: server.url, 'certificate-authority': scratch.file('ca.crt') },
        },
      ],
      users: [{ name: 'u', user: { token: TOKEN } }],
      contexts: [{ name: 'x', context: { cluster: 'c', user: 'u' } }],
      'current-context': 'x',
    }),
  );
  const by = { server: undefined, caFile: undefined, tokenFile: undefined };
  await using source = run({ ...by, kubeconfig: scratch.file('kubeconfig') });
  await until('listed', () => source.names() === 'a');
  await using other = run({ ...by, kubeconfig: scratch.file('kubeconfig'), context: 'y' });
  await until('no such context', () =>
    /names no cluster/.test(other.sink.lastReport?.message ?? ''),
  );
  await using none = run({ ...by, kubeconfig: scratch.file('nothing') });
  await until('no such file', () =>
    /is no usable kubeconfig/.test(none.sink.lastReport?.message ?? ''),
  );
  for (const bad of [
    {},
    { server: 'x' },
    { kubeconfig: '/k', server: 'https://x' },
    { kubeconfig: '/k', tokenFile: '/t' },
  ]) {
    assert.equal(
      kubernetesSource.safeParse({ type: 'kubernetes', name: 'k', ...bad }).success,
      false,
    );
  }
});
