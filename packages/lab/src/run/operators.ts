import type { ClusterPlan, OperatorPlan } from '../plan/types.ts';
import type { LabContext } from './context.ts';
import type { LabEtcd } from './etcd.ts';
import { LabProgram } from './program.ts';
import { giveStore } from './store-access.ts';

/** One instance of the cluster's operator, on a machine of its own beside the store. */
export class LabOperator extends LabProgram {
  readonly #cluster: ClusterPlan;

  constructor(context: LabContext, cluster: ClusterPlan, plan: OperatorPlan) {
    super(context, plan.place, 'operator');
    this.#cluster = cluster;
  }

  /** Its name in the election: `operator-1`. */
  get instance(): string {
    return this.place.slice(this.place.indexOf('/') + 1);
  }

  /** Writes the configuration file, as an administrator would write it. */
  async configure(etcd: LabEtcd): Promise<void> {
    const { mesh, ...more } = this.#cluster.settings.operator;
    const joining =
      this.#cluster.mesh?.by === 'token' ? await etcd.guard?.joinSettings() : undefined;
    this.write({
      cluster: { name: this.#cluster.name, id: this.#cluster.id },
      name: this.instance,
      etcd: await giveStore(this.context.state.name, this.place, etcd),
      runDir: '/run/causeway',
      mesh: {
        ...(joining === undefined ? {} : { join: joining }),
        ...(mesh as object | undefined),
      },
      ...more,
    });
  }

  /** Whether it leads, as it says itself. */
  async leads(): Promise<boolean> {
    const status = (await this.get('/v1/status')) as { readonly leader?: unknown };
    return status.leader === true;
  }
}
