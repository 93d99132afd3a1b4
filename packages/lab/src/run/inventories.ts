import type { ClusterPlan, OperatorPlan } from '../plan/types.ts';
import type { LabContext } from './context.ts';
import type { LabEtcd } from './etcd.ts';
import { LabProgram } from './program.ts';
import { giveStore } from './store-access.ts';

/** One instance of `causeway inventory`, on a machine of its own beside its store. */
export class LabInventory extends LabProgram {
  readonly #cluster: ClusterPlan;

  constructor(context: LabContext, cluster: ClusterPlan, plan: OperatorPlan) {
    super(context, plan.place, 'inventory');
    this.#cluster = cluster;
  }

  /** Writes the configuration file, as an administrator would write it. */
  configure(etcd: LabEtcd): void {
    this.write({
      cluster: { name: this.#cluster.name, id: this.#cluster.id },
      name: this.place.slice(this.place.indexOf('/') + 1),
      etcd: giveStore(this.context.state.name, this.place, etcd),
      runDir: '/run/causeway',
      ...this.#cluster.settings.inventory?.config,
    });
  }
}
