import { createHash, randomFillSync } from 'node:crypto';
import { type EventFd, type Netns, PollSet, type Preference } from '@causeway/linux';
import { type BfdEffect, BfdEngine } from '../engine.ts';
import type { SessionRow } from '../row.ts';
import { drawSeal, type Seal } from '../seal.ts';
import type { Session } from '../session.ts';
import { arrivalOf, now } from './clock.ts';
import { type Events, rowsInOneTurn } from './events.ts';
import type { Command, LoopFigures, PlainError, ThreadStatus } from './messages.ts';
import { filterInlets, type Inlet, Outlets, openInlets } from './sockets.ts';

/** Microseconds. Also how long the end of the process may have to wait for this thread. */
const longestWait = 500_000;
/** Datagrams of one socket in one turn: what comes faster is a flood, and packets must go out meanwhile. */
const mostBatches = 32;

export interface LoopOptions {
  readonly ns: Netns | undefined;
  readonly limit: number | undefined;
  readonly preference: Preference;
  readonly wake: EventFd;
  readonly nextCommand: () => Command | undefined;
  readonly part: (id: number, rows: readonly SessionRow[]) => void;
  readonly answer: (id: number, value: unknown) => void;
  readonly refuse: (id: number, error: PlainError) => void;
  readonly events: (problemOf: Outlets['problemOf']) => Events;
}

/**
 * The thread's whole life: wait until something came or is due, take all that came, do what is due.
 * It decides nothing; it blocks, so it has a thread of its own.
 */
export class Loop implements Disposable {
  readonly #options: LoopOptions;
  readonly #engine: BfdEngine;
  /** Drawn anew by each process. */
  readonly #seal: Seal;
  readonly #inlets: readonly Inlet[];
  readonly #outlets: Outlets;
  readonly #events: Events;
  readonly #poll: PollSet;
  readonly #datagram = {
    bytes: new Uint8Array(0),
    length: 0,
    hops: 'single' as Inlet['hops'],
    ttl: 0,
    source: new Uint8Array(0),
    destination: new Uint8Array(0),
    ifindex: 0,
  };
  /** Everything that came before this was received. */
  #heardUntil = now();
  #stop: number | undefined;
  readonly #listings: { readonly id: number; readonly rest: Session[] }[] = [];
  readonly #figures: { -readonly [K in keyof LoopFigures]: LoopFigures[K] } = {
    wakes: 0,
    latestWake: 0,
    lateOver5ms: 0,
    lateOver50ms: 0,
    longestTurn: 0,
    faults: 0,
  };

  constructor(options: LoopOptions) {
    this.#options = options;
    const random = randomNumbers();
    this.#seal = drawSeal(random);
    this.#engine = new BfdEngine({
      random,
      seal: this.#seal,
      digest: (algorithm, bytes) => createHash(algorithm).update(bytes).digest(),
      ...(options.limit === undefined ? {} : { limit: options.limit }),
    });
    this.#inlets = openInlets(options.ns);
    this.#outlets = new Outlets(options.ns);
    this.#events = options.events((session) => this.#outlets.problemOf(session));
    this.#poll = new PollSet([
      options.wake.fd.number,
      ...this.#inlets.map(({ receiver }) => receiver.fd.number),
    ]);
  }

  /** Returns once told to stop; a turn that fails is counted and the next one begun. */
  run(): void {
    while (this.#stop === undefined) {
      try {
        this.#turn();
      } catch (error) {
        this.#figures.faults++;
        this.#figures.lastFault = (error as Error).stack ?? String(error);
        // Were it to fail for ever, it must not do so at full speed in real time.
        new PollSet([]).wait(10_000);
      }
    }
    this.#sayGoodbye();
    this.#options.answer(this.#stop, undefined);
  }

  #turn(): void {
    const due = this.#engine.deadline;
    const work = this.#listings.length > 0 || this.#events.waiting;
    const next = work ? 0 : Math.min(due, this.#outlets.nextAttempt);
    this.#poll.wait(Math.min(next - now(), longestWait));
    const woken = now();
    this.#noteWake(woken - due);
    if (this.#poll.ready(0)) this.#takeCommands();
    this.#heardUntil = this.#drain();
    this.#openSockets();
    this.#do(this.#engine.advance(now(), this.#heardUntil));
    this.#events.flush();
    this.#list();
    this.#figures.longestTurn = Math.max(this.#figures.longestTurn, (now() - woken) / 1000);
  }

  #noteWake(late: number): void {
    const figures = this.#figures;
    figures.wakes++;
    if (late <= 0) return;
    figures.latestWake = Math.max(figures.latestWake, late / 1000);
    if (late > 5000) figures.lateOver5ms++;
    if (late > 50_000) figures.lateOver50ms++;
  }

  /**
   * Receives what is queued. Returns the time up to which nothing can be in the queue any more: now, or
   * the last datagram's arrival where a flood has left some behind.
   */
  #drain(): number {
    const began = now();
    let heard = began;
    for (const { receiver, hops } of this.#inlets) {
      let last = this.#heardUntil;
      for (let batches = 0; ; batches++) {
        if (batches === mostBatches) {
          heard = Math.min(heard, last);
          break;
        }
        const count = receiver.receive();
        for (let i = 0; i < count; i++) {
          const received = receiver.datagram(i);
          last = arrivalOf(received.receivedAt, this.#heardUntil, began);
          const datagram = this.#datagram;
          datagram.bytes = received.bytes as Uint8Array<ArrayBuffer>;
          datagram.length = received.length;
          datagram.hops = hops;
          datagram.ttl = received.ttl;
          datagram.source = received.source as Uint8Array<ArrayBuffer>;
          datagram.destination = received.destination as Uint8Array<ArrayBuffer>;
          datagram.ifindex = received.ifindex;
          this.#do(this.#engine.receive(datagram, last));
        }
        if (count < receiver.batch) break;
      }
    }
    return heard;
  }

  #do(effects: readonly BfdEffect[]): void {
    for (const effect of effects) {
      switch (effect.type) {
        case 'send':
          this.#outlets.send(effect.session, effect.bytes);
          break;
        case 'changed':
          this.#events.changed(effect.session, effect.change);
          break;
        case 'removed':
          this.#outlets.forget(effect.session);
          this.#events.removed(effect.session);
          break;
        default:
          effect satisfies never;
      }
    }
  }

  #openSockets(): void {
    const at = now();
    if (this.#outlets.nextAttempt > at) return;
    this.#outlets.openSome(at, (session, news) => {
      if (this.#outlets.problemOf(session) === undefined) this.#engine.hurry(session, at);
      if (news) this.#events.current(session);
    });
  }

  #takeCommands(): void {
    this.#options.wake.clear();
    for (;;) {
      const command = this.#options.nextCommand();
      if (command === undefined) return;
      try {
        this.#command(command);
      } catch (error) {
        this.#options.refuse(command.id, plainError(error));
      }
    }
  }

  #command(command: Command): void {
    const { answer } = this.#options;
    switch (command.type) {
      case 'configure': {
        const { results, effects } = this.#engine.configure(command.sessions, now());
        filterInlets(this.#inlets, this.#seal, this.#engine.sessions());
        for (const session of this.#engine.sessions()) this.#outlets.await(session);
        this.#openSockets();
        this.#do(effects);
        for (const [key, result] of results) {
          const session = this.#engine.session(key);
          if (session !== undefined && result !== 'unchanged') this.#events.current(session);
        }
        answer(command.id, { results: [...results].map(([key, result]) => ({ key, result })) });
        break;
      }
      case 'sessions':
        this.#listings.push({ id: command.id, rest: [...this.#engine.sessions()] });
        break;
      case 'status':
        answer(command.id, this.#status());
        break;
      case 'stop':
        this.#stop = command.id;
        break;
      default:
        command satisfies never;
    }
  }

  /** A turn's worth of the rows that were asked for. */
  #list(): void {
    const listing = this.#listings[0];
    if (listing === undefined) return;
    const { id, rest } = listing;
    const rows = rest.splice(0, rowsInOneTurn).map((session) => this.#events.row(session));
    this.#options.part(id, rows);
    if (rest.length > 0) return;
    this.#listings.shift();
    this.#options.answer(id, undefined);
  }

  #status(): ThreadStatus {
    const sessions = [...this.#engine.sessions()];
    return {
      sessions: sessions.length,
      up: sessions.filter(({ state }) => state === 'up').length,
      preference: this.#options.preference,
      discarded: { ...this.#engine.discards },
      droppedByKernel: this.#inlets.reduce((sum, { receiver }) => sum + receiver.dropped, 0),
      loop: { ...this.#figures },
    };
  }

  /**
   * The peers hear AdminDown, so that a restart of this process is no fault of the path to them. Three
   * times, as this cannot wait a Detection Time for one that got lost.
   */
  #sayGoodbye(): void {
    const { effects } = this.#engine.configure([], now());
    const last = effects.flatMap((effect) =>
      effect.type === 'send' ? [{ session: effect.session, bytes: effect.bytes.slice() }] : [],
    );
    for (let times = 0; times < 3; times++) {
      if (times > 0) new PollSet([]).wait(10_000);
      for (const { session, bytes } of last) this.#outlets.send(session, bytes);
    }
  }

  [Symbol.dispose](): void {
    for (const { receiver } of this.#inlets) receiver.close();
    this.#outlets[Symbol.dispose]();
  }
}

/** Unpredictable, and without asking the kernel for each. */
function randomNumbers(): () => number {
  const pool = new Uint32Array(1024);
  let at = pool.length;
  return () => {
    if (at === pool.length) {
      randomFillSync(pool);
      at = 0;
    }
    return pool[at++]!;
  };
}

export function plainError(error: unknown): PlainError {
  const { message, code, field, value, hint } = error as Error & Partial<PlainError>;
  return {
    code: typeof code === 'string' ? code : 'internal',
    message,
    ...(field === undefined ? {} : { field }),
    ...(value === undefined ? {} : { value }),
    ...(hint === undefined ? {} : { hint }),
  };
}
