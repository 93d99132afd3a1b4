import { RtSocket, readSkbContext, request, type SkbFields, skbContext } from '@causeway/linux';
import type { DatapathEvent } from '../events.ts';
import type { ProgramName } from '../objects.ts';
import { dissect, type Frame } from './dissect.ts';
import { NodeSite, type NodeSiteOptions, type TestPod } from './node-site.ts';

/** TC_ACT_* as the programs return them. */
export const VERDICTS = { pass: -1, drop: 2, redirect: 7 } as const;
export type VerdictName = keyof typeof VERDICTS;

export interface Outcome {
  readonly verdict: VerdictName | number;
  /** The frame as the program left it. */
  readonly bytes: Uint8Array;
  readonly frame: Frame;
  readonly mark: number;
  /** Names of the reasons counted in this run, sorted. */
  readonly counted: readonly string[];
  readonly events: readonly DatapathEvent[];
}

/** A node whose programs are run on frames made by hand: real maps and helpers, no traffic. */
export class Rig extends NodeSite {
  #events: DatapathEvent[] = [];
  readonly #reader;
  readonly #macs = new Map<number, Uint8Array>();

  constructor(options: NodeSiteOptions) {
    super(options);
    {
      // Nothing of the kernel's own may be counted among what tests send.
      using rt = RtSocket.open(this.ns);
      rt.apply(request.setLink({ name: 'cw_host' }, { up: false }));
    }
    this.#reader = this.datapath.readEvents((event) => this.#events.push(event));
    this.#reader.unref();
  }

  /** Its interface is down: the kernel's own chatter would be counted among what tests send. */
  override addPod(x: number, identity?: number): TestPod {
    const pod = super.addPod(x, identity);
    using rt = RtSocket.open(pod.ns);
    rt.apply(request.setLink({ name: 'eth0' }, { up: false }));
    return pod;
  }

  run(program: ProgramName, frame: Uint8Array, fields: SkbFields = {}): Outcome {
    const bytes = program === 'from_network' ? this.#addressed(frame, fields.ifindex) : frame;
    const before = this.#counts();
    this.#reader.drain();
    this.#events = [];
    const result = this.ns.run(() =>
      this.datapath.objects.program(program).testRun({ data: bytes, context: skbContext(fields) }),
    );
    this.#reader.drain();
    const verdict = (Object.keys(VERDICTS) as VerdictName[]).find(
      (name) => VERDICTS[name] === result.returnValue,
    );
    return {
      verdict: verdict ?? result.returnValue,
      bytes: result.data,
      get frame() {
        return dissect(result.data);
      },
      mark: readSkbContext(result.context).mark,
      counted: [...this.#counts()]
        .filter(([reason, count]) => count !== before.get(reason))
        .map(([reason]) => reason)
        .sort(),
      events: this.#events,
    };
  }

  /**
   * Median cost in ns per packet. The kernel runs a program again on what it made of the frame: give
   * frames a TTL of 255, which is why one run takes 200 of them.
   */
  cost(program: ProgramName, bytes: Uint8Array, fields: SkbFields, runs = 200): number {
    const context = skbContext(fields);
    const loaded = this.datapath.objects.program(program);
    const costs = this.ns.run(() =>
      Array.from(
        { length: runs },
        () => loaded.testRun({ data: bytes, context, repeat: 200 }).durationNs,
      ),
    );
    return costs.sort((a, b) => a - b)[runs >> 1]!;
  }

  /** The frame as it must come in: what bears another MAC address is none of the node's. */
  #addressed(bytes: Uint8Array, ifindex = 1): Uint8Array {
    let mac = this.#macs.get(ifindex);
    if (mac === undefined) {
      using rt = RtSocket.open(this.ns);
      mac = Uint8Array.from(rt.link({ index: ifindex })?.mac ?? new Uint8Array(6));
      this.#macs.set(ifindex, mac);
    }
    const frame = bytes.slice();
    frame.set(mac);
    return frame;
  }

  #counts(): Map<string, bigint> {
    const counts = new Map<string, bigint>();
    for (const { reason, packets } of this.datapath.counters()) {
      counts.set(reason, (counts.get(reason) ?? 0n) + packets);
    }
    return counts;
  }

  override [Symbol.dispose](): void {
    this.#reader.close();
    super[Symbol.dispose]();
  }
}
