import type { Connection } from './connection.ts';
import { timed } from './turns.ts';

/** Bytes that one connection may be given in one turn of the event loop. */
const turnBytes = 256 * 1024;
const produceBytes = 64 * 1024;
/** Ms that news may be gathered before it is written. */
const longestPauseMs = 300;

interface WritingContext {
  readonly now: () => number;
  readonly isOpen: (connection: Connection) => boolean;
  /** UPDATEs for a neighbour, about so many bytes; none: it has all. */
  readonly produce: (
    connection: Connection,
    maxBytes: number,
    now: number,
  ) => readonly Uint8Array[];
  /** The socket takes no more. */
  readonly onBlocked: (connection: Connection) => void;
  readonly turnSoon: () => void;
}

/** What goes out: the core's messages at once, UPDATEs when a socket has room and its turn comes. */
export class Writing {
  readonly #context: WritingContext;
  readonly #corked: Connection[] = [];
  readonly #waiting: Connection[] = [];
  /** Connections being asked for UPDATEs, and what it took so far, ms. */
  #round: Connection[] = [];
  #roundTook = 0;
  #nextRound = 0;
  #pause: NodeJS.Timeout | undefined;

  constructor(context: WritingContext) {
    this.#context = context;
  }

  write(connection: Connection, bytes: Uint8Array): void {
    const { socket } = connection;
    if (!connection.corked) {
      // What one call of the core says goes out in one segment.
      if (this.#corked.length === 0) process.nextTick(() => this.uncork());
      connection.corked = true;
      socket.cork();
      this.#corked.push(connection);
    }
    socket.write(bytes);
  }

  uncork(): void {
    for (const connection of this.#corked.splice(0)) {
      if (!connection.corked) continue;
      connection.corked = false;
      connection.socket.uncork();
      this.#watch(connection);
    }
  }

  /** Tells the core when a socket takes no more. */
  #watch(connection: Connection): void {
    if (connection.blocked || !connection.socket.writableNeedDrain) return;
    connection.blocked = true;
    this.#context.onBlocked(connection);
  }

  ask(connection: Connection): void {
    if (connection.waiting || connection.blocked) return;
    connection.waiting = true;
    this.#waiting.push(connection);
    this.#context.turnSoon();
  }

  /** Asks for UPDATEs until there are none, the socket is full, or others should have their turn. */
  #pump(connection: Connection, now: number): void {
    const { socket } = connection;
    let written = 0;
    while (written < turnBytes && this.#context.isOpen(connection)) {
      if (socket.writableNeedDrain) {
        this.#watch(connection);
        return;
      }
      const parts = this.#context.produce(connection, produceBytes, now);
      if (parts.length === 0) return;
      socket.cork();
      for (const part of parts) {
        socket.write(part);
        written += part.length;
      }
      socket.uncork();
    }
    // There is more, and others should have their turn: it goes on in this round.
    this.goOn(connection);
  }

  goOn(connection: Connection): void {
    if (connection.waiting || connection.blocked) return;
    connection.waiting = true;
    this.#round.push(connection);
    this.#context.turnSoon();
  }

  /**
   * Rounds of asking for UPDATEs. A write costs much the same whatever its size, so when many are to be told, what comes
   * up meanwhile is gathered: the next round begins twice as long after the last one as that one took.
   * True: the round is not done.
   */
  say(): boolean {
    const { now: clock, turnSoon } = this.#context;
    const start = clock();
    if (this.#round.length === 0 && this.#waiting.length > 0) {
      if (start < this.#nextRound) {
        this.#pause ??= setTimeout(() => {
          this.#pause = undefined;
          turnSoon();
        }, this.#nextRound - start);
        return false;
      }
      this.#round = this.#waiting.splice(0);
      this.#roundTook = 0;
    }
    if (this.#round.length === 0) return false;
    timed(this.#round, clock, (connection) => {
      connection.waiting = false;
      this.#pump(connection, clock());
    });
    const end = clock();
    this.#roundTook += end - start;
    if (this.#round.length === 0)
      this.#nextRound = end + Math.min(2 * this.#roundTook, longestPauseMs);
    return this.#round.length > 0;
  }

  close(): void {
    clearTimeout(this.#pause);
  }
}
