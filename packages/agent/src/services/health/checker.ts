import { messageWithCauses } from '@causeway/daemon';
import type { Clock } from '@causeway/tables';
import { type Judgement, judge, UNJUDGED } from './judge.ts';
import type { Probe, ProbeTarget } from './probe.ts';

/** A backend as one service has it checked. */
export interface CheckTarget extends ProbeTarget {
  /** `shop/web`. */
  readonly service: string;
  /** Key of the backend: `10.1.0.5:8080/TCP`. */
  readonly backend: string;
}

export interface CheckerOptions {
  readonly probe: Probe;
  readonly clock: Clock;
  readonly random: () => number;
  /** Tries under way at once. */
  readonly concurrency: number;
  /** Targets at most; what is beyond is not tried and counts as healthy. */
  readonly maxTargets: number;
  /** A verdict has changed. */
  readonly onVerdict: (target: CheckTarget, judgement: Judgement) => void;
}

interface Running {
  readonly target: CheckTarget;
  readonly stop: AbortController;
  judgement: Judgement;
}

const keyOf = ({ service, backend }: CheckTarget): string => `${service} ${backend}`;

/**
 * Tries targets again and again, each at its interval and never twice at once. A target that stays, stays judged; one
 * that is checked in another way from now on keeps its verdict until the new way has one.
 */
export class Checker implements Disposable {
  readonly #options: CheckerOptions;
  readonly #running = new Map<string, Running>();
  readonly #queue: (() => void)[] = [];
  #free: number;
  #passedOver = 0;

  constructor(options: CheckerOptions) {
    this.#options = options;
    this.#free = options.concurrency;
  }

  get size(): number {
    return this.#running.size;
  }

  /** Targets for which there was no room. */
  get passedOver(): number {
    return this.#passedOver;
  }

  /** Every target has been judged. */
  get complete(): boolean {
    return [...this.#running.values()].every(({ judgement }) => judgement.verdict !== 'unknown');
  }

  judgement(service: string, backend: string): Judgement {
    return this.#running.get(`${service} ${backend}`)?.judgement ?? UNJUDGED;
  }

  *judgements(): Generator<readonly [CheckTarget, Judgement]> {
    for (const { target, judgement } of this.#running.values()) yield [target, judgement];
  }

  setTargets(targets: readonly CheckTarget[]): void {
    const { maxTargets } = this.#options;
    this.#passedOver = Math.max(0, targets.length - maxTargets);
    const wanted = new Map(targets.slice(0, maxTargets).map((each) => [keyOf(each), each]));
    for (const [key, { stop }] of this.#running) {
      if (wanted.has(key)) continue;
      stop.abort();
      this.#running.delete(key);
    }
    for (const [key, target] of wanted) {
      const before = this.#running.get(key);
      if (before !== undefined && same(before.target, target)) continue;
      before?.stop.abort();
      const stop = new AbortController();
      const running: Running = { target, stop, judgement: before?.judgement ?? UNJUDGED };
      this.#running.set(key, running);
      void this.#follow(running, stop.signal);
    }
  }

  async #follow(running: Running, signal: AbortSignal): Promise<void> {
    const { clock, random, probe, onVerdict } = this.#options;
    const { target } = running;
    const { intervalMs } = target.check;
    // Those of a rollout, or of a restart, do not go on in step for ever.
    await clock.sleep(Math.min(random() * intervalMs, 1_000), signal);
    while (!signal.aborted) {
      await this.#turn(signal);
      if (signal.aborted) return;
      let failure: string | undefined;
      try {
        failure = await probe(target, signal);
      } catch (error) {
        failure = messageWithCauses(error);
      } finally {
        this.#done();
      }
      if (signal.aborted) return;
      const before = running.judgement;
      running.judgement = judge(before, failure, target.check);
      if (running.judgement.verdict !== before.verdict) onVerdict(target, running.judgement);
      await clock.sleep(intervalMs * (0.9 + random() * 0.2), signal);
    }
  }

  /** Waits for a turn; whoever is aborted meanwhile gives it on. */
  async #turn(signal: AbortSignal): Promise<void> {
    if (this.#free > 0) {
      this.#free--;
      return;
    }
    await new Promise<void>((resolve) => this.#queue.push(resolve));
    if (signal.aborted) this.#done();
  }

  #done(): void {
    const next = this.#queue.shift();
    if (next === undefined) this.#free++;
    else next();
  }

  [Symbol.dispose](): void {
    for (const { stop } of this.#running.values()) stop.abort();
    this.#running.clear();
  }
}

const same = (a: CheckTarget, b: CheckTarget): boolean =>
  a.address === b.address &&
  a.port === b.port &&
  JSON.stringify(a.check) === JSON.stringify(b.check);
