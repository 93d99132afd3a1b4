import type { Log } from '@causeway/daemon';
import { type IdentityScope, NumericIdentity, scopeOf } from '@causeway/identity';
import { PolicyEngine } from '@causeway/policy';
import type { Clock } from '@causeway/tables';
import type { HealthRow } from '../api/types.ts';
import type { AgentConfig } from '../config/schema.ts';
import type { NodeDatapath } from '../datapath/ports.ts';
import type { EndpointTable } from '../endpoints/table.ts';
import {
  CidrIdentities,
  type CidrIdentityTable,
  cidrIdentityTable,
} from '../policy/cidr-identities.ts';
import { PolicyController } from '../policy/controller.ts';
import { PolicyFeed } from '../policy/feed.ts';
import { NodeIdentities, type NodeIdentitiesLinks } from '../policy/node-identities.ts';
import type { Foundation } from './foundation.ts';

export interface EnforcingOptions {
  readonly config: AgentConfig;
  readonly foundation: Foundation;
  readonly datapath: NodeDatapath;
  readonly endpoints: EndpointTable;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Log;
}

/** What a node lets through: the store's policies in, the engine that compiles them, the kernel's rows out. */
export class Enforcing implements Disposable {
  readonly engine: PolicyEngine;
  readonly controller: PolicyController;
  /** The prefixes that policies name. */
  readonly cidrs: CidrIdentityTable;
  /** Nodes that policies tell apart. */
  readonly nodes: NodeIdentities;
  readonly #feed: PolicyFeed;
  readonly #cidrsKnown;
  #others: NodeIdentitiesLinks['others'] = () => [];

  constructor(options: EnforcingOptions) {
    const { config, foundation, datapath, endpoints, clock, random, log } = options;
    this.cidrs = cidrIdentityTable(foundation.database);
    // They are known once the policies are.
    this.#cidrsKnown = this.cidrs.source('policies');
    this.engine = new PolicyEngine({
      cluster: config.cluster.name,
      families: config.families,
      defaultCluster: config.policy.defaultLocalCluster ? 'local' : 'any',
      enforcement: config.policy.enforcement,
      allowLocalhost: config.policy.allowLocalhost,
      firstRevision: firstRevision(datapath),
      nodes: () => this.#others(),
    });
    const found = [...datapath.ipcache.localIdentities()];
    const ofScope = (scope: IdentityScope) =>
      new Map(found.filter(([, identity]) => scopeOf(NumericIdentity(identity)) === scope));
    this.nodes = new NodeIdentities({
      engine: this.engine,
      found: ofScope('remote-node'),
      clock,
      random,
      log,
    });
    this.controller = new PolicyController({
      engine: this.engine,
      maps: datapath.enforcement,
      endpoints,
      cidrs: new CidrIdentities(this.cidrs, config.families.length === 2, ofScope('local-cidr')),
      nodes: this.nodes,
      auditAll: config.policy.auditAll,
      clock,
      random,
      log,
    });
    this.#feed = new PolicyFeed({
      engine: this.engine,
      controller: this.controller,
      policies: foundation.store.policies,
      cluster: foundation.cluster,
      trust: foundation.trust,
      hasHost: config.hostEndpoint.enabled,
      log,
    });
  }

  /** Before `start`: where the addresses of other nodes are found and written. */
  link(ipcache: Pick<NodeIdentitiesLinks, 'others' | 'rewrite'>): void {
    this.#others = ipcache.others;
    this.nodes.link({ ...ipcache, flush: () => this.controller.flush() });
  }

  start(signal: AbortSignal): void {
    void this.#whenKnown(signal);
  }

  /** Why the policies are not in force yet; undefined when they are. */
  waiting(): string | undefined {
    if (this.controller.synced) return undefined;
    const unread = this.#feed.unread();
    const why = unread.length === 0 ? '' : `, for these are not read: ${unread.join('; ')}`;
    return `policies are not in the kernel yet${why}`;
  }

  health(): HealthRow[] {
    return [this.controller.health(), this.#feed.health()];
  }

  async #whenKnown(signal: AbortSignal): Promise<void> {
    await this.controller.whenSynced(signal);
    if (this.controller.synced) this.#cidrsKnown.done();
  }

  [Symbol.dispose](): void {
    this.#feed[Symbol.dispose]();
    this.nodes[Symbol.dispose]();
    this.controller[Symbol.dispose]();
  }
}

/** Greater than any revision that a connection may remember a verdict under. */
function firstRevision(datapath: NodeDatapath): number {
  let last = Math.floor(Date.now() / 1000);
  for (const { policyRevision } of datapath.enforcement.endpoints()) {
    last = Math.max(last, policyRevision);
  }
  return last + 1;
}
