import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { writeAtomically } from '../host/files.ts';
import { nodePaths } from '../host/names.ts';
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

  protected override get command(): readonly string[] {
    return ['inventory', 'run'];
  }

  /** Whether it leads, as it says itself. */
  async leads(): Promise<boolean> {
    const status = (await this.get('/v1/status')) as { readonly leader?: unknown };
    return status.leader === true;
  }

  /** Writes a file, whole at once, into the directory that its sources of type file look at. */
  put(name: string, text: string): void {
    const directory = join(nodePaths(this.context.state.name, this.place).run, 'inventory');
    mkdirSync(directory, { recursive: true });
    writeAtomically(join(directory, name), text);
  }

  /** Writes the configuration file, as an administrator would write it. */
  async configure(etcd: LabEtcd): Promise<void> {
    this.write({
      cluster: { name: this.#cluster.name, id: this.#cluster.id },
      name: this.place.slice(this.place.indexOf('/') + 1),
      etcd: await giveStore(this.context.state.name, this.place, etcd),
      runDir: '/run/causeway',
      ...this.#cluster.settings.inventory?.config,
    });
  }
}
