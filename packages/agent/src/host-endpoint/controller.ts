import { type Log, messageWithCauses } from '@causeway/daemon';
import type { HostEndpoint } from '@causeway/datapath';
import { LABEL_SOURCES, type LabelFilter, LabelSet, label, podLabels } from '@causeway/identity';
import type { EndpointPolicy, PolicyEngine } from '@causeway/policy';
import type { Clock } from '@causeway/tables';
import type { HealthRow } from '../api/types.ts';
import type { AgentConfig } from '../config/schema.ts';
import type { IdentityNumbers } from '../identity/resolver.ts';
import type { PolicyController } from '../policy/controller.ts';
import type { NamespaceTable } from '../sources/pods.ts';
import type { HostOverrides, HostPatch, HostSettings } from './settings.ts';

const RETRY_MS = 1_000;
const PATIENCE_MS = 10_000;

export interface HostEndpointOptions {
  readonly config: AgentConfig;
  readonly settings: HostSettings;
  /** Those of this Node in the store; `follow` calls back after they changed. */
  readonly node: {
    readonly labels: () => Readonly<Record<string, string>>;
    readonly follow: (changed: () => void) => () => void;
  };
  readonly engine: Pick<PolicyEngine, 'nodePolicies'>;
  readonly filter: LabelFilter;
  readonly namespaces: NamespaceTable;
  readonly numbers: IdentityNumbers;
  readonly policy: Pick<PolicyController, 'setHost'>;
  /** Tells the cluster which identity the node's addresses have. */
  readonly announce: (identity: number) => void;
  /** `on-trial`: it has no number yet, and what an earlier run enforced is to end. */
  readonly setEndpoint: (endpoint: HostEndpoint | 'on-trial') => void;
  readonly clock: Clock;
  readonly log: Log;
}

/** The node itself as an endpoint, for people. */
export interface HostEndpointView {
  readonly id: number;
  readonly labels: readonly string[];
  /** Those it is to have, while they have no number yet; undefined if `labels` are they. */
  readonly pendingLabels: readonly string[] | undefined;
  /** Of its Node: what policies for nodes select it by. */
  readonly nodeLabels: readonly string[];
  /** Undefined until the cluster has given it a number. */
  readonly identity: number | undefined;
  readonly audit: boolean;
  /** What the API has set over the configuration. */
  readonly changed: HostOverrides;
  /** Policies for nodes that select this one. */
  readonly nodePolicies: readonly string[];
  readonly policy: Pick<EndpointPolicy, 'policyId' | 'revision' | 'ingress' | 'egress'> | undefined;
}

/** Beyond the numbers of pods. */
export const HOST_ENDPOINT_ID = 65_536;

const REMOTE_NODE = label(LABEL_SOURCES.reserved, 'remote-node');

/** A Node's labels as policies for nodes see them: all of them, as in Cilium, which says of each that it is a host. */
export const nodeLabelsOf = (labels: Readonly<Record<string, string>>): LabelSet =>
  LabelSet.of([
    label(LABEL_SOURCES.reserved, 'host'),
    ...Object.entries(labels).map(([key, value]) => label(LABEL_SOURCES.k8s, key, value)),
  ]);

/**
 * The node itself as an endpoint: its labels get an identity as a pod's do, policies that select them are in force
 * for its own traffic, and others know its addresses by it. Until its number and its policies are known the kernel
 * keeps what an earlier run said, but for enforcing it where the node is on trial by now.
 */
export class HostEndpointController implements AsyncDisposable {
  readonly #options: HostEndpointOptions;
  readonly #stop = new AbortController();
  readonly #undo: readonly (() => void)[];
  #labels: LabelSet | undefined;
  #nodeLabels = LabelSet.of([]);
  #audit = true;
  #identity: number | undefined;
  #policy: EndpointPolicy | undefined;
  #problem: string | undefined;
  #running: Promise<void> | undefined;
  #again = false;
  #started = false;

  constructor(options: HostEndpointOptions) {
    this.#options = options;
    const refresh = () => this.refresh();
    this.#undo = [options.namespaces.onCommit(refresh), options.node.follow(refresh)];
  }

  get view(): HostEndpointView {
    const { settings, engine } = this.#options;
    const wanted = this.#labelsNow();
    return {
      id: HOST_ENDPOINT_ID,
      labels: this.#labels?.toStrings() ?? [],
      pendingLabels: this.#labels?.equals(wanted) ? undefined : wanted.toStrings(),
      nodeLabels: this.#nodeLabels.toStrings(),
      identity: this.#identity,
      audit: this.#audit,
      changed: settings.overrides,
      nodePolicies: [
        ...engine.nodePolicies({ labels: this.#nodeLabels, nodeLabels: this.#nodeLabels }),
      ],
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
    this.#takeMode();
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

  /**
   * Changes labels or mode of the running endpoint. It does not wait for the store: labels take the place of others
   * once they have a number (`view.pendingLabels` until then). Throws DaemonError `state-write-failed`.
   */
  async change(patch: HostPatch): Promise<void> {
    await this.#options.settings.change(patch);
    this.#takeMode();
    this.refresh();
  }

  /**
   * Without the store, for the trial is the way out for who has locked himself out of it. To be in force waits for
   * labels that are under way: their policies are meant, not those of the labels that go.
   */
  #takeMode(): void {
    const { settings, setEndpoint } = this.#options;
    const labels = this.#labels;
    if (labels === undefined || this.#identity === undefined) {
      // An earlier run's policies may be what keeps the store, and so the number, away.
      if (settings.audit && this.#started) setEndpoint('on-trial');
      return;
    }
    if (settings.audit || labels.equals(this.#labelsNow())) this.#become(labels, this.#identity);
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
    const { config, filter, namespaces, settings } = this.#options;
    const { namespace } = config.hostEndpoint;
    const all = podLabels({
      cluster: config.cluster.name,
      namespace,
      labels: settings.labels,
      namespaceLabels: namespaces.get(namespace)?.labels,
    });
    // Others go on to know it as a node: policies that let nodes in or out mean it, too.
    return LabelSet.of([...filter.split(all).identity, REMOTE_NODE]);
  }

  #become(labels: LabelSet, identity: number): void {
    const { numbers, policy, announce, log, settings, node } = this.#options;
    const nodeLabels = nodeLabelsOf(node.labels());
    const { audit } = settings;
    const same = this.#labels?.equals(labels) && this.#nodeLabels.equals(nodeLabels);
    if (same && this.#identity === identity && this.#audit === audit) return;
    if (this.#labels !== undefined && !this.#labels.equals(labels)) numbers.release(this.#labels);
    this.#labels = labels;
    this.#identity = identity;
    this.#nodeLabels = nodeLabels;
    this.#audit = audit;
    log.info({ identity, labels: labels.text, audit }, 'the node is an endpoint');
    policy.setHost({ id: HOST_ENDPOINT_ID, identity, labels, nodeLabels, audit }, (decided) => {
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
    for (const undo of this.#undo) undo();
    this.#stop.abort();
    await this.#running;
  }
}
