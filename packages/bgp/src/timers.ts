/** The timers of RFC 4271 section 10, the send hold timer of RFC 9687: deadlines in ms, by name. */
export type TimerName =
  | 'connectRetry'
  | 'hold'
  | 'keepalive'
  | 'delayOpen'
  | 'idleHold'
  | 'sendHold';

const names: readonly TimerName[] = [
  'connectRetry',
  'hold',
  'keepalive',
  'delayOpen',
  'idleHold',
  'sendHold',
];

/** A timer that is not running has the deadline Infinity. */
export class Timers {
  connectRetry = Number.POSITIVE_INFINITY;
  hold = Number.POSITIVE_INFINITY;
  keepalive = Number.POSITIVE_INFINITY;
  delayOpen = Number.POSITIVE_INFINITY;
  idleHold = Number.POSITIVE_INFINITY;
  sendHold = Number.POSITIVE_INFINITY;

  stop(name: TimerName): void {
    this[name] = Number.POSITIVE_INFINITY;
  }

  isRunning(name: TimerName): boolean {
    return this[name] !== Number.POSITIVE_INFINITY;
  }

  /** The earliest deadline; undefined when nothing runs. */
  get deadline(): number | undefined {
    const first = Math.min(
      this.connectRetry,
      this.hold,
      this.keepalive,
      this.delayOpen,
      this.idleHold,
      this.sendHold,
    );
    return first === Number.POSITIVE_INFINITY ? undefined : first;
  }

  /** Takes one timer that is due, the earliest first, and stops it. */
  take(now: number): TimerName | undefined {
    let due: TimerName | undefined;
    for (const name of names) {
      if (this[name] <= now && (due === undefined || this[name] < this[due])) due = name;
    }
    if (due !== undefined) this.stop(due);
    return due;
  }

  /** What is pending, for people: ms from now by name. */
  pending(now: number): Partial<Record<TimerName, number>> {
    return Object.fromEntries(
      names.filter((name) => this.isRunning(name)).map((name) => [name, this[name] - now]),
    );
  }
}
