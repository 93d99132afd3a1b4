import { type Log, messageWithCauses } from '@causeway/daemon';
import type { Prefix } from '@causeway/ip';
import {
  type NamedPort,
  type PolicyEngine,
  type PolicyKind,
  PROTOCOL,
  type Refusal,
} from '@causeway/policy';
import type { Table, TableKey } from '@causeway/tables';
import type { HealthRow } from '../api/types.ts';
import type { ClusterTables } from '../cluster/tables.ts';
import type { StoreTrust } from '../sources/trust.ts';
import type { PolicyController } from './controller.ts';
import type { PolicyTables } from './tables.ts';

export interface PolicyFeedOptions {
  readonly engine: PolicyEngine;
  readonly controller: PolicyController;
  readonly policies: PolicyTables;
  readonly cluster: ClusterTables;
  readonly trust: StoreTrust;
  /** Whether the node is an endpoint itself, for policies that select nodes. */
  readonly hasHost: boolean;
  readonly log: Log;
}

const POLICY_KINDS: readonly [keyof PolicyTables, PolicyKind][] = [
  ['networkPolicies', 'NetworkPolicy'],
  ['ciliumPolicies', 'CiliumNetworkPolicy'],
  ['clusterwidePolicies', 'CiliumClusterwideNetworkPolicy'],
];

/**
 * Tables in, engine out: policies, CIDR groups, identities and the named ports of peers. When all of
 * them have been read once the controller may take away what an earlier run left in the kernel.
 */
export class PolicyFeed implements Disposable {
  readonly #options: PolicyFeedOptions;
  readonly #steps: (() => boolean)[] = [];
  readonly #undo: (() => void)[] = [];
  readonly #stop = new AbortController();
  readonly #refusals = new Map<string, readonly Refusal[]>();
  #scheduled = false;

  constructor(options: PolicyFeedOptions) {
    this.#options = options;
    const { engine, policies, cluster } = options;
    // Identities first: a policy that names them finds them.
    this.#follow(
      cluster.identities,
      ({ id, labels }) => engine.setIdentity(id, labels),
      (id) =>
        options.trust.whenSettled(() => {
          if (cluster.identities.has(id)) return;
          engine.deleteIdentity(id);
          options.controller.schedule();
        }, this.#stop.signal),
    );
    this.#followPorts();
    this.#follow(
      policies.cidrGroups,
      (object) =>
        this.#judge(`CiliumCIDRGroup ${object.metadata.name}`, engine.applyCidrGroup(object)),
      (name) => {
        this.#refusals.delete(`CiliumCIDRGroup ${name}`);
        engine.deleteCidrGroup(name);
      },
    );
    for (const [table, kind] of POLICY_KINDS) {
      this.#follow(
        policies[table] as Table<unknown>,
        (object) =>
          this.#judge(`${kind} ${policies[table].keyOf(object as never)}`, engine.apply(object)),
        (key) => {
          this.#refusals.delete(`${kind} ${key}`);
          const slash = key.indexOf('/');
          engine.deletePolicy(
            slash < 0
              ? { kind, name: key }
              : { kind, namespace: key.slice(0, slash), name: key.slice(slash + 1) },
          );
        },
      );
    }
    this.#schedule();
  }

  /** Policies that the store holds and that are not in force, with every reason. */
  refusals(): { readonly policy: string; readonly reasons: readonly Refusal[] }[] {
    return Array.from(this.#refusals, ([policy, reasons]) => ({ policy, reasons }));
  }

  health(): HealthRow {
    const [first] = this.refusals();
    if (first === undefined) {
      const unbound = this.#options.hasHost ? [] : [...this.#options.engine.nodePolicies()];
      const nodes = unbound.length === 0 ? '' : `; no host endpoint here for ${unbound.join(', ')}`;
      const detail = `every policy in the store is in force${nodes}`;
      return { name: 'policies', healthy: true, detail };
    }
    const why = first.reasons.map(({ path, message }) => `${path} ${message}`).join('; ');
    const detail = `${this.#refusals.size} policies are refused and not in force, such as ${first.policy}: ${why}`;
    return { name: 'policies', healthy: false, detail };
  }

  #judge(
    name: string,
    parsed: { readonly ok: boolean; readonly refusals?: readonly Refusal[] },
  ): void {
    if (parsed.ok) {
      this.#refusals.delete(name);
      return;
    }
    this.#refusals.set(name, parsed.refusals ?? []);
    this.#options.log.warn(
      { policy: name, reasons: parsed.refusals },
      'a policy is refused; what was in force before stays',
    );
  }

  #follow<Row, Key extends TableKey>(
    table: Table<Row, Key> | Table<Row, Key, never>,
    put: (row: Row) => void,
    remove: (key: Key) => void,
  ): void {
    const tracker = table.changes('policy-engine', 'start');
    this.#steps.push(() => {
      let any = false;
      while (tracker.pending) {
        for (const change of tracker.take()) {
          any = true;
          try {
            if (change.type === 'put') put(change.row);
            else remove(change.key);
          } catch (error) {
            this.#options.log.error(
              { table: table.name, key: change.key, error: messageWithCauses(error) },
              'the policy engine refuses a row',
            );
          }
        }
      }
      return any;
    });
    this.#undo.push(
      table.onCommit(() => this.#schedule()),
      () => tracker[Symbol.dispose](),
    );
  }

  /** Named ports of who has an address; by far the most entries have none, and are not looked at. */
  #followPorts(): void {
    const { engine, cluster } = this.#options;
    const { ipEntries } = cluster;
    const changes = ipEntries.changes('policy-engine', 'ports');
    this.#steps.push(() => {
      const prefixes: Prefix[] = [];
      changes.take(Number.POSITIVE_INFINITY, (slot) => prefixes.push(ipEntries.prefixAt(slot)));
      for (const prefix of prefixes) {
        const { identity = 0, namedPorts = [] } = ipEntries.winner(prefix) ?? {};
        if (namedPorts.length === 0) engine.deletePeerPorts(prefix);
        else engine.setPeerPorts(prefix, identity, namedPorts.map(numbered));
      }
      return prefixes.length > 0;
    });
    this.#undo.push(
      ipEntries.onCommit(() => changes.pending > 0 && this.#schedule()),
      () => changes[Symbol.dispose](),
    );
    void ipEntries.whenInitialized(this.#stop.signal).then(
      () => this.#schedule(),
      () => {},
    );
  }

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      this.catchUp();
    });
  }

  /** Brings the engine up to the tables now. */
  catchUp(): void {
    const { controller } = this.#options;
    let any = false;
    for (const step of this.#steps) any = step() || any;
    if (!controller.synced && this.unread().length === 0) controller.sync();
    else if (any) controller.schedule();
  }

  /** Tables that have not been read once, and who was to fill them: nothing is in force before. */
  unread(): string[] {
    const { policies, cluster } = this.#options;
    const tables = [...Object.values(policies), cluster.identities].map(
      (table) => [table.name, table.pendingSources] as const,
    );
    // Which identities nodes have hangs on their labels, if a policy asks for them.
    const nodes =
      this.#options.engine.nodeKeys === undefined ? [] : cluster.mesh.nodes.pendingSources;
    return [
      ...tables,
      ['ip-entries', cluster.ipEntries.pendingSources] as const,
      ['nodes', nodes] as const,
    ]
      .filter(([, pending]) => pending.length > 0)
      .map(([name, pending]) => `${name} of ${pending.join(', ')}`);
  }

  [Symbol.dispose](): void {
    this.#stop.abort();
    for (const undo of this.#undo) undo();
  }
}

const NUMBERS = { TCP: PROTOCOL.tcp, UDP: PROTOCOL.udp, SCTP: PROTOCOL.sctp };

const numbered = (port: {
  name: string;
  port: number;
  protocol: keyof typeof NUMBERS;
}): NamedPort => ({
  name: port.name,
  port: port.port,
  protocol: NUMBERS[port.protocol],
});
