// enum bpf_map_type of linux/bpf.h, in order.
const names = [
  'unspecified',
  'hash',
  'array',
  'prog_array',
  'perf_event_array',
  'percpu_hash',
  'percpu_array',
  'stack_trace',
  'cgroup_array',
  'lru_hash',
  'lru_percpu_hash',
  'lpm_trie',
  'array_of_maps',
  'hash_of_maps',
  'devmap',
  'sockmap',
  'cpumap',
  'xskmap',
  'sockhash',
  'cgroup_storage',
  'reuseport_sockarray',
  'percpu_cgroup_storage',
  'queue',
  'stack',
  'sk_storage',
  'devmap_hash',
  'struct_ops',
  'ringbuf',
  'inode_storage',
  'task_storage',
  'bloom_filter',
  'user_ringbuf',
  'cgrp_storage',
  'arena',
] as const;

export type MapType = (typeof names)[number];

export function mapTypeNumber(type: MapType): number {
  return names.indexOf(type);
}

/** Types newer than this list are 'unspecified': they can be held, not made. */
export function mapTypeName(number: number): MapType {
  return names[number] ?? 'unspecified';
}

export function isPerCpu(type: MapType): boolean {
  return (
    type === 'percpu_hash' ||
    type === 'percpu_array' ||
    type === 'lru_percpu_hash' ||
    type === 'percpu_cgroup_storage'
  );
}

/** BPF_F_* flags of map creation. */
export const MapFlag = { noPrealloc: 1, noCommonLru: 2 } as const;
