/** The station without sockets, on a history in a directory of its own, with a clock that the test moves. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  type CloseReason,
  History,
  Station,
  type StationEvent,
  type StationLimits,
} from '../index.ts';
import { Router } from '../src/routers/router.ts';

export const LIMITS: StationLimits = {
  routers: 10,
  peersPerRouter: 200,
  routes: 1_000_000,
  messageBytes: 65_536,
};

export class Rig implements Disposable {
  readonly directory = mkdtempSync(join(tmpdir(), `cw-bmp-${process.pid}-`));
  readonly events: StationEvent[] = [];
  readonly hungUp: Router[] = [];
  now = 1_800_000_000_000;
  station!: Station;
  #history: History | undefined;
  readonly #limits: Partial<StationLimits>;

  constructor(limits: Partial<StationLimits> = {}) {
    this.#limits = limits;
    this.restart();
  }

  /** Another station on the same history. */
  restart(): void {
    this.#history?.[Symbol.dispose]();
    const { history } = History.open(
      join(this.directory, 'history.sqlite'),
      { rows: 100_000, bytes: 1 << 30, days: 30 },
      this.now,
    );
    this.#history = history;
    this.station = new Station({
      limits: { ...LIMITS, ...this.#limits },
      faults: { gap: 2000, span: 30_000, sessions: 4096, faults: 100 },
      history,
      onEvent: (event) => this.events.push(event),
      hangUp: (router) => {
        this.hungUp.push(router);
        this.station.closed(router, router.closing ?? { code: 'stopping' }, this.now);
      },
    });
  }

  connect(address: string): Router {
    const router = this.station.accept(address, 40_000, this.now);
    if (!(router instanceof Router)) throw new Error(`refused: ${router.code}`);
    return router;
  }

  /** Bytes of a router's; closes it as the sockets would. */
  feed(router: Router, ...frames: readonly Uint8Array[]): CloseReason | undefined {
    for (const frame of frames) {
      const reason = router.receive(frame, this.now);
      if (reason === undefined) continue;
      this.station.closed(router, reason, this.now);
      return reason;
    }
    return undefined;
  }

  /** Time passes, in ticks as the daemon has them. */
  pass(ms: number): void {
    for (let left = ms; left > 0; left -= 250) {
      this.now += Math.min(250, left);
      this.station.tick(this.now);
    }
  }

  ofType(type: string): StationEvent[] {
    return this.events.filter((event) => event.type === type);
  }

  [Symbol.dispose](): void {
    this.#history?.[Symbol.dispose]();
    rmSync(this.directory, { recursive: true, force: true });
  }
}
