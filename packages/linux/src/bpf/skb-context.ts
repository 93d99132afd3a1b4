import { struct } from '../ffi/memory.ts';

// struct __sk_buff of linux/bpf.h: the fields that a test run takes in or gives back.
const size = 192;
const offsets = {
  mark: 8,
  priority: 32,
  ingressIfindex: 36,
  ifindex: 40,
  cb: 48,
  wireLength: 160,
  gsoSegments: 164,
  gsoSize: 176,
} as const;

export interface SkbFields {
  readonly mark?: number;
  readonly priority?: number;
  /** Must be a device of the calling thread's namespace; the frame is then taken as its. */
  readonly ifindex?: number;
  readonly ingressIfindex?: number;
  readonly cb?: readonly number[];
  readonly wireLength?: number;
  readonly gsoSegments?: number;
  readonly gsoSize?: number;
}

export interface SkbResult {
  readonly mark: number;
  readonly priority: number;
  readonly ifindex: number;
  readonly ingressIfindex: number;
  readonly cb: readonly number[];
}

/** A struct __sk_buff for TestRunInput.context; what is not given stays zero. */
export function skbContext(fields: SkbFields): Uint8Array {
  const { bytes, view } = struct(size);
  for (const [name, offset] of Object.entries(offsets)) {
    const value = fields[name as keyof SkbFields];
    if (typeof value === 'number') view.setUint32(offset, value >>> 0, true);
  }
  for (const [index, word] of (fields.cb ?? []).slice(0, 5).entries()) {
    view.setUint32(offsets.cb + 4 * index, word >>> 0, true);
  }
  return bytes;
}

/** What a program left in the context of its test run. */
export function readSkbContext(bytes: Uint8Array): SkbResult {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const word = (offset: number) => (offset + 4 <= bytes.length ? view.getUint32(offset, true) : 0);
  return {
    mark: word(offsets.mark),
    priority: word(offsets.priority),
    ifindex: word(offsets.ifindex),
    ingressIfindex: word(offsets.ingressIfindex),
    cb: [0, 1, 2, 3, 4].map((index) => word(offsets.cb + 4 * index)),
  };
}
