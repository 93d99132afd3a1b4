/**
 * What a node does when one of 5,000 backends changes that another cluster gives to a global service: from the store's
 * event in the process to the last write into the kernel's maps, and the bytes that come in; by shards, and by the one
 * value that holds all backends, which is the form of others. Reader, load balancer and maps are the agent's own; the
 * store is in memory, so that no network is measured.
 */
import { rmSync } from 'node:fs';
import { silentLog } from '@causeway/daemon';
import { openDatapath } from '@causeway/datapath';
import { type Kv, memoryEtcd, systemClock } from '@causeway/etcd';
import { ClusterId, identityLayout } from '@causeway/identity';
import { Address, Mac } from '@causeway/ip';
import { ensureBpffs } from '@causeway/linux';
import { Balancer, type MapOperation } from '@causeway/loadbalancing';
import {
  encodeService,
  encodeServiceShard,
  MeshReader,
  meshTables,
  type ServiceValue,
  SHARD_SIZE,
  type ShardBackend,
  type StateKind,
  serviceKey,
  serviceShardKey,
} from '@causeway/mesh';
import type { Service } from '@causeway/resources';
import { Database } from '@causeway/tables';
import { ServiceController } from '../packages/agent/src/services/controller.ts';
import { endpointSliceTable, serviceTable } from '../packages/agent/src/services/tables.ts';
import { podTable } from '../packages/agent/src/sources/pods.ts';
import {
  type Bar,
  type Benchmark,
  type Context,
  compare,
  type Figure,
  quantile,
} from './lib/benchmark.ts';
import { takeAwayOnInterrupt } from './lib/interrupt.ts';

const BACKENDS = 5_000;
const PEER = { name: 'east', id: ClusterId(2) };
const PORTS = { http: { protocol: 'TCP', port: 8080 } } as const;

const SERVICE = {
  apiVersion: 'v1',
  kind: 'Service',
  metadata: {
    name: 'web',
    namespace: 'shop',
    annotations: { 'service.cilium.io/global': 'true' },
  },
  spec: {
    type: 'ClusterIP',
    clusterIPs: ['10.96.0.1'],
    ports: [{ name: 'http', port: 80, protocol: 'TCP', targetPort: 8080 }],
  },
} as unknown as Service;

const addressOf = (i: number): Address =>
  Address.parse(`10.${2 + (i >> 16)}.${(i >> 8) & 255}.${i & 255}`);
const HEAD = { cluster: PEER.name, clusterId: PEER.id, namespace: 'shop', name: 'web' };

function backend(i: number, active: boolean): ShardBackend {
  const state = active ? 'active' : 'terminating';
  return { address: addressOf(i), ports: PORTS, state, weight: 100, zone: '', target: `web-${i}` };
}

interface Put {
  readonly key: string;
  readonly value: string;
}

/** How a peer gives its backends: all puts at first, and the one of a change. */
interface Form {
  readonly kind: StateKind;
  all(): Put[];
  change(i: number, active: boolean): Put;
}

const shard = (number: number, changed = -1, active = true): Put => {
  const first = number * SHARD_SIZE;
  const count = Math.min(SHARD_SIZE, BACKENDS - first);
  const backends = Array.from({ length: count }, (_, k) =>
    backend(first + k, first + k !== changed || active),
  );
  return {
    key: serviceShardKey(PEER.name, 'shop', 'web', number),
    value: encodeServiceShard({ ...HEAD, shard: number, expected: 0, backends }),
  };
};

const SHARDS: Form = {
  kind: 'service-backends',
  all: () => Array.from({ length: Math.ceil(BACKENDS / SHARD_SIZE) }, (_, i) => shard(i)),
  change: (i, active) => shard(Math.floor(i / SHARD_SIZE), i, active),
};

function whole(without = -1): Put {
  const backends = Array.from({ length: BACKENDS }, (_, i) => i)
    .filter((i) => i !== without)
    .map((i) => [addressOf(i), PORTS] as const);
  const value: ServiceValue = {
    ...HEAD,
    frontends: {},
    backends: Object.fromEntries(backends),
    ...{ hostnames: {}, zones: {}, labels: {}, selector: {} },
    ...{ includeExternal: true, shared: true },
  };
  return { key: serviceKey(PEER.name, 'shop', 'web'), value: encodeService(value) };
}

const WHOLE: Form = {
  kind: 'services',
  all: () => [whole()],
  change: (i, active) => whole(active ? -1 : i),
};

/** A node that reads the peer in one form. */
class Reading implements AsyncDisposable {
  readonly #form: Form;
  readonly #stack = new AsyncDisposableStack();
  readonly #store: Kv;
  #arrived = 0;
  #written = 0;
  #writes = 0;
  bytes = 0;

  private constructor(form: Form, store: Kv) {
    this.#form = form;
    this.#store = store;
  }

  static async open(form: Form, apply: (operation: MapOperation) => void): Promise<Reading> {
    const etcd = memoryEtcd({ clock: systemClock });
    const reading = new Reading(form, etcd.connect());
    reading.#stack.use(etcd);
    const puts = form.all();
    for (const { key, value } of puts) await reading.#store.put(key, value);
    const database = new Database();
    const remote = meshTables(database);
    const tables = {
      services: serviceTable(database),
      slices: endpointSliceTable(database),
      pods: podTable(database),
    };
    const controller = new ServiceController({
      balancer: new Balancer({
        ...{ node: 'n1', cluster: 'home', defaultAlgorithm: 'random', resolveSelectors: true },
      }),
      ...tables,
      remote,
      apply: (operation) => {
        apply(operation);
        reading.#written = performance.now();
        reading.#writes++;
      },
      ...{ clock: systemClock, random: Math.random, log: silentLog },
    });
    reading.#stack.use(controller);
    reading.#stack.use(
      new MeshReader({
        kv: reading.#watched(etcd.connect()),
        cluster: PEER,
        layout: identityLayout(255),
        tables: remote,
        kinds: [form.kind],
      }),
    );
    tables.services.put(SERVICE);
    const served = () =>
      controller.frontendsOf({ namespace: 'shop', name: 'web' })[0]?.chosen.length;
    while (served() !== BACKENDS) await quiet(5);
    await quiet(100);
    return reading;
  }

  /** The store as it is, with a note of when events come in and how big they are. */
  #watched(kv: Kv): Kv {
    const note = (bytes: number) => {
      this.#arrived = performance.now();
      this.bytes = bytes;
    };
    const watch: Kv['watch'] = (...given) => {
      const real = kv.watch(...given);
      const batches = real.batches.bind(real);
      real.batches = async function* () {
        for await (const batch of batches()) {
          const puts = batch.flatMap((each) => (each.type === 'put' ? [each.entry] : []));
          note(puts.reduce((sum, { key, value }) => sum + key.length + value.length, 0));
          yield batch;
        }
      };
      return real;
    };
    return new Proxy(kv, {
      get: (target, name) => {
        if (name === 'watch') return watch;
        const found = Reflect.get(target, name, target) as unknown;
        return typeof found === 'function' ? found.bind(target) : found;
      },
    });
  }

  /** Milliseconds from the event to the last write of one change, and how many writes it took. */
  async change(i: number, active: boolean): Promise<{ ms: number; writes: number }> {
    const { key, value } = this.#form.change(i, active);
    const arrived = this.#arrived;
    this.#writes = 0;
    await this.#store.put(key, value);
    while (this.#arrived === arrived || this.#written < this.#arrived) await quiet(2);
    // As changes come in a life: one after another, with time to gather what comes next.
    await quiet(20);
    return { ms: this.#written - this.#arrived, writes: this.#writes };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack[Symbol.asyncDispose]();
    await this.#store[Symbol.asyncDispose]();
  }
}

const quiet = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** Changes before those that count: of the first ones the compiler is most. */
const WARM_UP = 60;

const benchmark: Benchmark = async ({ quick, log }: Context) => {
  ensureBpffs('/sys/fs/bpf');
  const bpffsRoot = `/sys/fs/bpf/cwsvc${process.pid}`;
  using undo = new DisposableStack();
  undo.defer(takeAwayOnInterrupt(() => rmSync(bpffsRoot, { recursive: true, force: true })));
  undo.defer(() => rmSync(bpffsRoot, { recursive: true, force: true }));
  const datapath = undo.use(
    openDatapath({
      bpffsRoot,
      config: {
        ...{ ipv4: true, ipv6: true },
        // Nothing is attached: the maps are what is measured.
        host: { ifindex: 1, mac: Mac.parse('02:00:00:00:00:01') },
        gateways: { ipv4: Address.parse('10.1.0.1') },
      },
    }),
  );
  const changes = quick ? 20 : 100;
  const METRIC = 'from the event to the last map write';
  const spread = new Map<string, number[]>();
  const sizes = new Map<string, { bytes: number; writes: number }>();
  // Numbers of services and backends are a node's own: each form has the maps to itself, in turn.
  const measureForm = async (name: string, form: Form): Promise<number> => {
    await using reading = await Reading.open(form, (operation) =>
      datapath.services.apply(operation),
    );
    const ms: number[] = [];
    let writes = 0;
    for (let n = 0; n < changes + WARM_UP; n++) {
      const result = await reading.change((n >> 1) * 23, n % 2 === 1);
      writes = Math.max(writes, result.writes);
      if (n >= WARM_UP) ms.push(result.ms);
    }
    spread.set(name, [...(spread.get(name) ?? []), ...ms]);
    sizes.set(name, { bytes: reading.bytes, writes });
    return quantile(ms, 0.5);
  };
  const figures: Figure[] = await compare(
    {
      metric: METRIC,
      unit: 'ms',
      better: 'lower',
      reference: 'whole value',
      variants: {
        'whole value': () => measureForm('whole value', WHOLE),
        shards: () => measureForm('shards', SHARDS),
      },
      rounds: quick ? 1 : 3,
    },
    log,
  );
  const of = (name: string) => sizes.get(name) ?? { bytes: Number.NaN, writes: Number.NaN };
  const size = (variant: string): Figure => ({
    ...{ metric: 'bytes that come in for a change', unit: 'bytes', better: 'lower', variant },
    ...{ median: of(variant).bytes, samples: [of(variant).bytes], reference: 'whole value' },
    ratio: of(variant).bytes / of('whole value').bytes,
  });
  const tail = quantile(spread.get('shards') ?? [], 0.99);
  const middle = quantile(spread.get('shards') ?? [], 0.5);
  const bars: Bar[] = [
    {
      what: `one of ${BACKENDS} backends changes: event to map write, by shards, median`,
      wanted: 'under 1 ms',
      got: `${middle.toFixed(3)} ms`,
      met: middle < 1,
    },
  ];
  return {
    figures: [...figures, size('whole value'), size('shards')],
    bars,
    notes: [
      `by shards p99 ${tail.toFixed(3)} ms; writes to maps at most ${of('shards').writes}, by the whole value ${of('whole value').writes}`,
      'a ClusterIP with random choice, one frontend; Maglev computes its whole table anew for any change, and writes the chunks that differ',
    ],
  };
};

export default benchmark;
