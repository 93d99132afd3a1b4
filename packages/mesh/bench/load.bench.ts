/**
 * What the mesh costs a node, on a real etcd on this machine: loading ip entries and identities into
 * the tables, memory per entry, a resync, an identity of a new and of a known label set; and the same entries kept on
 * the own disk, put back from there, and changed there.
 * `node --expose-gc packages/mesh/bench/load.bench.ts [entries]`
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connectKv, systemClock } from '@causeway/etcd';
import { EtcdProcess } from '@causeway/etcd/testing';
import { Database } from '@causeway/tables';
import { KeptPeer } from '../src/keep/kept-peer.ts';
import { putBack } from '../src/keep/put-back.ts';
import { ipKey } from '../src/keys.ts';
import { MeshReader } from '../src/reader.ts';
import { type MeshTables, meshTables } from '../src/rows.ts';
import { allocatorOn, CLUSTER, identity, LAYOUT, labelsOf } from '../testing/test-cluster.ts';

const entries = Number(process.argv[2] ?? 50_000);
const ms = (since: number): number => Math.round((performance.now() - since) * 10) / 10;
const heap = (): number => {
  globalThis.gc?.();
  return process.memoryUsage().heapUsed;
};

await using etcd = await EtcdProcess.start(undefined, ['--max-txn-ops', '1000']);
await using kv = connectKv({ endpoints: [etcd.endpoint] });
while (!kv.health().connected) await systemClock.sleep(20);
for (let at = 0; at < entries; at += 1000) {
  const success = Array.from({ length: Math.min(1000, entries - at) }, (_, i) => {
    const n = at + i;
    const address = `10.${(n >> 16) & 255}.${(n >> 8) & 255}.${n & 255}`;
    const value = `{"IP":"${address}","Mask":null,"HostIP":"192.0.2.${n % 250}","ID":${identity(300 + (n % 1000))},"Key":0,"Metadata":"cilium-global:default:n${n % 250}:${n}","K8sNamespace":"ns-${n % 50}","K8sPodName":"workload-${n % 1000}-${n.toString(36)}"}`;
    return { type: 'put', key: ipKey(address), value } as const;
  });
  await kv.txn({ compare: [], success }, { deadline: 60_000 });
}
for (let n = 0; n < 1000; n++) {
  await kv.put(`cilium/state/identities/v1/id/${identity(300 + n)}`, labelsOf(`w${n}`).text);
}

const before = heap();
const start = performance.now();
const tables = meshTables(new Database());
const reader = new MeshReader({ kv, cluster: CLUSTER, layout: LAYOUT, tables });
await Promise.all([tables.identities.whenInitialized(), tables.ipEntries.whenInitialized()]);
const load = ms(start);
const bytes = Math.round((heap() - before) / entries);

const resyncStart = performance.now();
const again = new MeshReader({ kv, cluster: CLUSTER, layout: LAYOUT, tables, kinds: ['ip'] });
await tables.ipEntries.whenInitialized();
const resync = ms(resyncStart);

const { allocator } = allocatorOn(kv, 1);
const fresh: number[] = [];
for (let n = 0; n < 200; n++) {
  const at = performance.now();
  await allocator.acquire(labelsOf(`fresh-${n}`));
  fresh.push(performance.now() - at);
}
fresh.sort((a, b) => a - b);
const knownStart = performance.now();
for (let n = 0; n < 10_000; n++) await allocator.acquire(labelsOf(`fresh-${n % 200}`));
const known = (performance.now() - knownStart) / 10_000;

const directory = mkdtempSync(join(tmpdir(), `causeway-load-${process.pid}-`));
const keep = (rows: MeshTables) =>
  new KeptPeer({
    ...{ path: join(directory, 'peer'), own: 'west', peer: CLUSTER.name, tables: rows },
    ...{ clock: systemClock, signal: new AbortController().signal },
  });
const CONFIG = `{"id":${CLUSTER.id},"capabilities":{"maxConnectedClusters":255}}`;
const kept = keep(tables);
const now = Date.now();
kept.current({ at: now }, CONFIG);
const writeStart = performance.now();
await kept.step(now + 60_000);
const write = ms(writeStart);
const keptBytes = kept.bytes;
await kept.close();

const putBackStart = performance.now();
const later = meshTables(new Database());
const file = keep(later);
const found = await file.find(0);
const options = { tables: later, cluster: CLUSTER, layout: LAYOUT };
if (found !== undefined) await putBack(found, options, new AbortController().signal);
const back = ms(putBackStart);

const value = (await kv.get(ipKey('10.0.0.1')))!.value;
const cpu = process.cpuUsage();
for (let second = 0; second < 100; second++) {
  for (let n = 0; n < 300; n++) file.put('ip', `10.0.${second}.${n & 255}`, value);
  await file.step(now + second * 1000);
}
const { user, system } = process.cpuUsage(cpu);
await file.close();
rmSync(directory, { recursive: true, force: true });

await reader[Symbol.asyncDispose]();
await again[Symbol.asyncDispose]();
console.log(
  JSON.stringify({
    entries: tables.ipEntries.size,
    loadMs: load,
    resyncMs: resync,
    bytesPerEntry: globalThis.gc ? bytes : undefined,
    allocateNewMs: { p50: fresh[100], p99: fresh[198] },
    allocateKnownMs: known,
    keep: {
      bytesPerEntry: Math.round(keptBytes / entries),
      writeMs: write,
      putBackMs: back,
      putBack: later.ipEntries.size,
      /** Of a core, at 300 changes a second. */
      coreShareOfChanges: (user + system) / 1e6 / 100,
    },
  }),
);
