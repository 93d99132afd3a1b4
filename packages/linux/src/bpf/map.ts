import { callError, invalidArgument, mapError } from '../errors.ts';
import { Fd } from '../fd.ts';
import { libbpf } from '../ffi/libbpf.ts';
import { fromCString, struct } from '../ffi/memory.ts';
import { deleteBatch, readBatches, updateBatch } from './map-batch.ts';
import { isPerCpu, type MapType, mapTypeName, mapTypeNumber } from './map-types.ts';
import { BpfObject, objectInfo, openById, openPin, readOrClose } from './object.ts';

export interface MapShape {
  readonly name: string;
  readonly type: MapType;
  /** Bytes. */
  readonly keySize: number;
  /** Bytes; for per-cpu maps those of one cpu's value. */
  readonly valueSize: number;
  readonly maxEntries: number;
  /** BPF_F_* of creation. */
  readonly flags: number;
}

export interface MapInfo extends MapShape {
  /** The kernel's id, as bpftool shows it. */
  readonly id: number;
}

export interface MapSpec {
  readonly name: string;
  readonly type: MapType;
  readonly keySize: number;
  readonly valueSize: number;
  readonly maxEntries: number;
  readonly flags?: number;
  /** For maps of maps: a map of the shape that its values have. */
  readonly innerMap?: BpfMap;
}

/** Whether update() may make a new entry, must, or must not. */
export type UpdateMode = 'any' | 'create' | 'replace';

const modeFlags: Readonly<Record<UpdateMode, number>> = { any: 0, create: 1, replace: 2 };
const noEntry = -2;
const exists = -17;

let cpus: number | undefined;

/** CPUs that could ever come up: the number of values that an entry of a per-cpu map has. */
export function possibleCpus(): number {
  if (cpus === undefined) {
    const found = libbpf().numPossibleCpus();
    if (found < 0) throw callError('count possible cpus', found);
    cpus = found;
  }
  return cpus;
}

/** A map, held by its descriptor. Keys and values are bytes of exactly the map's sizes. */
export class BpfMap extends BpfObject {
  readonly info: MapInfo;
  /** Bytes of a value as get() and update() see it: of all cpus, each rounded up to 8, for per-cpu maps. */
  readonly storedSize: number;

  private constructor(fd: Fd) {
    super('map', fd);
    this.info = readOrClose(fd, readInfo);
    const { type, valueSize } = this.info;
    this.storedSize = isPerCpu(type) ? roundUp8(valueSize) * possibleCpus() : valueSize;
  }

  /** Takes the descriptor over, also when it is no map and this throws. */
  static adopt(fd: Fd): BpfMap {
    return new BpfMap(fd);
  }

  static create(spec: MapSpec): BpfMap {
    // struct bpf_map_create_opts: inner_map_fd at 24, map_flags at 28.
    const { bytes, view } = struct(48);
    view.setBigUint64(0, 48n, true);
    view.setUint32(24, spec.innerMap?.fd.number ?? 0, true);
    view.setUint32(28, spec.flags ?? 0, true);
    const fd = libbpf().mapCreate(
      mapTypeNumber(spec.type),
      spec.name.slice(0, 15),
      spec.keySize,
      spec.valueSize,
      spec.maxEntries,
      bytes,
    );
    if (fd < 0) throw callError('create BPF map', fd, spec.name);
    return new BpfMap(Fd.adopt(fd, `BPF map ${spec.name}`));
  }

  static openPinned(path: string): BpfMap {
    return new BpfMap(openPin(path, 'map'));
  }

  static openId(id: number): BpfMap {
    return new BpfMap(openById(id, 'map'));
  }

  dup(): BpfMap {
    return new BpfMap(this.fd.dup());
  }

  /** Into `into` where given, else a new array; undefined when the key is absent. */
  get(key: Uint8Array, into?: Uint8Array): Uint8Array | undefined {
    this.#checkKey(key);
    if (into !== undefined) this.#checkValue(into);
    const value = into ?? new Uint8Array(this.storedSize);
    const result = libbpf().lookup(this.fd.number, key, value);
    if (result === 0) return value;
    if (result === noEntry) return undefined;
    throw mapError('look up in', result, this.info.name);
  }

  has(key: Uint8Array): boolean {
    return this.get(key) !== undefined;
  }

  /** Throws map-full, exists ('create' of a present key) or not-found ('replace' of an absent one). */
  update(key: Uint8Array, value: Uint8Array, mode: UpdateMode = 'any'): void {
    this.#checkKey(key);
    this.#checkValue(value);
    const result = libbpf().update(this.fd.number, key, value, modeFlags[mode]);
    if (result !== 0) throw mapError('update', result, this.info.name);
  }

  /** As update in mode 'create', but false in place of an error when the key is there. */
  tryCreate(key: Uint8Array, value: Uint8Array): boolean {
    this.#checkKey(key);
    this.#checkValue(value);
    const result = libbpf().update(this.fd.number, key, value, modeFlags.create);
    if (result === exists) return false;
    if (result !== 0) throw mapError('update', result, this.info.name);
    return true;
  }

  /** False when the key was absent. */
  delete(key: Uint8Array): boolean {
    this.#checkKey(key);
    const result = libbpf().delete(this.fd.number, key);
    if (result === 0) return true;
    if (result === noEntry) return false;
    throw mapError('delete from', result, this.info.name);
  }

  /** Walks the map. */
  count(): number {
    let count = 0;
    for (const batch of readBatches(this, 4096)) count += batch.count;
    return count;
  }

  *keys(): IterableIterator<Uint8Array> {
    const size = this.info.keySize;
    for (const batch of readBatches(this, 1024)) {
      for (let i = 0; i < batch.count; i++) yield batch.keys.slice(i * size, (i + 1) * size);
    }
  }

  /**
   * By batches where the map's type has them, else key by key. While others change the map an entry
   * may come twice or not at all.
   */
  *entries(batchSize = 1024): IterableIterator<[Uint8Array, Uint8Array]> {
    const { keySize } = this.info;
    const size = this.storedSize;
    for (const batch of readBatches(this, batchSize)) {
      for (let i = 0; i < batch.count; i++) {
        yield [
          batch.keys.slice(i * keySize, (i + 1) * keySize),
          batch.values.slice(i * size, (i + 1) * size),
        ];
      }
    }
  }

  /** Keys and values packed one after the other. Returns the count written or throws MapBatchError. */
  updateBatch(keys: Uint8Array, values: Uint8Array, mode: UpdateMode = 'any'): number {
    const count = this.#packedCount(keys);
    if (values.length !== count * this.storedSize) {
      throw invalidArgument(
        'update batch',
        `${count} values of map ${this.info.name} take ${count * this.storedSize} bytes, got ${values.length}`,
        values.length,
      );
    }
    return updateBatch(this, keys, values, count, modeFlags[mode]);
  }

  /** Absent keys are passed over. Returns how many entries were deleted. */
  deleteBatch(keys: Uint8Array): number {
    return deleteBatch(this, keys, this.#packedCount(keys));
  }

  /** Deletes every entry; returns how many there were. */
  clear(): number {
    const size = this.info.keySize;
    // All keys first: deleting under a walk can make the kernel start it over.
    const keys = [...this.keys()];
    const packed = new Uint8Array(keys.length * size);
    for (const [index, key] of keys.entries()) packed.set(key, index * size);
    return this.deleteBatch(packed);
  }

  /** The values of each cpu in what get() gave of a per-cpu map. */
  perCpu(stored: Uint8Array): Uint8Array[] {
    this.#checkValue(stored);
    const { type, valueSize } = this.info;
    if (!isPerCpu(type)) return [stored];
    const step = roundUp8(valueSize);
    return Array.from({ length: possibleCpus() }, (_, cpu) =>
      stored.subarray(cpu * step, cpu * step + valueSize),
    );
  }

  #checkKey(key: Uint8Array): void {
    if (key.length !== this.info.keySize) {
      throw invalidArgument(
        'map key',
        `keys of map ${this.info.name} have ${this.info.keySize} bytes, got ${key.length}`,
        key,
      );
    }
  }

  #checkValue(value: Uint8Array): void {
    if (value.length !== this.storedSize) {
      throw invalidArgument(
        'map value',
        `values of map ${this.info.name} have ${this.storedSize} bytes, got ${value.length}`,
        value,
      );
    }
  }

  #packedCount(keys: Uint8Array): number {
    const size = this.info.keySize;
    if (size === 0 || keys.length % size !== 0) {
      throw invalidArgument(
        'map batch',
        `keys of map ${this.info.name} have ${size} bytes: ${keys.length} is no multiple`,
        keys.length,
      );
    }
    return keys.length / size;
  }
}

function roundUp8(size: number): number {
  return (size + 7) & ~7;
}

/** struct bpf_map_info of linux/bpf.h. */
function readInfo(fd: Fd): MapInfo {
  const { bytes, view } = objectInfo(fd, 'map', 128);
  return {
    type: mapTypeName(view.getUint32(0, true)),
    id: view.getUint32(4, true),
    keySize: view.getUint32(8, true),
    valueSize: view.getUint32(12, true),
    maxEntries: view.getUint32(16, true),
    flags: view.getUint32(20, true),
    name: fromCString(bytes.subarray(24, 40)),
  };
}
