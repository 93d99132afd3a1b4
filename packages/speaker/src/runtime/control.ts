import { setImmediate, setTimeout } from 'node:timers/promises';
import type { OriginatedPath } from '@causeway/bgp';
import type { EventStreams, Log } from '@causeway/daemon';
import { messageWithCauses } from '@causeway/daemon';
import type { RtSocket } from '@causeway/linux';
import { type Owned, readOwner, settingsOf } from '../config/owners.ts';
import { redact } from '../config/redact.ts';
import type { Settings } from '../config/settings.ts';
import { SpeakerError } from '../errors.ts';
import type { KernelObserver } from '../kernel/observer.ts';
import { checkPaths, readPaths } from '../paths.ts';
import { planRestart } from '../restart.ts';
import { bootId, type SpeakerState } from '../state.ts';
import { type EventView, eventView } from '../views/event.ts';
import { Engine, emptied } from './engine.ts';
import type { ChangeRow } from './neighbours.ts';
import type { TargetFinder } from './targets.ts';

/** The owner of what `--config FILE` says. */
export const FILE_OWNER = 'file';

/**
 * Sessions that are up are written down at once, for who dies in the next moment. The next write waits so many
 * times as long as the last one took: a crowd of sessions makes few writes, and one session none that waits.
 */
const SESSIONS_PAUSE = 4;
const SESSIONS_LONGEST_MS = 100;

export interface ControlOptions {
  readonly state: SpeakerState;
  readonly socket: RtSocket;
  readonly observer: KernelObserver;
  readonly targets: TargetFinder;
  readonly log: Log;
  readonly events: EventStreams<EventView>;
  readonly hostname: string;
  readonly defaultBfdSocket: string;
}

/**
 * What the owners want, kept on disk and made true. Requests are done one after the other; one that is refused
 * changes nothing.
 */
export class Control implements AsyncDisposable {
  readonly #options: ControlOptions;
  readonly #configs = new Map<string, Owned>();
  readonly #paths = new Map<string, readonly OriginatedPath[]>();
  #engine: Engine | undefined;
  #queue: Promise<unknown> = Promise.resolve();
  #saving: Promise<void> | undefined;
  #unsaved = false;
  readonly #ending = new AbortController();

  constructor(options: ControlOptions) {
    this.#options = options;
  }

  /** Absent: nobody has said yet what AS we are in. */
  get engine(): Engine | undefined {
    return this.#engine;
  }

  /**
   * Takes up what the process before this one had. A record that cannot be believed, or makes no sense with
   * the others any more, is set aside or left out, and said so; the rest is used.
   * @throws when the file's configuration is bad: whoever starts us shall know.
   */
  async restore(file: unknown): Promise<void> {
    const { state, log } = this.#options;
    const configs = state.configs.load();
    const paths = state.paths.load();
    const sessions = state.loadSessions();
    for (const { name, error } of [...configs.refused, ...paths.refused, ...sessions.refused])
      log.error({ file: name, error: messageWithCauses(error) }, 'a state file was set aside');

    if (file !== undefined) {
      this.#configs.set(FILE_OWNER, await readOwner(FILE_OWNER, file));
      settingsOf(this.#configs);
    }
    for (const [owner, raw] of configs.records) {
      if (owner === FILE_OWNER) continue;
      try {
        const owned = await readOwner(owner, raw);
        settingsOf(new Map(this.#configs).set(owner, owned));
        this.#configs.set(owner, owned);
      } catch (error) {
        log.error({ owner, error: messageWithCauses(error) }, 'a kept configuration is left out');
      }
    }
    // It is in the next start's file again, or it is not wanted any more.
    await state.configs.remove(FILE_OWNER);
    for (const [owner, raw] of paths.records) {
      try {
        const read = await readPaths(raw);
        checkPaths(owner, read);
        this.#paths.set(owner, read);
      } catch (error) {
        log.error({ owner, error: messageWithCauses(error) }, 'kept paths are left out');
      }
    }
    const settings = settingsOf(this.#configs);
    if (settings !== undefined) await this.#start(settings, sessions.before);
  }

  /** @throws DaemonError `bad-config`, SpeakerError `conflict`, `listen-failed`, `invalid-config`. */
  putConfig(owner: string, raw: unknown): Promise<ChangeRow[]> {
    return this.#inTurn(async () => {
      if (owner === FILE_OWNER) refuseFileOwner();
      const owned = await readOwner(owner, raw);
      const candidate = new Map(this.#configs).set(owner, owned);
      const settings = settingsOf(candidate);
      using staged = this.#options.state.configs.stage(owner, raw);
      const changes = await this.#apply(settings);
      this.#configs.set(owner, owned);
      staged.commit();
      this.#told(owner, changes);
      return changes;
    });
  }

  deleteConfig(owner: string): Promise<ChangeRow[]> {
    return this.#inTurn(async () => {
      if (owner === FILE_OWNER) refuseFileOwner();
      const candidate = new Map(this.#configs);
      if (!candidate.delete(owner)) return [];
      const changes = await this.#apply(settingsOf(candidate));
      this.#configs.delete(owner);
      await this.#options.state.configs.remove(owner);
      this.#told(owner, changes);
      return changes;
    });
  }

  /** As it was sent, but for its secrets. */
  config(owner: string): unknown {
    const owned = this.#configs.get(owner);
    return owned && redact(owned.raw);
  }

  configs(): { owner: string; neighbors: number; dynamicNeighbors: number; policies: number }[] {
    return Array.from(this.#configs, ([owner, { config }]) => ({
      owner,
      neighbors: config.neighbors.length,
      dynamicNeighbors: config.dynamicNeighbors.length,
      policies: Object.keys(config.policies).length,
    }));
  }

  /** @throws SpeakerError `bad-request`. */
  putPaths(
    owner: string,
    raw: unknown,
  ): Promise<{ added: number; changed: number; removed: number }> {
    return this.#inTurn(async () => {
      const paths = await readPaths(raw);
      const removed = this.#paths.get(owner)?.length ?? 0;
      const known = this.#paths.has(owner);
      if (this.#engine === undefined) checkPaths(owner, paths);
      using staged = this.#options.state.paths.stage(owner, paths);
      const change = this.#engine?.setPaths(owner, paths);
      this.#paths.set(owner, paths);
      const same = change !== undefined && change.added + change.changed + change.removed === 0;
      if (!same || !known) staged.commit();
      return change ?? { added: paths.length, changed: 0, removed };
    });
  }

  deletePaths(owner: string): Promise<{ added: number; changed: number; removed: number }> {
    return this.#inTurn(async () => {
      const removed = this.#paths.get(owner)?.length ?? 0;
      this.#engine?.setPaths(owner, []);
      this.#paths.delete(owner);
      await this.#options.state.paths.remove(owner);
      return { added: 0, changed: 0, removed };
    });
  }

  paths(owner: string): readonly OriginatedPath[] | undefined {
    return this.#paths.get(owner);
  }

  pathOwners(): { owner: string; paths: number }[] {
    return Array.from(this.#paths, ([owner, paths]) => ({ owner, paths: paths.length }));
  }

  /** @throws SpeakerError `not-configured`. */
  running(): Engine {
    if (this.#engine !== undefined) return this.#engine;
    throw new SpeakerError('not-configured', 'nobody has told the speaker yet what it is', {
      hint: 'PUT /v1/config/:owner with asn and routerId, or start it with a file that has `bgp`',
    });
  }

  /** Ends as Engine does. After `shutdown` the next process does not count as a restart. */
  async end(how: 'detach' | 'shutdown', text?: string): Promise<void> {
    await this.#queue;
    this.#ending.abort();
    await this.#saving;
    if (this.#engine === undefined) return;
    // The record is what was up before we hung up.
    await this.#saveSessions(how === 'shutdown');
    const engine = this.#engine;
    this.#engine = undefined;
    await engine.end(how, text);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.end('detach');
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const mine = this.#queue.then(work, work);
    this.#queue = mine.catch(() => {});
    return mine;
  }

  async #apply(settings: Settings | undefined): Promise<ChangeRow[]> {
    if (this.#engine !== undefined)
      return this.#engine.apply(settings ?? withoutAnything(this.#engine.settings));
    return settings === undefined ? [] : this.#start(settings, undefined);
  }

  async #start(
    settings: Settings,
    before: Parameters<typeof planRestart>[0],
  ): Promise<ChangeRow[]> {
    const { state, log, events, ...rest } = this.#options;
    const restart = planRestart(before, settings, bootId());
    if (restart !== undefined)
      log.info({ expected: restart.expected.length }, 'this is a restart: sessions were up');
    const engine = new Engine({
      ...rest,
      settings,
      restart,
      log,
      events,
      carriedBfd: state.loadBfd(),
      onBfdAccepted: (sessions) => void state.saveBfd(sessions).catch(() => {}),
      onSessions: () => this.#sessionsChanged(),
    });
    this.#engine = engine;
    try {
      // Before the first session: End-of-RIB must not come without them.
      for (const [owner, paths] of this.#paths) engine.setPaths(owner, paths);
      const changes = await engine.apply(settings);
      engine.startBfd();
      return changes;
    } catch (error) {
      this.#engine = undefined;
      await engine[Symbol.asyncDispose]();
      throw error;
    }
  }

  #told(owner: string, changes: readonly ChangeRow[]): void {
    const changed = changes.filter(({ change }) => change !== 'unchanged').length;
    this.#options.log.info({ owner, changed }, 'configuration');
    this.#options.events.publish(eventView({ type: 'config', owner, changed }, performance.now()));
  }

  #sessionsChanged(): void {
    this.#unsaved = true;
    this.#saving ??= this.#keepSaving();
  }

  async #keepSaving(): Promise<void> {
    // Not from within the core's call.
    await setImmediate();
    const { signal } = this.#ending;
    while (this.#unsaved && !signal.aborted) {
      this.#unsaved = false;
      const began = performance.now();
      await this.#saveSessions(false).catch((error: unknown) =>
        this.#options.log.error({ error: messageWithCauses(error) }, 'cannot write down sessions'),
      );
      const pause = Math.min(SESSIONS_PAUSE * (performance.now() - began), SESSIONS_LONGEST_MS);
      await setTimeout(pause, undefined, { signal }).catch(() => {});
    }
    this.#saving = undefined;
  }

  async #saveSessions(none: boolean): Promise<void> {
    const engine = this.#engine;
    if (engine === undefined) return;
    const { asn, routerId } = engine.settings;
    // While we are restarting, those that have not come back yet keep our routes still.
    const waiting = engine.core.counters().deferring ? (engine.restart?.expected ?? []) : [];
    const up = engine.core
      .peers()
      .filter(
        ({ state, negotiated }) =>
          state === 'established' && negotiated?.gracefulRestart !== undefined,
      )
      .map(({ name }) => name);
    await this.#options.state.saveSessions({
      boot: bootId(),
      asn,
      routerId,
      peers: none ? [] : [...new Set([...up, ...waiting])].sort(),
      savedAt: Date.now(),
    });
  }
}

function refuseFileOwner(): never {
  throw new SpeakerError('conflict', 'this configuration comes from the file', {
    field: 'owner',
    value: FILE_OWNER,
    hint: 'change the file and restart the speaker, or use another owner',
  });
}

const withoutAnything = (settings: Settings): Settings => ({
  ...emptied(settings),
  library: { policies: {}, prefixSets: {}, communitySets: {}, asPathSets: {} },
  kernel: { ...settings.kernel, mode: 'none' },
});
