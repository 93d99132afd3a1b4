import { codeOf } from '@causeway/daemon';
import { type Clock, Reconciler, type Table } from '@causeway/tables';
import { bridge, type Held } from './bridge.ts';
import type { OriginatedPath, SpeakerPort } from './speaker-port.ts';
import type { WantedRow } from './tables.ts';

/** A speaker that lost what it was told without saying so is told again after this long. */
const REFRESH_MS = 60_000;

export interface SpeakerReconcilerOptions {
  readonly table: Table<WantedRow>;
  readonly port: SpeakerPort;
  readonly clock: Clock;
  readonly random: () => number;
}

/**
 * Brings the speaker to what the table says. Configuration and paths are two requests: for the moment between
 * them the policies let out what was there as well as what is to come, so that nothing is withdrawn that stays.
 * Before the table is initialized nothing is taken away from a speaker that knows more than we do yet.
 */
export class SpeakerReconciler implements AsyncDisposable {
  readonly #options: SpeakerReconcilerOptions;
  readonly #reconciler: Reconciler<WantedRow>;
  /** Undefined: the speaker must be asked. */
  #held: Held | undefined;

  constructor(options: SpeakerReconcilerOptions) {
    this.#options = options;
    const { table, port, clock, random } = options;
    this.#reconciler = new Reconciler({
      name: 'speaker',
      table,
      clock,
      random,
      refreshInterval: REFRESH_MS,
      backoff: { min: 200, max: 10_000 },
      operations: {
        update: async (batch) => {
          for (const { row } of batch) await this.#tell(row);
        },
        delete: async () => {
          this.#held = undefined;
          await port.forget();
          this.#held = { policies: {}, paths: [] };
        },
        prune: async (rows) => {
          if (rows.length > 0) return;
          try {
            await port.forget();
            this.#held = { policies: {}, paths: [] };
          } catch (error) {
            // Where no speaker runs and none is wanted, nothing is left to take away.
            if (codeOf(error) !== 'unreachable') throw error;
          }
        },
      },
    });
  }

  get reconciler(): Reconciler<WantedRow> {
    return this.#reconciler;
  }

  /** The paths that the speaker has taken from us; undefined while that is not known. */
  get told(): readonly OriginatedPath[] | undefined {
    return this.#held?.paths;
  }

  /** The speaker is another process than before: whatever it has is looked at anew. */
  again(): void {
    this.#held = undefined;
    this.#reconciler.refresh();
  }

  async #tell({ config, paths }: WantedRow): Promise<void> {
    const { port } = this.#options;
    const held = this.#held ?? { policies: await port.policies(), paths: await port.paths() };
    // Until all is done nobody knows what the speaker has.
    this.#held = undefined;
    const between = bridge(config, paths, held);
    await port.putConfig(between ?? config);
    await port.putPaths(paths);
    if (between !== undefined) await port.putConfig(config);
    this.#held = { policies: config.policies, paths };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#reconciler[Symbol.asyncDispose]();
  }
}
