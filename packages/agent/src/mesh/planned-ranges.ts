import type { Prefix } from '@causeway/ip';
import type { Allowed } from '@causeway/mesh';
import {
  type AddressPlan,
  type EmptyStoreGuard,
  KindFollower,
  type ResourceStore,
  rangesOf,
} from '@causeway/resources';
import { Database, type Table } from '@causeway/tables';

export interface PlannedRangesOptions {
  readonly store: ResourceStore;
  readonly guard: EmptyStoreGuard;
  readonly own: string;
  readonly log: ConstructorParameters<typeof KindFollower>[3];
  /** What plans say of these clusters has changed. */
  readonly onChange: (clusters: readonly string[]) => void;
}

/**
 * What this cluster's AddressPlans say that other clusters have. It counts for a cluster of which they name both the pods'
 * and the nodes' ranges: of less than all that it speaks of nothing could be told to be wrong.
 */
export class PlannedRanges implements AsyncDisposable {
  readonly #plans: Table<AddressPlan, string>;
  readonly #follower: AsyncDisposable;
  readonly #undo: () => void;
  #allowed: ReadonlyMap<string, Allowed> = new Map();

  constructor({ store, guard, own, log, onChange }: PlannedRangesOptions) {
    this.#plans = new Database().table({ name: 'plans', key: ({ metadata }) => metadata.name });
    this.#follower = new KindFollower(
      store,
      {
        kind: 'AddressPlan',
        table: this.#plans,
        row: (plan) => plan,
        key: (_: string | undefined, name: string) => name,
      },
      guard,
      log,
    );
    this.#undo = this.#plans.onCommit(() => {
      const before = this.#allowed;
      this.#allowed = allowedBy(this.#plans.rows(), own);
      const names = new Set([...before.keys(), ...this.#allowed.keys()]);
      const changed = [...names].filter(
        (name) => textOf(before.get(name)) !== textOf(this.#allowed.get(name)),
      );
      if (changed.length > 0) onChange(changed);
    });
  }

  of(cluster: string): Allowed | undefined {
    return this.#allowed.get(cluster);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#undo();
    await this.#follower[Symbol.asyncDispose]();
  }
}

function allowedBy(plans: Iterable<AddressPlan>, own: string): ReadonlyMap<string, Allowed> {
  const planned = [...plans]
    .sort((a, b) => (a.metadata.name < b.metadata.name ? -1 : 1))
    .flatMap((plan) => rangesOf(plan).map((range) => ({ ...range, plan: plan.metadata.name })));
  const clusters = Map.groupBy(planned, ({ scope }) => scope.cluster);
  const allowed = new Map<string, Allowed>();
  for (const [cluster, ranges] of clusters) {
    const uses = new Set(ranges.map(({ use }) => use));
    if (cluster === undefined || cluster === own || !uses.has('pods') || !uses.has('nodes'))
      continue;
    const names = [...new Set(ranges.map(({ plan }) => plan))].join(', ');
    const by = `what AddressPlan ${names} names for cluster ${cluster}`;
    const cidrs = new Set<Prefix>(ranges.map(({ cidr }) => cidr));
    allowed.set(cluster, { ranges: [...cidrs], by });
  }
  return allowed;
}

const textOf = (allowed: Allowed | undefined): string | undefined =>
  allowed && `${allowed.by} ${allowed.ranges.join()}`;
