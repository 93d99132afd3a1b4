import koffi from 'koffi';
import { UnsupportedError } from '../errors.ts';

/** Pointers to libbpf's opaque structs. */
export type Pointer = bigint;
type Bytes = Uint8Array | null;

function load() {
  let library: ReturnType<typeof koffi.load>;
  try {
    library = koffi.load('libbpf.so.1');
  } catch (cause) {
    throw new UnsupportedError('libbpf.so.1', 'libbpf 1.0 (Debian package libbpf1)', cause);
  }
  // bool results are declared uint8_t: the upper bytes of the register are undefined.
  const f = (definition: string) => library.func(definition);
  return {
    setPrint: f('void *libbpf_set_print(void *print)') as (print: Pointer) => unknown,
    numPossibleCpus: f('int libbpf_num_possible_cpus()') as () => number,

    objectOpen: f('void *bpf_object__open_file(const char *path, void *options)') as (
      path: string,
      options: Bytes,
    ) => Pointer | null,
    objectLoad: f('int bpf_object__load(void *object)') as (object: Pointer) => number,
    objectClose: f('void bpf_object__close(void *object)') as (object: Pointer) => void,
    nextProgram: f('void *bpf_object__next_program(void *object, void *program)') as (
      object: Pointer,
      program: Pointer | null,
    ) => Pointer | null,
    programName: f('const char *bpf_program__name(void *program)') as (p: Pointer) => string,
    programFd: f('int bpf_program__fd(void *program)') as (p: Pointer) => number,
    programSetAutoload: f('int bpf_program__set_autoload(void *program, bool load)') as (
      p: Pointer,
      load: boolean,
    ) => number,
    nextMap: f('void *bpf_object__next_map(void *object, void *map)') as (
      object: Pointer,
      map: Pointer | null,
    ) => Pointer | null,
    mapName: f('const char *bpf_map__name(void *map)') as (m: Pointer) => string,
    mapFd: f('int bpf_map__fd(void *map)') as (m: Pointer) => number,
    mapType: f('int bpf_map__type(void *map)') as (m: Pointer) => number,
    mapKeySize: f('uint32_t bpf_map__key_size(void *map)') as (m: Pointer) => number,
    mapValueSize: f('uint32_t bpf_map__value_size(void *map)') as (m: Pointer) => number,
    mapMaxEntries: f('uint32_t bpf_map__max_entries(void *map)') as (m: Pointer) => number,
    mapFlags: f('uint32_t bpf_map__map_flags(void *map)') as (m: Pointer) => number,
    mapSetMaxEntries: f('int bpf_map__set_max_entries(void *map, uint32_t count)') as (
      m: Pointer,
      count: number,
    ) => number,
    mapReuseFd: f('int bpf_map__reuse_fd(void *map, int fd)') as (m: Pointer, fd: number) => number,
    mapInitialValue: f('void *bpf_map__initial_value(void *map, void *size)') as (
      m: Pointer,
      size: Uint8Array,
    ) => Pointer | null,
    mapSetInitialValue: f(
      'int bpf_map__set_initial_value(void *map, const void *data, size_t size)',
    ) as (m: Pointer, data: Uint8Array, size: number) => number,

    mapCreate: f(
      'int bpf_map_create(int type, const char *name, uint32_t key, uint32_t value, uint32_t entries, void *options)',
    ) as (
      type: number,
      name: string,
      key: number,
      value: number,
      entries: number,
      options: Bytes,
    ) => number,
    lookup: f('int bpf_map_lookup_elem(int fd, const void *key, void *value)') as (
      fd: number,
      key: Uint8Array,
      value: Uint8Array,
    ) => number,
    update: f(
      'int bpf_map_update_elem(int fd, const void *key, const void *value, uint64_t flags)',
    ) as (fd: number, key: Uint8Array, value: Uint8Array, flags: number) => number,
    delete: f('int bpf_map_delete_elem(int fd, const void *key)') as (
      fd: number,
      key: Uint8Array,
    ) => number,
    nextKey: f('int bpf_map_get_next_key(int fd, const void *key, void *next)') as (
      fd: number,
      key: Bytes,
      next: Uint8Array,
    ) => number,
    lookupBatch: f(
      'int bpf_map_lookup_batch(int fd, void *in, void *out, void *keys, void *values, void *count, void *options)',
    ) as (
      fd: number,
      from: Bytes,
      to: Uint8Array,
      keys: Uint8Array,
      values: Uint8Array,
      count: Uint32Array,
      options: Bytes,
    ) => number,
    updateBatch: f(
      'int bpf_map_update_batch(int fd, const void *keys, const void *values, void *count, void *options)',
    ) as (
      fd: number,
      keys: Uint8Array,
      values: Uint8Array,
      count: Uint32Array,
      options: Bytes,
    ) => number,
    deleteBatch: f(
      'int bpf_map_delete_batch(int fd, const void *keys, void *count, void *options)',
    ) as (fd: number, keys: Uint8Array, count: Uint32Array, options: Bytes) => number,

    objectPin: f('int bpf_obj_pin(int fd, const char *path)') as (fd: number, p: string) => number,
    objectGet: f('int bpf_obj_get(const char *path)') as (path: string) => number,
    objectInfo: f('int bpf_obj_get_info_by_fd(int fd, void *info, void *length)') as (
      fd: number,
      info: Uint8Array,
      length: Uint32Array,
    ) => number,
    mapFdById: f('int bpf_map_get_fd_by_id(uint32_t id)') as (id: number) => number,
    programFdById: f('int bpf_prog_get_fd_by_id(uint32_t id)') as (id: number) => number,
    linkFdById: f('int bpf_link_get_fd_by_id(uint32_t id)') as (id: number) => number,
    testRun: f('int bpf_prog_test_run_opts(int fd, void *options)') as (
      fd: number,
      options: Uint8Array,
    ) => number,
    programLoad: f(
      'int bpf_prog_load(int type, const char *name, const char *license, const void *instructions, size_t count, void *options)',
    ) as (
      type: number,
      name: string,
      license: string,
      instructions: Uint8Array,
      count: number,
      options: Bytes,
    ) => number,

    linkCreate: f('int bpf_link_create(int program, int target, int type, void *options)') as (
      program: number,
      target: number,
      type: number,
      options: Bytes,
    ) => number,
    linkUpdate: f('int bpf_link_update(int link, int program, void *options)') as (
      link: number,
      program: number,
      options: Bytes,
    ) => number,
    linkDetach: f('int bpf_link_detach(int link)') as (link: number) => number,

    tcHookCreate: f('int bpf_tc_hook_create(void *hook)') as (hook: Uint8Array) => number,
    tcAttach: f('int bpf_tc_attach(void *hook, void *options)') as (
      hook: Uint8Array,
      options: Uint8Array,
    ) => number,
    tcDetach: f('int bpf_tc_detach(void *hook, void *options)') as (
      hook: Uint8Array,
      options: Uint8Array,
    ) => number,
    tcQuery: f('int bpf_tc_query(void *hook, void *options)') as (
      hook: Uint8Array,
      options: Uint8Array,
    ) => number,
  };
}

let loaded: ReturnType<typeof load> | undefined;

/** libbpf, loaded at first use: programs that only touch namespaces or links never need it. */
export function libbpf(): ReturnType<typeof load> {
  loaded ??= load();
  return loaded;
}
