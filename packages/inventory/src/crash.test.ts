import assert from 'node:assert/strict';
import { renameSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { type Kv, memoryEtcd, systemClock } from '@causeway/etcd';
import { instanceOn, keysOf, Scratch, settings, until } from '../testing/index.ts';

const IDENTITY = 'cilium/state/identities/v1/id/';
const NODE = 'cilium/state/nodes/v1/outside/';
const IP = 'cilium/state/ip/v1/default/';

/** Sees every change in the order of the store, and what must never be. */
class Judge implements AsyncDisposable {
  readonly faults: string[] = [];
  /** Addresses that are there all the time. */
  readonly steady = new Set<string>();
  readonly #store = new Map<string, string>();
  /** Labels of every number whose key stands. */
  readonly #meant = new Map<string, string>();
  readonly #stop = new AbortController();
  readonly #running: Promise<void>;

  constructor(kv: Kv) {
    this.#running = this.#watch(kv);
  }

  async #watch(kv: Kv): Promise<void> {
    const { signal } = this.#stop;
    for await (const event of kv.watch('cilium/state/', { signal })) {
      if (event.type === 'put') this.#put(event.entry.key, event.entry.text);
      else if (event.type === 'delete') this.#delete(event.key);
    }
  }

  #put(key: string, value: string): void {
    this.#store.set(key, value);
    if (key.startsWith(IDENTITY)) {
      const before = this.#meant.get(key) ?? value;
      if (before !== value) this.faults.push(`${key} meant ${before} and means ${value}`);
      this.#meant.set(key, value);
    }
    if (!key.startsWith(IP)) return;
    const { HostIP, ID } = JSON.parse(value) as { ID: number; HostIP: string };
    if (!this.#store.has(IDENTITY + ID)) this.faults.push(`${key} says ${ID}, which nobody is`);
    const node = `${NODE}outside-${HostIP.replaceAll('.', '-')}`;
    if (HostIP !== '' && !this.#store.has(node)) this.faults.push(`${key} is behind no node`);
  }

  #delete(key: string): void {
    this.#store.delete(key);
    this.#meant.delete(key);
    if (this.steady.has(key.slice(IP.length))) this.faults.push(`${key} went`);
    const number = key.startsWith(IDENTITY) ? `"ID":${key.slice(IDENTITY.length)},` : undefined;
    for (const [other, value] of this.#store) {
      if (!other.startsWith(IP)) continue;
      if (number !== undefined && value.includes(number))
        this.faults.push(`${key} went under ${other}`);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }
}

/** The next of a fixed row of numbers in [0, 1), so that a failure repeats. */
function chance(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    return (state >>> 8) / 2 ** 24;
  };
}

test('leaders come and go in the middle of everything, the store hangs, and no reader ever sees what is not so', async () => {
  using scratch = new Scratch();
  await using etcd = memoryEtcd({ clock: systemClock });
  const file = scratch.file('site.json');
  const next = chance(7);
  const steady = Array.from({ length: 20 }, (_, i) => `10.8.0.${i}`);
  let said: { name: string; addresses: string[]; labels: object; nodeAddress?: string }[] = [];
  const say = () => {
    const coming = Array.from({ length: 10 }, (_, i) => `10.8.1.${i}`).filter(() => next() < 0.5);
    said = [...steady, ...coming].map((address) => ({
      name: `m-${address}`,
      addresses: [address],
      labels: { app: `app-${Math.floor(next() * 6)}` },
      ...(next() < 0.5 && { nodeAddress: `192.0.2.${1 + Math.floor(next() * 3)}` }),
    }));
    const endpoints = said.map((each) => ({ ...each, platform: 'vm' }));
    writeFileSync(`${file}.new`, JSON.stringify({ endpoints }));
    renameSync(`${file}.new`, file);
  };
  say();
  const input = {
    sources: [{ type: 'file', name: 'site', path: file, rescanSeconds: 0.05 } as const],
    guard: { least: 100, share: 1 },
    election: { ttlSeconds: 1 },
    identities: { lingerSeconds: 0.02, restSeconds: 0.5 },
  };
  assert.ok(settings(input));
  const kv = etcd.connect();
  await using judge = new Judge(kv);
  let instance = instanceOn(etcd.connect(), input);
  try {
    await until('the first list stands', () => instance.status().writer?.declared === true);
    for (const address of steady) judge.steady.add(address);
    for (let round = 0; round < 25; round++) {
      say();
      await new Promise((resolve) => setTimeout(resolve, next() * 120));
      if (next() < 0.3) {
        etcd.freeze();
        setTimeout(() => etcd.thaw(), 50);
      }
      // It ends in the middle of whatever it does; what follows finds what it left.
      const ending = instance[Symbol.asyncDispose]();
      instance = instanceOn(etcd.connect(), { ...input, name: `round-${round}` });
      await ending;
    }
    say();
    const wanted = () => said.flatMap(({ addresses }) => addresses).sort();
    await until('the store is as the file', async () => {
      const entries = [...(await keysOf(kv, IP)).keys()].map((key) => key.slice(IP.length)).sort();
      return entries.join() === wanted().join();
    });
    await until('each is as it was said', async () => {
      const identities = await keysOf(kv, IDENTITY);
      const entries = await keysOf(kv, IP);
      return said.every(({ addresses, labels, nodeAddress = '' }) => {
        const { HostIP, ID } = JSON.parse(entries.get(IP + addresses[0]) ?? '{}') as {
          ID?: number;
          HostIP?: string;
        };
        const { app } = labels as { app: string };
        return (
          HostIP === nodeAddress && identities.get(`${IDENTITY}${ID}`)?.includes(`k8s:app=${app};`)
        );
      });
    });
    assert.deepEqual(judge.faults, []);
  } finally {
    await instance[Symbol.asyncDispose]();
  }
});
