import { type Log, messageWithCauses } from '@causeway/daemon';
import type { HostEndpoint } from '@causeway/datapath';
import { type LabelFilter, type LabelSet, podLabels } from '@causeway/identity';
import type { EndpointPolicy } from '@causeway/policy';
import type { Clock } from '@causeway/tables';
import type { HealthRow } from '../api/types.ts';
import type { AgentConfig } from '../config/schema.ts';
import type { IdentityNumbers } from '../identity/resolver.ts';
import type { PolicyController } from '../policy/controller.ts';
import type { NamespaceTable } from '../sources/pods.ts';

const RETRY_MS = 1_000;
const PATIENCE_MS = 10_000;

export interface HostEndpointOptions {
  readonly config: AgentConfig;
  readonly filter: LabelFilter;
  readonly namespaces: NamespaceTable;
  readonly numbers: IdentityNumbers;
  readonly policy: Pick<PolicyController, 'setHost'>;
  /** Tells the cluster which identity the node's addresses have. */
  readonly announce: (identity: number) => void;
  readonly setEndpoint: (endpoint: HostEndpoint) => void;
  readonly clock: Clock;
  readonly log: Log;
}

/** The node itself as an endpoint, for people. */
export interface HostEndpointView {
  readonly id: number;
  readonly labels: readonly string[];
  /** Undefined until the cluster has given it a number. */
  readonly identity: number | undefined;
  readonly audit: boolean;
  readonly policy: Pick<EndpointPolicy, 'policyId' | 'revision' | 'ingress' | 'egress'> | undefined;
}

/** Beyond the numbers of pods. */
export const HOST_ENDPOINT_ID = 65_536;

/**
 * The node itself as an endpoint: its labels get an identity as a pod's do, policies that select them are in force
 * for its own traffic, and others know its addresses by it. Until its number and its policies are known the kernel
 * keeps what an earlier run said.
 */
export class HostEndpointController implements AsyncDisposable {
  readonly #options: HostEndpointOptions;
  readonly #stop = new AbortController();
  readonly #undo: () => void;
  #labels: LabelSet | undefined;
  #identity: number | undefined;
  #policy: EndpointPolicy | undefined;
  #problem: string | undefined;
  #running: Promise<void> | undefined;
  #again = false;
  #started = false;

  constructor(options: HostEndpointOptions) {
    this.#options = options;
    this.#undo = options.namespaces.onCommit(() => this.refresh());
  }

  get view(): HostEndpointView {
    return {
      id: HOST_ENDPOINT_ID,
      labels: this.#labels?.toStrings() ?? [],
      identity: this.#identity,
      audit: this.#audit,
      policy: this.#policy,
    };
  }

  health(): HealthRow {
    const { audit, identity, policy } = this.view;
    const mode = audit ? 'on trial: nothing is dropped' : 'in force';
    const detail =
      this.#problem ??
      (identity === undefined
        ? 'its identity is not known yet'
        : `identity ${identity}, ingress ${policy?.ingress ?? 'unknown'}, egress ${policy?.egress ?? 'unknown'}, ${mode}`);
    return { name: 'host-endpoint', healthy: this.#problem === undefined, detail };
  }

  /** From now on, for what no policy may cut is in the kernel. */
  start(): void {
    this.#started = true;
    this.refresh();
  }

  /** Looks at labels and number again; call it when numbers can be had, or have changed. */
  refresh(): void {
    if (!this.#started) return;
    this.#again = true;
    this.#running ??= this.#run().finally(() => {
      this.#running = undefined;
      if (this.#again && !this.#stop.signal.aborted) this.refresh();
    });
  }

  get #audit(): boolean {
    const { config } = this.#options;
    return config.hostEndpoint.audit || config.policy.auditAll;
  }

  async #run(): Promise<void> {
    const { clock, numbers, log } = this.#options;
    while (this.#again && !this.#stop.signal.aborted) {
      this.#again = false;
      const labels = this.#labelsNow();
      try {
        const patience = AbortSignal.any([this.#stop.signal, AbortSignal.timeout(PATIENCE_MS)]);
        const identity = await numbers.acquire(labels, patience);
        this.#become(labels, identity);
        this.#problem = undefined;
      } catch (error) {
        if (this.#stop.signal.aborted) return;
        this.#problem = `no identity for ${labels.text}: ${messageWithCauses(error)}`;
        log.debug({ error: this.#problem }, 'the node has no identity of its own yet');
        this.#again = true;
        await clock.sleep(RETRY_MS, this.#stop.signal).catch(() => {});
      }
    }
  }

  #labelsNow(): LabelSet {
    const { config, filter, namespaces } = this.#options;
    const { namespace, labels } = config.hostEndpoint;
    const all = podLabels({
      cluster: config.cluster.name,
      namespace,
      labels,
      namespaceLabels: namespaces.get(namespace)?.labels,
    });
    return filter.split(all).identity;
  }

  #become(labels: LabelSet, identity: number): void {
    const { numbers, policy, announce, log } = this.#options;
    if (this.#labels?.equals(labels) && this.#identity === identity) return;
    if (this.#labels !== undefined && !this.#labels.equals(labels)) numbers.release(this.#labels);
    this.#labels = labels;
    this.#identity = identity;
    log.info({ identity, labels: labels.text, audit: this.#audit }, 'the node is an endpoint');
    policy.setHost({ id: HOST_ENDPOINT_ID, identity, labels, audit: this.#audit }, (decided) => {
      this.#policy = decided;
      this.#tell();
    });
    announce(identity);
    this.#tell();
  }

  #tell(): void {
    if (this.#policy === undefined || this.#identity === undefined) return;
    const { policyId, revision, ingress, egress } = this.#policy;
    // What is on trial stands in the set itself.
    this.#options.setEndpoint({
      id: HOST_ENDPOINT_ID,
      identity: this.#identity,
      policyId,
      policyRevision: revision,
      ingress: ingress === 'enforced' ? 'enforced' : 'off',
      egress: egress === 'enforced' ? 'enforced' : 'off',
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#undo();
    this.#stop.abort();
    await this.#running;
  }
}
