import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { silentLog } from '@causeway/daemon';
import { systemClock } from '@causeway/etcd';
import { Authority } from '@causeway/pki';
import { Scratch, until } from '../../../../testing/process.ts';
import { RecordingSink } from '../../../../testing/recording-sink.ts';
import { kubernetesSource } from '../config.ts';
import { KubernetesSource } from '../source.ts';
import type { KubeCluster } from './cluster.ts';

/** A source that reads the cluster, and what it has told. */
function following(cluster: KubeCluster, more: object = {}) {
  const scratch = new Scratch('kube-reader');
  const tokenFile = scratch.file('token');
  // As an editor or `echo` leaves it.
  const setToken = (token: string) => writeFileSync(tokenFile, `${token}\n`);
  setToken(cluster.token('reader'));
  const config = kubernetesSource.parse({
    type: 'kubernetes',
    name: 'other-cni',
    server: cluster.url,
    caFile: cluster.files.ca,
    tokenFile,
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
  return {
    sink,
    setToken,
    /** Of one namespace, so that the cluster may have others. */
    names: (namespace: string) =>
      [...sink.items.values()]
        .filter((item) => item.namespace === namespace)
        .map(({ name }) => name)
        .sort()
        .join(),
    count: (namespace: string) =>
      sink.items.values().reduce((sum, item) => sum + Number(item.namespace === namespace), 0),
    of: (name: string) => [...sink.items.values()].find((item) => item.name === name),
    says: (words: RegExp) => words.test(sink.lastReport?.message ?? ''),
    async [Symbol.asyncDispose]() {
      stop.abort();
      await running;
      scratch[Symbol.dispose]();
    },
  };
}

export interface KubeSuiteOptions {
  /** How many pods come and go at once. */
  readonly crowd: number;
}

/**
 * What a source of pods meets at any Kubernetes API server: run over the real one, and over its stand-in. One server
 * for all of it, a namespace for each test.
 */
export function kubernetesSuite(
  name: string,
  start: () => Promise<KubeCluster>,
  { crowd }: KubeSuiteOptions,
): void {
  let cluster: KubeCluster;
  before(async () => {
    cluster = await start();
  });
  after(() => cluster?.[Symbol.asyncDispose]());

  test(`${name}: pods and their namespaces are listed by pages and followed`, async () => {
    await cluster.setNamespace('shop', { team: 'red' });
    const uids: string[] = [];
    for (let i = 0; i < 8; i++) {
      const pod = { namespace: 'shop', name: `p${i}`, labels: { app: 'till' }, owner: 'till-1' };
      const addresses = [`10.1.0.${i + 1}`, `2001:db8::${i + 1}`];
      uids.push(await cluster.setPod({ ...pod, addresses }));
    }
    const host = { namespace: 'shop', addresses: ['192.0.2.1'] };
    await cluster.setPod({ ...host, name: 'on-host', hostNetwork: true });
    await cluster.setPod({ ...host, name: 'done', phase: 'Succeeded' });
    await using source = following(cluster, { tunnelToHosts: true });
    const all = 'p0,p1,p2,p3,p4,p5,p6,p7';
    await until('all are listed', () => source.names('shop') === all);
    const seen = source.of('p3');
    assert.deepEqual(
      { ...seen, namespaceLabels: { team: seen?.namespaceLabels?.team } },
      {
        id: uids[3],
        name: 'p3',
        addresses: ['10.1.0.4', '2001:db8::4'],
        platform: 'pod',
        labels: { app: 'till' },
        attributes: { node: 'n1', owner: 'ReplicaSet/till-1' },
        namespace: 'shop',
        namespaceLabels: { team: 'red' },
        serviceAccount: 'default',
        nodeAddress: '192.0.2.1',
      },
    );
    await cluster.setPod({ namespace: 'shop', name: 'p8', addresses: ['10.1.0.8'] });
    await cluster.removePod('shop', 'p0');
    await cluster.setPod({ ...host, name: 'p1', phase: 'Failed' });
    await until('changes are followed', () => source.names('shop') === 'p2,p3,p4,p5,p6,p7,p8');
    await cluster.setLabels('shop', 'p2', { app: 'door' });
    await until('labels of a pod', () => source.of('p2')?.labels.app === 'door');
    await cluster.setNamespace('shop', { team: 'blue' });
    await until('labels of its namespace', () => source.of('p7')?.namespaceLabels?.team === 'blue');
    assert.equal(source.sink.snapshots, 1);
  });

  test(`${name}: a broken watch goes on where it was; one whose revision is gone lists again, as one snapshot; so after a restart`, async () => {
    await cluster.setNamespace('broken', {});
    const pod = (name: string, address: string) =>
      cluster.setPod({ namespace: 'broken', name, addresses: [address] });
    await pod('a', '10.1.0.1');
    await using source = following(cluster);
    const shows = (names: string) =>
      source.names('broken') === names && source.sink.lastReport?.state === 'following';
    await until('followed', () => shows('a'));
    cluster.link.cut();
    await pod('b', '10.1.0.2');
    await until('the loss is told', () => source.sink.lastReport?.state === 'failed');
    cluster.link.mend();
    await until('what came between is known', () => shows('a,b'));
    assert.equal(source.sink.snapshots, 1);

    cluster.link.cut();
    await cluster.removePod('broken', 'a');
    await pod('c', '10.1.0.3');
    await cluster.forget();
    cluster.link.mend();
    await until('listed again', () => shows('b,c'));
    assert.equal(source.sink.snapshots, 2);

    await cluster.restart();
    await cluster.removePod('broken', 'b');
    await pod('d', '10.1.0.4');
    await until('after a restart', () => shows('c,d'));
    // No word in between took anything away that was there.
    const gone = source.sink.words.flatMap((word) => (word.type === 'delete' ? [word.id] : []));
    assert.ok(gone.length <= 1, gone.join());
  });

  test(`${name}: a list whose pages are compacted away in its midst begins again, and ${crowd} pods come and go`, async () => {
    await cluster.setNamespace('crowd', {});
    const create = async (from: number, to: number) => {
      const turns = Array.from({ length: 16 }, async (_, turn) => {
        for (let i = from + turn; i < to; i += 16) {
          const addresses = [`10.${i >> 16}.${(i >> 8) & 255}.${i & 255}`];
          await cluster.setPod({ namespace: 'crowd', name: `p${i}`, addresses });
        }
      });
      await Promise.all(turns);
    };
    await create(0, 100);
    // The stall is in the midst of the pods' pages, of which each has 3,000 bytes and more.
    const stalled = cluster.link.stallAfter(12_000);
    await using source = following(cluster, { pageSize: 10 });
    await stalled;
    await cluster.removePod('crowd', 'p99');
    await cluster.compact();
    cluster.link.flow();
    await until('a whole list', () => source.sink.snapshots > 0);
    const begun = source.sink.words.filter(
      (word) => word.type === 'report' && word.report.state === 'listing',
    );
    assert.equal(begun.length, 2, 'the list began again');
    const has = (count: number) => source.count('crowd') === count;
    await until('all but the one', () => has(99));
    assert.equal(source.of('p99'), undefined);

    // A watch that falls far behind is ended by the server, and all is listed again: what counts is that nothing is lost.
    await create(100, crowd);
    await until('the crowd is there', () => has(crowd - 1));
    await cluster.removeAllPods('crowd');
    await until('and gone', () => has(0));
  });

  test(`${name}: who is not let in, or finds no server, says so and changes nothing`, async () => {
    await using stranger = following(cluster);
    stranger.setToken('wrong');
    await using refused = following(cluster);
    refused.setToken(cluster.token('nobody'));
    await using lost = following(cluster, { server: 'https://127.0.0.1:1' });
    using scratch = new Scratch('kube');
    const { authority } = await Authority.create('other', { now: new Date(), days: 1 });
    writeFileSync(scratch.file('other.crt'), authority.certificate);
    await using doubting = following(cluster, { caFile: scratch.file('other.crt') });
    await until('unknown', () => stranger.says(/answers 401/));
    await until('without rights', () => refused.says(/answers 403.*forbidden/));
    await until('lost', () => lost.says(/127.0.0.1:1/));
    await until('a server that another has signed', () => doubting.says(/certificate/));
    for (const { sink } of [stranger, refused, lost, doubting]) assert.equal(sink.snapshots, 0);
  });

  test(`${name}: a token that has expired is read again from its file as soon as it is refused`, async () => {
    await cluster.setNamespace('token', {});
    await cluster.setPod({ namespace: 'token', name: 'a', addresses: ['10.1.0.1'] });
    await using source = following(cluster, { resyncSeconds: 1 });
    await until('listed', () => source.names('token') === 'a');
    source.setToken(cluster.token({ seconds: 1 }));
    await until('it has expired', () => source.says(/answers 401/));
    assert.equal(source.names('token'), 'a');
    await cluster.setPod({ namespace: 'token', name: 'b', addresses: ['10.1.0.2'] });
    source.setToken(cluster.token('reader'));
    await until('the new one is taken', () => source.names('token') === 'a,b', 40_000);
  });

  test(`${name}: a kubeconfig says server, authority and user: by token, or by certificate`, async () => {
    await cluster.setNamespace('kubeconfig', {});
    await cluster.setPod({ namespace: 'kubeconfig', name: 'a', addresses: ['10.1.0.1'] });
    using scratch = new Scratch('kube');
    const { ca, cert, key } = cluster.files;
    const user = (name: string, as: object) => ({ name, user: as });
    writeFileSync(
      scratch.file('kubeconfig'),
      JSON.stringify({
        apiVersion: 'v1',
        kind: 'Config',
        clusters: [{ name: 'c', cluster: { server: cluster.url, 'certificate-authority': ca } }],
        users: [
          user('token', { token: cluster.token('reader') }),
          user('certificate', { 'client-certificate': cert, 'client-key': key }),
        ],
        contexts: ['token', 'certificate'].map((name) => ({
          name: `by-${name}`,
          context: { cluster: 'c', user: name },
        })),
        'current-context': 'by-token',
      }),
    );
    const kubeconfig = scratch.file('kubeconfig');
    const by = { server: undefined, caFile: undefined, tokenFile: undefined, kubeconfig };
    await using source = following(cluster, by);
    await using certified = following(cluster, { ...by, context: 'by-certificate' });
    for (const each of [source, certified])
      await until('listed', () => each.names('kubeconfig') === 'a');
    await using other = following(cluster, { ...by, context: 'y' });
    await until('no such context', () => other.says(/names no cluster/));
    await using none = following(cluster, { ...by, kubeconfig: scratch.file('nothing') });
    await until('no such file', () => none.says(/is no usable kubeconfig/));
  });
}
