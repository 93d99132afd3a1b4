import { type Log, messageWithCauses } from '@causeway/daemon';
import { type LabelSet, RESERVED, reservedLabels } from '@causeway/identity';
import type { Clock } from '@causeway/tables';
import { Gate } from '@causeway/tables';
import type { EndpointIdentities, EndpointIdentity, PodReference } from '../endpoints/ports.ts';
import { podReference } from '../endpoints/record-views.ts';
import type { EndpointTable } from '../endpoints/table.ts';
import { type LabelSources, labelsOf } from './pod-labels.ts';

/** Numbers for label sets, from the cluster's store. */
export interface IdentityNumbers {
  /** Without asking the store. */
  known(labels: LabelSet): number | undefined;
  /** This node uses the labels: gives their number, allocating one if there is none. */
  acquire(labels: LabelSet, signal: AbortSignal): Promise<number>;
  /** This node no longer uses the labels. */
  release(labels: LabelSet): void;
  readonly connected: boolean;
}

export interface ResolverOptions {
  readonly sources: LabelSources;
  readonly numbers: IdentityNumbers;
  readonly endpoints: EndpointTable;
  readonly relabel: (id: number, identity: EndpointIdentity) => Promise<unknown>;
  readonly clock: Clock;
  readonly log: Log;
}

/** An ADD waits this long for a pod that its watch has not brought yet, and for a number. */
const POD_PATIENCE_MS = 500;
const NUMBER_PATIENCE_MS = 1_000;
const RETRY_MS = 1_000;

const INIT_LABELS = reservedLabels(RESERVED.init)!;

/**
 * Tells endpoints who they are, at once as far as it is known, and again whenever more is. Until the
 * labels are known an endpoint is `reserved:init`, which nobody admits by accident; with labels but no
 * number yet, its own policy is in force already and only its peers still see `init`.
 */
export class IdentityResolver implements EndpointIdentities, AsyncDisposable {
  readonly #options: ResolverOptions;
  readonly #stop = new AbortController();
  readonly #held = new Map<number, LabelSet>();
  readonly #uses = new Map<string, number>();
  readonly #dirty = new Set<number>();
  readonly #wake = new Gate();
  readonly #undo: (() => void)[] = [];
  #running: Promise<void> | undefined;

  constructor(options: ResolverOptions) {
    this.#options = options;
  }

  /** Endpoints that wait for labels or a number, with the reason. */
  pending(): { id: number; reason: string }[] {
    const waiting: { id: number; reason: string }[] = [];
    for (const { record } of this.#options.endpoints.rows()) {
      if (record.identity !== RESERVED.init) continue;
      const known = labelsOf(podReference(record), this.#options.sources);
      const reason =
        known.type === 'unknown' ? known.reason : 'no identity number from the store yet';
      waiting.push({ id: record.id, reason });
    }
    return waiting;
  }

  async appear(pod: PodReference): Promise<void> {
    const { sources, clock, numbers } = this.#options;
    if (!numbers.connected) return;
    const deadline = clock.now() + POD_PATIENCE_MS;
    while (clock.now() < deadline && !this.#stop.signal.aborted) {
      if (labelsOf(pod, sources).type === 'known') return;
      await this.#nextCommit(deadline - clock.now());
    }
  }

  async resolve(pod: PodReference): Promise<EndpointIdentity> {
    const found = labelsOf(pod, this.#options.sources);
    if (found.type === 'unknown') {
      this.#mark(pod.endpointId);
      return { labels: INIT_LABELS.text, identity: RESERVED.init, namedPorts: [] };
    }
    const { labels, namedPorts } = found;
    this.#hold(pod.endpointId, labels);
    const identity = await this.#patientNumber(labels);
    if (identity === undefined) this.#mark(pod.endpointId);
    return { labels: labels.text, identity: identity ?? RESERVED.init, namedPorts };
  }

  release(pod: PodReference): void {
    this.#dirty.delete(pod.endpointId);
    this.#hold(pod.endpointId, undefined);
  }

  /** From now on changes of pods and namespaces reach the endpoints. */
  start(): void {
    const { sources, endpoints, log } = this.#options;
    const pods = sources.pods.changes('endpoint-identities', 'now');
    const namespaces = sources.namespaces.changes('endpoint-identities', 'now');
    // Restored endpoints take hold of their identity again, and learn what changed meanwhile.
    for (const { record } of endpoints.rows()) this.#dirty.add(record.id);
    const collect = () => {
      while (pods.pending) {
        for (const { key } of pods.take()) {
          for (const { record } of endpoints.by('pod', key)) this.#dirty.add(record.id);
        }
      }
      while (namespaces.pending) {
        const changed = new Set(namespaces.take().map(({ key }) => key));
        for (const { record } of endpoints.rows()) {
          if (changed.has(record.podNamespace ?? 'default')) this.#dirty.add(record.id);
        }
      }
      if (this.#dirty.size > 0) this.#wake.open();
    };
    this.#undo.push(
      sources.pods.onCommit(() => queueMicrotask(collect)),
      sources.namespaces.onCommit(() => queueMicrotask(collect)),
      () => pods[Symbol.dispose](),
      () => namespaces[Symbol.dispose](),
    );
    this.#running = this.#run().catch((error) => {
      log.error({ error: messageWithCauses(error) }, 'the identity resolver ended');
    });
  }

  /** Looks at every endpoint again: numbers may be had now, or have changed. */
  refreshAll(): void {
    for (const { record } of this.#options.endpoints.rows()) this.#dirty.add(record.id);
    this.#wake.open();
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      const work = [...this.#dirty];
      this.#dirty.clear();
      const failed: number[] = [];
      for (const id of work) {
        if (signal.aborted) return;
        if (!(await this.#refresh(id))) failed.push(id);
      }
      // What changed meanwhile goes first, and what failed goes with it.
      const changed = this.#dirty.size > 0;
      for (const id of failed) this.#dirty.add(id);
      if (changed) continue;
      if (failed.length === 0) {
        await this.#wake.wait(signal);
        continue;
      }
      // What failed is tried again after a while, or as soon as something new is known.
      const over = new AbortController();
      const either = AbortSignal.any([signal, over.signal]);
      await Promise.race([this.#wake.wait(either), this.#options.clock.sleep(RETRY_MS, either)]);
      over.abort();
    }
  }

  /** False if it must be tried again. */
  async #refresh(id: number): Promise<boolean> {
    const { endpoints, sources, numbers, relabel, log } = this.#options;
    const row = endpoints.get(id);
    if (row === undefined || row.state === 'deleting') return true;
    // One whose ADD is under way learns of this when it is ready.
    if (row.state !== 'ready') return false;
    const { record } = row;
    const known = labelsOf(podReference(record), sources);
    // A pod that is gone from the store keeps its labels until its interface goes.
    if (known.type === 'unknown') return true;
    try {
      // Counted from the question on: another endpoint's release must not take the number away meanwhile.
      this.#use(known.labels);
      let identity: number;
      try {
        identity = await numbers.acquire(known.labels, this.#stop.signal);
        this.#hold(id, known.labels);
      } finally {
        this.#unuse(known.labels);
      }
      const same =
        record.labels === known.labels.text &&
        record.identity === identity &&
        JSON.stringify(record.namedPorts) === JSON.stringify(known.namedPorts);
      if (!same && endpoints.has(id)) {
        await relabel(id, { labels: known.labels.text, identity, namedPorts: known.namedPorts });
        log.info(
          { endpoint: id, from: record.identity, to: identity, labels: known.labels.text },
          'endpoint has another identity',
        );
      }
      if (!endpoints.has(id)) this.#hold(id, undefined);
      return true;
    } catch (error) {
      log.debug({ endpoint: id, error: messageWithCauses(error) }, 'no identity yet');
      return false;
    }
  }

  async #nextCommit(ms: number): Promise<void> {
    const { sources, clock } = this.#options;
    const done = new AbortController();
    const undo = [sources.pods, sources.namespaces].map((table) =>
      table.onCommit(() => done.abort()),
    );
    await clock.sleep(ms, done.signal);
    for (const each of undo) each();
  }

  async #patientNumber(labels: LabelSet): Promise<number | undefined> {
    const { numbers, log } = this.#options;
    const known = numbers.known(labels);
    if (known !== undefined) {
      // The reference in the store follows; the pod need not wait for it.
      numbers.acquire(labels, this.#stop.signal).catch((error) => {
        log.debug(
          { error: messageWithCauses(error) },
          'a known identity is not referenced in the store yet',
        );
      });
      return known;
    }
    if (!numbers.connected) return undefined;
    try {
      const signal = AbortSignal.any([this.#stop.signal, AbortSignal.timeout(NUMBER_PATIENCE_MS)]);
      return await numbers.acquire(labels, signal);
    } catch (error) {
      log.warn(
        { labels: labels.text, error: messageWithCauses(error) },
        'no identity from the store yet; the endpoint starts as init',
      );
      return undefined;
    }
  }

  #mark(id: number): void {
    this.#dirty.add(id);
    this.#wake.open();
  }

  /** Counts uses of label sets by endpoints, so that the last one gives the reference back. */
  #hold(id: number, labels: LabelSet | undefined): void {
    const before = this.#held.get(id);
    if (before?.text === labels?.text) return;
    if (labels === undefined) this.#held.delete(id);
    else this.#held.set(id, labels);
    if (labels !== undefined) this.#use(labels);
    if (before !== undefined) this.#unuse(before);
  }

  #use(labels: LabelSet): void {
    this.#uses.set(labels.text, (this.#uses.get(labels.text) ?? 0) + 1);
  }

  #unuse(labels: LabelSet): void {
    const left = (this.#uses.get(labels.text) ?? 1) - 1;
    if (left > 0) {
      this.#uses.set(labels.text, left);
      return;
    }
    this.#uses.delete(labels.text);
    this.#options.numbers.release(labels);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    this.#wake.open();
    for (const undo of this.#undo) undo();
    await this.#running;
  }
}
