import type { Log, RecordKind, RecordStore } from '@causeway/daemon';
import { z } from 'zod';
import { type AgentConfig, hostLabels } from '../config/schema.ts';

const changed = z.strictObject({ audit: z.boolean().optional(), labels: hostLabels.optional() });
/** What somebody has set at the running agent, over its configuration. */
export type HostOverrides = z.infer<typeof changed>;

/** null takes a setting back to what the configuration says. */
export const hostPatchBody = z.strictObject({
  audit: z.boolean().nullable().optional(),
  labels: hostLabels.nullable().optional(),
});
export type HostPatch = z.infer<typeof hostPatchBody>;

export const hostOverridesRecord: RecordKind<HostOverrides> = {
  format: 'causeway-host-endpoint',
  version: 1,
  parse: (payload) => changed.parse(payload),
};

const RECORD = 'host-endpoint';

/**
 * Labels and mode of the node's own endpoint: the configuration's, unless the API was told others. Those outlive the
 * agent, for a restart must not put in force, or take from it, what somebody has changed meanwhile.
 */
export class HostSettings {
  readonly #configured: AgentConfig['hostEndpoint'];
  readonly #auditAll: boolean;
  readonly #store: RecordStore<HostOverrides>;
  #overrides: HostOverrides;
  /** One change after the other, each on what the one before has left. */
  #last: Promise<unknown> = Promise.resolve();

  constructor(config: AgentConfig, store: RecordStore<HostOverrides>, log: Log) {
    this.#configured = config.hostEndpoint;
    this.#auditAll = config.policy.auditAll;
    this.#store = store;
    const { records, refused } = store.load();
    for (const { error } of refused)
      log.warn({ error: error.message }, 'what was set of the host endpoint cannot be read');
    this.#overrides = records.get(RECORD) ?? {};
  }

  get audit(): boolean {
    return this.#auditAll || (this.#overrides.audit ?? this.#configured.audit);
  }

  get labels(): Readonly<Record<string, string>> {
    return this.#overrides.labels ?? this.#configured.labels;
  }

  get overrides(): HostOverrides {
    return this.#overrides;
  }

  /** In force, and kept, when it resolves. Throws DaemonError `state-write-failed`, and then nothing has changed. */
  change(patch: HostPatch): Promise<void> {
    const done = this.#last.then(async () => {
      const audit = patch.audit === undefined ? this.#overrides.audit : patch.audit;
      const labels = patch.labels === undefined ? this.#overrides.labels : patch.labels;
      const next = {
        ...(audit === undefined || audit === null ? {} : { audit }),
        ...(labels === undefined || labels === null ? {} : { labels }),
      };
      await this.#store.write(RECORD, next);
      this.#overrides = next;
    });
    this.#last = done.catch(() => {});
    return done;
  }
}
