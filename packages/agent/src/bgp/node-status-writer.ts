import { codeOf, type Log, messageWithCauses } from '@causeway/daemon';
import { type ResourceStore, withConditions } from '@causeway/resources';
import { type Clock, deepEqual } from '@causeway/tables';
import {
  type InstanceStatus,
  instanceStatuses,
  problemsCondition,
  type Sessions,
  withoutCounts,
} from './node-status.ts';
import type { BgpPlan } from './plan.ts';
import type { SpeakerPort, SpeakerSession } from './speaker-port.ts';

/** A session that comes or goes is told this soon; a spread, for nodes lose a router together. */
const LOOK_MS = 5_000;
const SPREAD_MS = 1_000;
/** Numbers of routes alone are told this often. */
const COUNTS_MS = 30_000;
/** The object is looked at although nothing has changed here: it may have been made anew. */
const AGAIN_MS = 60_000;

export interface NodeStatusOptions {
  readonly node: string;
  readonly store: Pick<ResourceStore, 'get' | 'patchStatus'>;
  readonly port: Pick<SpeakerPort, 'session'>;
  /** Undefined: it is not known yet what this node shall do. */
  readonly plan: () => Pick<BgpPlan, 'instances' | 'problems' | 'wanted'> | undefined;
  readonly clock: Clock;
  /** Milliseconds since the epoch. */
  readonly wall: () => number;
  readonly random: () => number;
  readonly log: Log;
}

interface Told {
  readonly instances: readonly InstanceStatus[];
  readonly problems: readonly string[];
  readonly at: number;
}

/**
 * Tells the status of this node's CiliumBGPNodeConfig how its sessions are, at a rate that the store bears from a
 * thousand nodes. Who makes the object is the operator; without one nothing is told.
 */
export class NodeStatusWriter implements AsyncDisposable {
  readonly #options: NodeStatusOptions;
  readonly #stop = new AbortController();
  readonly #running: Promise<void>;
  #told: Told | undefined;
  #problem: string | undefined;

  constructor(options: NodeStatusOptions) {
    this.#options = options;
    this.#running = this.#run(this.#stop.signal);
  }

  async #run(signal: AbortSignal): Promise<void> {
    const { clock, random, log } = this.#options;
    while (!signal.aborted) {
      try {
        await this.round(signal);
        this.#problem = undefined;
      } catch (error) {
        if (signal.aborted) return;
        const problem = messageWithCauses(error);
        if (problem !== this.#problem)
          log.warn({ error: problem }, 'the CiliumBGPNodeConfig cannot be told of the sessions');
        this.#problem = problem;
      }
      await clock.sleep(LOOK_MS + random() * SPREAD_MS, signal);
    }
  }

  /** One look. Throws KvError, ResourceError. */
  async round(signal: AbortSignal): Promise<void> {
    const plan = this.#options.plan();
    if (plan?.wanted === undefined) {
      // The operator takes the object away.
      this.#told = undefined;
      return;
    }
    const { sessions, silent } = await this.#sessions(plan.instances);
    const instances = instanceStatuses(plan.instances, sessions);
    const problems = silent === undefined ? plan.problems : [...plan.problems, silent];
    const at = this.#options.clock.now();
    if (!this.#due(instances, problems, at)) return;
    const found = await this.#write(instances, problems, signal);
    this.#told = found ? { instances, problems, at } : undefined;
  }

  async #sessions(
    instances: BgpPlan['instances'],
  ): Promise<{ sessions: Sessions; silent?: string }> {
    const sessions = new Map<string, SpeakerSession>();
    try {
      for (const { neighbor } of instances.flatMap(({ peers }) => peers)) {
        const session = await this.#options.port.session(neighbor);
        if (session !== undefined) sessions.set(neighbor, session);
      }
      return { sessions };
    } catch (error) {
      return {
        sessions: undefined,
        silent: `the speaker does not answer: ${messageWithCauses(error)}`,
      };
    }
  }

  #due(instances: readonly InstanceStatus[], problems: readonly string[], at: number): boolean {
    const told = this.#told;
    if (told === undefined) return true;
    const past = at - told.at;
    if (past >= AGAIN_MS) return true;
    if (!deepEqual(problems, told.problems)) return true;
    if (!deepEqual(withoutCounts(instances), withoutCounts(told.instances))) return true;
    return past >= COUNTS_MS && !deepEqual(instances, told.instances);
  }

  /** False: there is no such object. */
  async #write(
    instances: readonly InstanceStatus[],
    problems: readonly string[],
    signal: AbortSignal,
  ): Promise<boolean> {
    const { node, store, wall } = this.#options;
    const ref = { name: node };
    try {
      const { status, metadata } = await store.get('CiliumBGPNodeConfig', ref, { signal });
      const conditions = withConditions(
        status?.conditions ?? [],
        [problemsCondition(problems)],
        metadata.generation,
        new Date(wall()).toISOString().replace(/\.\d+Z$/, 'Z'),
      );
      await store.patchStatus(
        'CiliumBGPNodeConfig',
        ref,
        { bgpInstances: instances, ...(conditions === undefined ? {} : { conditions }) },
        { signal },
      );
      return true;
    } catch (error) {
      if (codeOf(error) === 'not-found') return false;
      throw error;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }
}
