import { readFileSync } from 'node:fs';
import path from 'node:path';
import { type RecordKind, type RefusedFile, StateDirectory } from '@causeway/daemon';
import { z } from 'zod';
import type { BfdSession } from './bfd.ts';

/**
 * What a speaker finds again after a restart: what the owners want, as they sent it, and which sessions were
 * up. Below `<runDir>/speaker`, readable by root alone, since configurations hold secrets.
 */
export class SpeakerState {
  readonly configs: StateDirectory<unknown>;
  readonly paths: StateDirectory<readonly unknown[]>;
  readonly #sessions: StateDirectory<SessionsRecord>;
  readonly #bfd: StateDirectory<readonly BfdSession[]>;
  #written = '';

  constructor(runDir: string) {
    const directory = path.join(runDir, 'speaker');
    this.configs = new StateDirectory(path.join(directory, 'config'), configRecord);
    this.paths = new StateDirectory(path.join(directory, 'paths'), pathsRecord);
    this.#sessions = new StateDirectory(path.join(directory, 'sessions'), sessionsRecord);
    this.#bfd = new StateDirectory(path.join(directory, 'bfd'), bfdRecord);
  }

  /** The sessions of the process before this one, and files that could not be believed. */
  loadSessions(): { before: SessionsRecord | undefined; refused: RefusedFile[] } {
    const { records, refused } = this.#sessions.load();
    return { before: records.get('sessions'), refused };
  }

  async saveSessions(record: SessionsRecord): Promise<void> {
    const { savedAt: _, ...rest } = record;
    const text = JSON.stringify(rest);
    if (text === this.#written) return;
    await this.#sessions.write('sessions', record);
    this.#written = text;
  }

  /** What the BFD daemon was last told to watch. */
  loadBfd(): readonly BfdSession[] {
    return this.#bfd.load().records.get('sessions') ?? [];
  }

  async saveBfd(sessions: readonly BfdSession[]): Promise<void> {
    if (sessions.length === 0) await this.#bfd.remove('sessions');
    else await this.#bfd.write('sessions', sessions);
  }
}

const configRecord: RecordKind<unknown> = {
  format: 'causeway-speaker-config',
  version: 1,
  // Read by its schema when it is used: only then is a refusal of use to anybody.
  parse: (payload) => z.looseObject({}).parse(payload),
};

const pathsRecord: RecordKind<readonly unknown[]> = {
  format: 'causeway-speaker-paths',
  version: 1,
  // Looked at when they are used, in slices.
  parse: (payload) => z.array(z.unknown()).parse(payload),
};

const sessionsSchema = z.strictObject({
  /** The kernel's own number of this boot: routes and pods of another one are gone. */
  boot: z.string(),
  asn: z.number(),
  routerId: z.string(),
  /** Names of neighbours whose session was up, with graceful restart agreed. */
  peers: z.array(z.string()),
  /** ms since 1970. */
  savedAt: z.number(),
});
export type SessionsRecord = z.output<typeof sessionsSchema>;

const sessionsRecord: RecordKind<SessionsRecord> = {
  format: 'causeway-speaker-sessions',
  version: 1,
  parse: (payload) => sessionsSchema.parse(payload),
};

const bfdRecord: RecordKind<readonly BfdSession[]> = {
  format: 'causeway-speaker-bfd',
  version: 1,
  parse: (payload) =>
    z
      .array(z.looseObject({ remote: z.string() }))
      .parse(payload) as unknown as readonly BfdSession[],
};

export function bootId(): string {
  try {
    return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
  } catch {
    return 'unknown';
  }
}
