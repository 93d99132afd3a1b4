import type { ShellCore } from './core.ts';

/**
 * Ms of one kind of work (what came in, timers and slices of the core, UPDATEs to be written) in one iteration of the
 * event loop; others' sockets and timers have their turn between. The kernel hands over a thousand sockets at once, so
 * what they bring is put aside when the time is used up.
 */
const turnMs = 8;
/** Ms that timers may wait for what has been put aside: what a neighbour said counts before its hold timer. */
const patienceMs = 100;

interface TurnsContext {
  readonly now: () => number;
  /** Writes for as long as a turn has. True: there is more to write. */
  readonly say: () => boolean;
}

/** Divides the event loop between what comes in, the core's timers and work, and what goes out. */
export class Turns {
  readonly #now: () => number;
  readonly #say: () => boolean;
  #core: ShellCore | undefined;
  #timer: NodeJS.Timeout | undefined;
  #timerAt = Number.POSITIVE_INFINITY;
  #immediate: NodeJS.Immediate | undefined;
  /** What came in when the iteration's time was used up, in order. */
  readonly #aside: (() => void)[] = [];
  /** ms until which what comes in is looked at at once; undefined: nothing came in this iteration. */
  #until: number | undefined;
  /** Since when timers and work have been due and put off. */
  #dueSince: number | undefined;
  #closed = false;

  constructor({ now, say }: TurnsContext) {
    this.#now = now;
    this.#say = say;
  }

  attach(core: ShellCore | undefined): void {
    this.#core = core;
  }

  /** Follows the core's deadline, which may have moved. */
  wakeUp(): void {
    if (this.#closed) return;
    const deadline = this.#core?.deadline;
    if (deadline === undefined) return;
    const now = this.#now();
    if (deadline <= now) {
      this.soon();
    } else if (this.#timer === undefined || deadline < this.#timerAt) {
      clearTimeout(this.#timer);
      this.#timerAt = deadline;
      this.#timer = setTimeout(() => {
        this.#timer = undefined;
        // Sockets are read first: what a neighbour said while this process had no processor counts against its hold timer.
        this.soon();
      }, deadline - now);
    }
  }

  /** Whether there is time left for what comes in, and nothing else is before it. */
  hasTime(): boolean {
    if (this.#aside.length > 0) return false;
    const now = this.#now();
    if (this.#until === undefined) {
      this.#until = now + turnMs;
      setImmediate(() => {
        this.#until = undefined;
      });
    }
    return now < this.#until;
  }

  inTime(work: () => void): void {
    if (this.hasTime()) work();
    else this.putAside(work);
  }

  putAside(work: () => void): void {
    this.#aside.push(work);
    this.soon();
  }

  /** A turn comes in this iteration of the event loop. */
  soon(): void {
    if (this.#closed) return;
    this.#immediate ??= setImmediate(() => {
      this.#immediate = undefined;
      this.#turn();
    });
  }

  /** No more turns; what was put aside is still looked at. */
  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
    clearImmediate(this.#immediate);
    for (const work of this.#aside.splice(0)) work();
  }

  /** What was put aside, then timers and work that are due, then writing; then the sockets get their say. */
  #turn(): void {
    const core = this.#core;
    if (core === undefined || this.#closed) return;
    timed(this.#aside, this.#now, (work) => work());
    this.#work(core);
    const more = this.#say();
    if (this.#aside.length > 0 || more) this.soon();
    this.wakeUp();
  }

  #work(core: ShellCore): void {
    const start = this.#now();
    if ((core.deadline ?? Number.POSITIVE_INFINITY) > start) {
      this.#dueSince = undefined;
      return;
    }
    if (this.#dueSince === undefined) {
      this.#dueSince = start;
      // This process had no processor for a while: what the sockets hold is read before.
      if (start - (core.deadline ?? start) > patienceMs) return;
    }
    if (this.#aside.length > 0 && start - this.#dueSince <= patienceMs) return;
    this.#dueSince = undefined;
    for (let now = start; now - start < turnMs; now = this.#now()) {
      if ((core.deadline ?? Number.POSITIVE_INFINITY) > now) break;
      core.work(now);
    }
  }
}

/** Works a list off from its front for as long as a turn has. What is added meanwhile waits for the next one. */
export function timed<T>(list: T[], now: () => number, work: (item: T) => void): void {
  const end = now() + turnMs;
  const count = list.length;
  let done = 0;
  try {
    while (done < count && now() < end) work(list[done++] as T);
  } finally {
    list.splice(0, done);
  }
}
