/**
 * What the resource store costs on a real etcd on this machine: apply, list and watch of many objects.
 * `node packages/resources/bench/store.bench.ts [objects]`
 */
import { connectKv, systemClock } from '@causeway/etcd';
import { EtcdProcess } from '@causeway/etcd/testing';
import { etcdStore } from '../src/etcd-store.ts';

const count = Number(process.argv[2] ?? 10_000);
const timed = async <T>(run: () => Promise<T>): Promise<[number, T]> => {
  const start = performance.now();
  const result = await run();
  return [Math.round(performance.now() - start), result];
};

await using etcd = await EtcdProcess.start();
await using kv = connectKv({ endpoints: [etcd.endpoint] });
while (!kv.health().connected) await systemClock.sleep(20);
const store = etcdStore(kv);
await store.apply(
  '{apiVersion: networking.k8s.io/v1, kind: ServiceCIDR, metadata: {name: kubernetes}, spec: {cidrs: [10.96.0.0/12, "fd00:96::/108"]}}',
);
const services = Array.from({ length: count }, (_, n) => ({
  apiVersion: 'v1',
  kind: 'Service',
  metadata: { name: `service-${n}`, namespace: `ns-${n % 50}` },
  spec: {
    ipFamilyPolicy: 'PreferDualStack',
    selector: { app: `app-${n}` },
    ports: [{ name: 'http', port: 80, targetPort: 8080 }],
  },
}));
const pods = Array.from({ length: count }, (_, n) => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name: `pod-${n}`, namespace: `ns-${n % 50}`, labels: { app: `app-${n}` } },
  spec: {
    nodeName: `node-${n % 100}`,
    containers: [{ name: 'c', ports: [{ containerPort: 8080 }] }],
  },
}));
const [applyServices] = await timed(() => store.apply(services));
const [applyPods] = await timed(() => store.apply(pods));
const [unchanged] = await timed(() => store.apply(pods));
const [list] = await timed(() => store.list('Pod'));
const [one] = await timed(() => store.apply([{ ...services[0], metadata: { name: 'one-more' } }]));
await using watch = store.watch('Pod');
const [watched] = await timed(async () => {
  for await (const batch of watch.batches()) if (batch.at(-1)?.type === 'synced') return;
});
console.log(
  JSON.stringify({
    objects: count,
    applyServicesMs: applyServices,
    applyPodsMs: applyPods,
    applyUnchangedMs: unchanged,
    applyOneServiceMs: one,
    listMs: list,
    watchMs: watched,
  }),
);
