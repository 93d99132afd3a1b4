import assert from 'node:assert/strict';
import { test } from 'node:test';
import { silentLog } from '@causeway/daemon';
import { LabelSet, labelFilter } from '@causeway/identity';
import { Mac } from '@causeway/ip';
import { Database, flush, VirtualClock } from '@causeway/tables';
import type { EndpointRecord } from '../endpoints/record.ts';
import { endpointTable } from '../endpoints/table.ts';
import { namespaceTable, type PodRow, podTable } from '../sources/pods.ts';
import { type IdentityNumbers, IdentityResolver } from './resolver.ts';

/** One number for each label set, and who holds it at the moment. */
class FakeNumbers implements IdentityNumbers {
  readonly connected = true;
  readonly held = new Set<string>();
  readonly #numbers = new Map<string, number>();

  known(labels: LabelSet): number | undefined {
    return this.#numbers.get(labels.text);
  }

  /** Called in the middle of each question; what it throws is the answer. */
  onAcquire: (labels: LabelSet) => void = () => {};

  async acquire(labels: LabelSet): Promise<number> {
    this.held.add(labels.text);
    await Promise.resolve();
    this.onAcquire(labels);
    const number = this.#numbers.get(labels.text) ?? 70_000 + this.#numbers.size;
    this.#numbers.set(labels.text, number);
    return number;
  }

  release(labels: LabelSet): void {
    this.held.delete(labels.text);
  }
}

const podOf = (name: string, app: string): PodRow => ({
  namespace: 'default',
  name,
  uid: '',
  labels: { app },
  annotations: {},
  owner: undefined,
  serviceAccount: undefined,
  node: 'n1',
  hostNetwork: false,
  ports: [],
  addresses: [],
  ready: true,
  terminating: false,
  phase: 'Running',
});

const recordOf = (id: number, podName: string): EndpointRecord => ({
  id,
  step: 'ready',
  containerId: `c${id}`,
  ifname: 'eth0',
  hostIfname: `cw${id}`,
  hostIfindex: id,
  netns: '',
  netnsIdentity: '',
  addresses: {},
  gateways: {},
  mac: Mac.parse('02:00:00:00:00:01'),
  hostMac: Mac.parse('02:00:00:00:00:02'),
  mtu: 1500,
  chained: false,
  podNamespace: 'default',
  podName,
  podUid: undefined,
  callerLabels: {},
  labels: 'reserved:init=;',
  identity: 5,
  namedPorts: [],
  policyAudit: false,
});

function setUp() {
  const database = new Database({ freeze: true });
  const [pods, namespaces] = [podTable(database), namespaceTable(database)];
  const endpoints = endpointTable(database);
  const numbers = new FakeNumbers();
  const clock = new VirtualClock();
  const resolver = new IdentityResolver({
    sources: { cluster: 'cla', filter: labelFilter(), pods, namespaces },
    numbers,
    endpoints,
    relabel: async (id, identity) => {
      endpoints.update(
        id,
        (row) =>
          row && {
            ...row,
            record: { ...row.record, ...identity, namedPorts: [...identity.namedPorts] },
          },
      );
    },
    clock,
    log: silentLog,
  });
  return { pods, endpoints, numbers, resolver, clock };
}

const appsHeld = (numbers: FakeNumbers): string[] =>
  [...numbers.held].map((text) => LabelSet.parse(text).get('app')?.value ?? '').sort();

test('a restored endpoint takes hold of its identity and keeps it until it goes', async () => {
  const { pods, endpoints, numbers, resolver } = setUp();
  await using _resolver = resolver;
  pods.put(podOf('web-0', 'web'));
  const record = recordOf(1, 'web-0');
  endpoints.put({ record, state: 'ready' });
  resolver.start();
  await flush();
  assert.equal(endpoints.get(1)?.record.identity, 70_000);
  assert.deepEqual(appsHeld(numbers), ['web']);
  endpoints.delete(1);
  resolver.release({
    endpointId: 1,
    podNamespace: 'default',
    podName: 'web-0',
    podUid: undefined,
    callerLabels: {},
  });
  assert.deepEqual(appsHeld(numbers), []);
});

test('a pod that gets other labels lets go of the old identity and holds the new one', async () => {
  const { pods, endpoints, numbers, resolver } = setUp();
  await using _resolver = resolver;
  pods.put(podOf('web-0', 'web'));
  pods.put(podOf('web-1', 'web'));
  endpoints.put({ record: recordOf(1, 'web-0'), state: 'ready' });
  endpoints.put({ record: recordOf(2, 'web-1'), state: 'ready' });
  resolver.start();
  await flush();
  pods.put(podOf('web-0', 'db'));
  await flush();
  assert.equal(endpoints.get(1)?.record.identity, 70_001);
  assert.deepEqual(appsHeld(numbers), ['db', 'web']);
  pods.put(podOf('web-1', 'db'));
  await flush();
  assert.deepEqual(appsHeld(numbers), ['db']);
});

test('what failed is tried again also when another pod changed while it did', async () => {
  const { pods, endpoints, numbers, resolver, clock } = setUp();
  await using _resolver = resolver;
  pods.put(podOf('web-0', 'web'));
  pods.put(podOf('db-0', 'db'));
  endpoints.put({ record: recordOf(1, 'web-0'), state: 'ready' });
  endpoints.put({ record: recordOf(2, 'db-0'), state: 'ready' });
  let failures = 0;
  numbers.onAcquire = (labels) => {
    if (labels.get('app')?.value !== 'web' || failures > 0) return;
    failures++;
    pods.put({ ...podOf('db-0', 'db'), labels: { app: 'db', tier: '1' } });
    throw new Error('the store is away');
  };
  resolver.start();
  await flush();
  await clock.advance(1_000);
  await flush();
  assert.deepEqual([failures, resolver.pending()], [1, []]);
});
