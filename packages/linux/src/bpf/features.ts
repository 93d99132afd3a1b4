import { existsSync } from 'node:fs';
import { LinuxError, UnsupportedError } from '../errors.ts';
import { Fd } from '../fd.ts';
import { libbpf } from '../ffi/libbpf.ts';
import { addressOf, fromCString, stableBytes, struct } from '../ffi/memory.ts';
import { BpfMap } from './map.ts';

/** One verdict of a probe; `reason` is the kernel's answer when the feature is absent. */
export interface FeatureRow {
  readonly feature: Feature;
  readonly present: boolean;
  /** The release that brought it: "Linux 6.6". */
  readonly needs: string;
  readonly reason?: string;
}

interface Answer {
  readonly present: boolean;
  readonly reason?: string;
}

interface Probe {
  readonly needs: string;
  readonly try: () => Answer;
}

// BPF_PROG_TYPE_* and BPF_FUNC_* of linux/bpf.h
const schedCls = 3;
const cgroupSockAddr = 18;
const connect4 = 10;
const getpeername4 = 29;

const features = {
  tcx: { needs: 'Linux 6.6', try: probeTcx },
  'bpf-link-cgroup': { needs: 'Linux 5.7', try: probeCgroupLink },
  'cgroup-getpeername': {
    needs: 'Linux 5.8',
    try: () => probeProgram(cgroupSockAddr, getpeername4),
  },
  ringbuf: { needs: 'Linux 5.8', try: probeRingbuf },
  'redirect-peer': { needs: 'Linux 5.10', try: () => probeHelper(schedCls, 155) },
  'redirect-neigh': { needs: 'Linux 5.10', try: () => probeHelper(schedCls, 152) },
  'fib-lookup': { needs: 'Linux 4.18', try: () => probeHelper(schedCls, 69) },
  'skb-tunnel-key': { needs: 'Linux 4.3', try: () => probeHelper(schedCls, 21) },
  'set-retval': { needs: 'Linux 5.18', try: () => probeHelper(cgroupSockAddr, 187, connect4) },
  'netns-cookie': { needs: 'Linux 5.7', try: () => probeHelper(cgroupSockAddr, 122, connect4) },
  timer: { needs: 'Linux 5.15', try: () => probeHelper(schedCls, 169) },
  'map-batch-hash': { needs: 'Linux 5.6', try: () => probeBatch('hash') },
  'map-batch-lpm': { needs: 'Linux 5.13', try: () => probeBatch('lpm_trie') },
  btf: { needs: 'Linux 5.4 with CONFIG_DEBUG_INFO_BTF', try: probeBtf },
} as const satisfies Record<string, Probe>;

export type Feature = keyof typeof features;

/** What this kernel can do, found by trying, once each and only when asked. */
export class Features {
  readonly #overrides: Partial<Record<Feature, boolean>>;
  readonly #answers = new Map<Feature, Answer>();

  /** `overrides` simulate presence or absence, to test what runs on other kernels. */
  constructor(overrides: Partial<Record<Feature, boolean>> = {}) {
    for (const name of Object.keys(overrides)) {
      if (!(name in features)) {
        throw new LinuxError(
          'invalid-argument',
          `no feature ${name}: there are ${Object.keys(features).join(', ')}`,
          { operation: 'override feature', value: name },
        );
      }
    }
    this.#overrides = overrides;
  }

  has(feature: Feature): boolean {
    return this.#answer(feature).present;
  }

  /** Throws UnsupportedError, which names the release that has it. */
  require(feature: Feature): void {
    const answer = this.#answer(feature);
    if (!answer.present)
      throw new UnsupportedError(feature, features[feature].needs, answer.reason);
  }

  report(): FeatureRow[] {
    return (Object.keys(features) as Feature[]).map((feature) => ({
      feature,
      needs: features[feature].needs,
      ...this.#answer(feature),
    }));
  }

  #answer(feature: Feature): Answer {
    let answer = this.#answers.get(feature);
    if (answer === undefined) {
      const override = this.#overrides[feature];
      answer =
        override === undefined
          ? features[feature].try()
          : override
            ? { present: true }
            : { present: false, reason: 'said to be absent by configuration' };
      this.#answers.set(feature, answer);
    }
    return answer;
  }
}

const callHelper = (helper: number) => [0x85, 0, 0, 0, helper & 255, helper >> 8, 0, 0];
const returnZero = [0xb7, 0, 0, 0, 0, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0];

/** Tries to load instructions; `fd` is negative errno on refusal, with the verifier's words. */
function tryLoad(type: number, attachType: number, instructions: readonly number[]) {
  const log = stableBytes(8192);
  // struct bpf_prog_load_opts: expected_attach_type at 12, log_level at 88, log_size 92, log_buf 96.
  const { bytes, view } = struct(104);
  view.setBigUint64(0, 104n, true);
  view.setUint32(12, attachType, true);
  view.setUint32(88, 1, true);
  view.setUint32(92, log.length, true);
  view.setBigUint64(96, addressOf(log), true);
  const code = Uint8Array.from(instructions);
  const fd = libbpf().programLoad(type, 'probe', 'Dual BSD/GPL', code, code.length / 8, bytes);
  return { fd, log: fromCString(log) };
}

function probeProgram(type: number, attachType: number): Answer {
  // sock_addr programs must return 0 or 1 (getpeername only 1).
  const one = [0xb7, 0, 0, 0, 1, 0, 0, 0, ...returnZero.slice(8)];
  const { fd, log } = tryLoad(type, attachType, one);
  if (fd < 0) return { present: false, reason: `errno ${-fd} ${log.trim()}` };
  Fd.adopt(fd, 'probe').close();
  return { present: true };
}

/** A helper that exists is refused for its arguments at most; one that does not, by these words. */
const unknownHelper = /invalid func |unknown func |cannot use helper /;

function probeHelper(type: number, helper: number, attachType = 0): Answer {
  const { fd, log } = tryLoad(type, attachType, [...callHelper(helper), ...returnZero]);
  if (fd >= 0) {
    Fd.adopt(fd, 'probe').close();
    return { present: true };
  }
  const refused = unknownHelper.test(log) || log === '';
  return refused ? { present: false, reason: log.trim() || `errno ${-fd}` } : { present: true };
}

/** Links to what does not exist: the errno tells whether the kernel understood the kind of link. */
function probeLink(
  type: number,
  programAttachType: number,
  target: number,
  attachType: number,
  understood: number,
): Answer {
  const loaded = tryLoad(type, programAttachType, [
    0xb7,
    0,
    0,
    0,
    1,
    0,
    0,
    0,
    ...returnZero.slice(8),
  ]);
  if (loaded.fd < 0) return { present: false, reason: `errno ${-loaded.fd}` };
  using program = Fd.adopt(loaded.fd, 'probe');
  const result = libbpf().linkCreate(program.number, target, attachType, null);
  if (result >= 0) Fd.adopt(result, 'probe link').close();
  return result >= 0 || result === -understood
    ? { present: true }
    : { present: false, reason: `errno ${-result}` };
}

function probeTcx(): Answer {
  return probeLink(schedCls, 0, 0x7fff_ffff, 46, 19);
}

function probeCgroupLink(): Answer {
  return probeLink(cgroupSockAddr, connect4, -1, connect4, 9);
}

function probeRingbuf(): Answer {
  return attempt(() =>
    BpfMap.create({ name: 'probe', type: 'ringbuf', keySize: 0, valueSize: 0, maxEntries: 65536 }),
  );
}

function probeBatch(type: 'hash' | 'lpm_trie'): Answer {
  const flags = type === 'hash' ? 0 : 1;
  using map = BpfMap.create({
    name: 'probe',
    type,
    keySize: 8,
    valueSize: 4,
    maxEntries: 8,
    flags,
  });
  const count = new Uint32Array([8]);
  const [keys, values] = [new Uint8Array(64), new Uint8Array(32)];
  const cursor = new Uint8Array(8);
  const result = libbpf().lookupBatch(map.fd.number, null, cursor, keys, values, count, null);
  return result === 0 || result === -2
    ? { present: true }
    : { present: false, reason: `errno ${-result}` };
}

function probeBtf(): Answer {
  const path = '/sys/kernel/btf/vmlinux';
  return existsSync(path) ? { present: true } : { present: false, reason: `no ${path}` };
}

function attempt(make: () => Disposable): Answer {
  try {
    make()[Symbol.dispose]();
    return { present: true };
  } catch (error) {
    if (!(error instanceof LinuxError)) throw error;
    return { present: false, reason: error.message };
  }
}
