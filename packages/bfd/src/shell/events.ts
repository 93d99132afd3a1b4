import type { StateChange } from '../changes.ts';
import { changeRow, type SessionProblem, type SessionRow, sessionRow } from '../row.ts';
import type { Session } from '../session.ts';
import { toInstant } from './clock.ts';
import type { BfdEvent } from './messages.ts';

/** Events that the other thread may have to take still; more of them would only be memory. */
const mostWaiting = 1024;
/** Making and cloning a row takes some 20 us, in which no packet is sent. */
export const rowsInOneTurn = 64;

/**
 * Tells the other thread what changes. Where it does not keep up, what changed is remembered by
 * session, so that the memory is bounded by their number, and said once it has caught up.
 */
export class Events {
  readonly #post: (event: BfdEvent) => void;
  readonly #taken: Int32Array<SharedArrayBuffer>;
  readonly #problemOf: (session: Session) => SessionProblem | undefined;
  #posted = 0;
  readonly #behind = new Map<string, Session | undefined>();

  constructor(
    post: (event: BfdEvent) => void,
    taken: Int32Array<SharedArrayBuffer>,
    problemOf: (session: Session) => SessionProblem | undefined,
  ) {
    this.#post = post;
    this.#taken = taken;
    this.#problemOf = problemOf;
  }

  get #full(): boolean {
    return ((this.#posted - Atomics.load(this.#taken, 0)) | 0) >= mostWaiting;
  }

  #say(event: BfdEvent): void {
    this.#posted++;
    this.#post(event);
  }

  row(session: Session): SessionRow {
    return sessionRow(session, toInstant, this.#problemOf(session));
  }

  changed(session: Session, change: StateChange): void {
    if (this.#full) {
      this.#behind.set(session.key, session);
      return;
    }
    this.#behind.delete(session.key);
    this.#say({
      type: 'changed',
      session: this.row(session),
      change: changeRow(change, toInstant),
    });
  }

  /** How a session stands, where something else than its state has changed; told in one of the next turns. */
  current(session: Session): void {
    this.#behind.set(session.key, session);
  }

  removed(session: Session): void {
    if (this.#full) {
      this.#behind.set(session.key, undefined);
      return;
    }
    this.#behind.delete(session.key);
    this.#say({ type: 'removed', key: session.key });
  }

  /** There is something to say, and room for it. */
  get waiting(): boolean {
    return this.#behind.size > 0 && !this.#full;
  }

  /** Says what was put off: a turn's worth, as far as the other side has room. */
  flush(): void {
    let left = rowsInOneTurn;
    for (const [key, session] of this.#behind) {
      if (this.#full || left-- === 0) return;
      this.#behind.delete(key);
      this.#say(
        session === undefined
          ? { type: 'removed', key }
          : { type: 'current', session: this.row(session) },
      );
    }
  }
}
