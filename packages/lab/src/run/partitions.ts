import { Prefix } from '@causeway/ip';
import { netnsName } from '../host/names.ts';
import { must } from '../host/process.ts';
import type { ClusterPlan } from '../plan/types.ts';
import type { LabContext } from './context.ts';

/**
 * Cuts what one cluster sends to another: on every rack where the other's machines stand, the bridge lets nothing
 * through that comes from the one's machines or pods. Nobody sees a carrier go, and the other direction stays.
 */
export class Partitions {
  readonly #context: LabContext;

  constructor(context: LabContext) {
    this.#context = context;
  }

  async cut(from: ClusterPlan, to: ClusterPlan): Promise<void> {
    const [sources, destinations] = [this.#prefixes(from), this.#prefixes(to)];
    const table = this.#table(from, to);
    const rules = (['ip', 'ip6'] as const).flatMap((family) => {
      const own = (all: readonly Prefix[]): string =>
        all.filter((each) => (Prefix.family(each) === 'ipv6') === (family === 'ip6')).join(', ');
      const [left, right] = [own(sources), own(destinations)];
      if (left === '' || right === '') return [];
      return [
        `add rule bridge ${table} forward ${family} saddr { ${left} } ${family} daddr { ${right} } drop`,
      ];
    });
    const script = [
      `add table bridge ${table}`,
      `delete table bridge ${table}`,
      `add table bridge ${table}`,
      `add chain bridge ${table} forward { type filter hook forward priority 0; }`,
      ...rules,
    ];
    await this.#onRacksOf(to, script);
  }

  /** Nothing happens where nothing is cut. */
  async mend(from: ClusterPlan, to: ClusterPlan): Promise<void> {
    const table = this.#table(from, to);
    await this.#onRacksOf(to, [`add table bridge ${table}`, `delete table bridge ${table}`]);
  }

  async #onRacksOf(cluster: ClusterPlan, script: readonly string[]): Promise<void> {
    for (const rack of this.#racks(cluster))
      await must(['ip', 'netns', 'exec', netnsName(this.#context.names, rack), 'nft', '-f', '-'], {
        input: `${script.join('\n')}\n`,
      });
  }

  #racks(cluster: ClusterPlan): string[] {
    const own = new Set(machinesOf(cluster));
    const { cables } = this.#context.state.plan;
    return [...new Set(cables.filter(({ a }) => own.has(a.place)).map(({ b }) => b.place))];
  }

  /** Addresses of the cluster's machines and ranges of its pods. */
  #prefixes(cluster: ClusterPlan): Prefix[] {
    const own = new Set(machinesOf(cluster));
    const { ipv4, ipv6 } = cluster.settings.podCIDRs;
    const machines = this.#context.state.plan.places
      .filter(({ place }) => own.has(place))
      .flatMap(({ devices }) => devices.flatMap(({ addresses }) => addresses))
      .map(({ address }) => Prefix.parse(`${address}/${address.includes(':') ? 128 : 32}`));
    const pods = [ipv4, ipv6]
      .filter((text) => text !== undefined)
      .map((text) => Prefix.parse(text));
    return [...machines, ...pods];
  }

  #table(from: ClusterPlan, to: ClusterPlan): string {
    return `cut_${from.id}_${to.id}`;
  }
}

function machinesOf({ nodes, operators, inventories, etcd }: ClusterPlan): string[] {
  return [
    ...nodes.map(({ name }) => name),
    ...[...operators, ...inventories, etcd].map(({ place }) => place),
  ];
}
