import assert from 'node:assert/strict';
import { test } from 'node:test';
import { choosePools, type NodeView, type PodView, type PoolView, STATIC } from './choice.ts';

const pool = (name: string, more: Partial<PoolView> = {}): PoolView => ({
  name,
  families: ['ipv4', 'ipv6'],
  ...more,
});
const POOLS: readonly PoolView[] = [
  pool('default'),
  pool('rack', { nodeSelector: { matchLabels: { rack: 'r1' } } }),
  pool('zone', { nodeSelector: { matchLabels: { zone: 'z1' } } }),
  pool('both', { nodeSelector: { matchLabels: { rack: 'r2', zone: 'z1' } } }),
  pool('four', { families: ['ipv4'] }),
  pool('web', { podSelector: { matchLabels: { app: 'web' } } }),
  pool('team', {
    namespaceSelector: { matchLabels: { team: 'blue' } },
    podSelector: { matchLabels: { app: 'blue' } },
  }),
];
const node = (more: Partial<NodeView> = {}): NodeView => ({
  labels: {},
  isStatic: false,
  hasPools: true,
  ...more,
});
const pod = (more: Partial<PodView> = {}): PodView => ({
  namespace: 'shop',
  name: 'p',
  labels: {},
  annotations: {},
  namespaceLabels: {},
  namespaceAnnotations: {},
  ...more,
});
const chosen = (
  of: Partial<PodView>,
  on: Partial<NodeView> = {},
  family: 'ipv4' | 'ipv6' = 'ipv4',
  pools = POOLS,
) => choosePools(family, pod(of), node(on), pools);

test('the order: the pod says, its namespace says, a pool selects it, the place, default, podCIDRs', () => {
  const all = {
    annotations: { 'ipam.cilium.io/ip-pool': 'four' },
    namespaceAnnotations: { 'ipam.cilium.io/ip-pool': 'zone' },
    labels: { app: 'web' },
  };
  const on = { labels: { rack: 'r1' }, isStatic: true };
  assert.deepEqual(chosen(all, on).pools, ['four']);
  assert.deepEqual(chosen({ ...all, annotations: {} }, on).pools, ['zone']);
  const unnamed = { ...all, annotations: {}, namespaceAnnotations: {} };
  assert.deepEqual(chosen(unnamed, on).pools, ['web']);
  assert.deepEqual(chosen({}, on).pools, ['rack', 'default', STATIC]);
  assert.deepEqual(chosen({}, { isStatic: true }).pools, ['default', STATIC]);
  assert.deepEqual(chosen({}, { isStatic: true }, 'ipv4', []).pools, [STATIC]);
  assert.match(chosen(all).why, /the pod asks for it by ipam.cilium.io\/ip-pool/);
});

test('what says more of the place counts, and a pool of pods is nobody’s place', () => {
  assert.deepEqual(chosen({}, { labels: { zone: 'z1' } }).pools, ['zone', 'default']);
  assert.deepEqual(chosen({}, { labels: { zone: 'z1', rack: 'r2' } }).pools, ['both', 'default']);
  assert.deepEqual(chosen({}, { labels: { rack: 'r9' } }).pools, ['default']);
});

test('a pool of one family that is named for both says nothing of the other; by family it does', () => {
  const general = { annotations: { 'ipam.cilium.io/ip-pool': 'four' } };
  assert.deepEqual(chosen(general, {}, 'ipv6').pools, ['default']);
  const exact = { annotations: { 'ipam.cilium.io/ipv6-pool': 'four' } };
  assert.deepEqual(chosen(exact, {}, 'ipv6').pools, ['four'], 'refused where it has none left');
  const two = {
    annotations: { 'ipam.cilium.io/ip-pool': 'zone', 'ipam.cilium.io/ipv6-pool': 'rack' },
  };
  assert.deepEqual(chosen(two, {}, 'ipv4').pools, ['zone']);
  assert.deepEqual(chosen(two, {}, 'ipv6').pools, ['rack']);
});

test('both selectors of a pool must hold; a pool that nobody knows is still the one that was named', () => {
  const blue = { labels: { app: 'blue' }, namespaceLabels: { team: 'blue' } };
  assert.deepEqual(chosen(blue).pools, ['team']);
  assert.deepEqual(chosen({ ...blue, namespaceLabels: {} }).pools, ['default']);
  const unknown = { annotations: { 'ipam.cilium.io/ip-pool': 'nowhere' } };
  assert.deepEqual(chosen(unknown).pools, ['nowhere']);
});

test('a node with podCIDRs and no pools goes on as it did, whatever pools there are', () => {
  const on = { isStatic: true, hasPools: false, labels: { rack: 'r1' } };
  assert.deepEqual(chosen({}, on).pools, [STATIC]);
  assert.deepEqual(chosen({ labels: { app: 'web' } }, on).pools, ['web']);
});
