import { peerDownReason } from './down.ts';
import { BmpError } from './errors.ts';
import type {
  ExporterInput,
  ExporterOptions,
  ExporterState,
  ExporterStatus,
  MonitoredSession,
} from './feed.ts';
import { locRibHeader, locRibUp, peerDown, sessionHeader, sessionUp } from './peer-messages.ts';
import { RouteStamp } from './route-stamp.ts';
import { type Stream, Subject } from './subject.ts';
import { encodeMessage } from './wire/message.ts';
import type { PeerDownReason } from './wire/peer-down.ts';
import type { PeerHeader, RibView } from './wire/peer-header.ts';

/** A feed's turn ends after so many bytes, so that a full table does not hide what happens elsewhere. */
const TURN = 32 * 1024;

/** The Loc-RIB's place among the sessions: no neighbour has this name. */
const LOC_RIB = '';

/**
 * Tells one station about one speaker (RFC 7854). Sans-I/O: events and time in, outputs through `emit`, bytes
 * by `produce`, which the shell calls while the station's socket has room.
 *
 * In the order of the wire: Initiation, then Peer Up of each session, its tables by feeds that are pulled,
 * End-of-RIB, changes, statistics, Peer Down; Termination at the end. Ups and downs come before routes, and
 * what a feed says of a session that the station was not told of is left out: no route is sent of a peer that
 * the station does not know.
 */
export class Exporter {
  readonly #options: ExporterOptions;
  readonly #views: readonly RibView[];
  readonly #sessions = new Map<string, { session: MonitoredSession; at: number }>();
  /** What this connection's station knows or is about to know. */
  readonly #subjects = new Map<string, Subject>();
  readonly #notices = new Set<Subject>();
  /** All feeds, and those of them that may have something. */
  #feeds: Stream[] = [];
  readonly #streams: Stream[] = [];
  #reports: Subject[] = [];

  #state: ExporterState = 'stopped';
  #text: string | undefined;
  #greeted = false;
  #pause = 0;
  #retryAt: number | undefined;
  #reportAt: number | undefined;
  /** When something was last taken, or when something first waited. */
  #takenAt = 0;
  #messages = 0;
  #bytes = 0;
  #connects = 0;
  #missing: RibView[] = [];
  #flapsLeftOut = 0;

  /** Throws BmpError `bad-option`. */
  constructor(options: ExporterOptions) {
    this.#options = options;
    this.#views = options.views ?? ['in-pre', 'in-post'];
    if (this.#views.length === 0) {
      throw new BmpError('bad-option', options.views, 'views names no table: give at least one');
    }
    if (this.#views.includes('loc') && options.locRib === undefined) {
      throw new BmpError('bad-option', options.views, 'view loc needs locRib');
    }
  }

  get status(): ExporterStatus {
    return {
      state: this.#state,
      ...(this.#text === undefined ? {} : { text: this.#text }),
      viewsMissing: this.#missing,
      sessionsTold: [...this.#subjects.values()].filter(({ told }) => told).length,
      messages: this.#messages,
      bytes: this.#bytes,
      connects: this.#connects,
      flapsLeftOut: this.#flapsLeftOut,
    };
  }

  /** ms at which a `timer` input is wanted. */
  get deadline(): number | undefined {
    const stall = (this.#options.stallTimeout ?? 120) * 1000;
    const times = [
      this.#retryAt,
      this.#reportAt,
      stall > 0 && this.pending ? this.#takenAt + stall : undefined,
    ].filter((time) => time !== undefined);
    return times.length === 0 ? undefined : Math.min(...times);
  }

  /** `produce` would give something. */
  get pending(): boolean {
    if (this.#state !== 'up') return false;
    return (
      !this.#greeted ||
      this.#notices.size > 0 ||
      this.#reports.length > 0 ||
      this.#streams.length > 0
    );
  }

  handle(input: ExporterInput, now: number): void {
    switch (input.type) {
      case 'start':
        if (this.#state === 'stopped') this.#connect();
        return;
      case 'stop':
        this.#stop();
        return;
      case 'connected':
        if (this.#state === 'connecting') this.#begin(now);
        return;
      case 'connect-failed':
        if (this.#state === 'connecting') this.#fallBack(now, `no connection: ${input.error}`);
        return;
      case 'closed':
        if (this.#state !== 'up') return;
        this.#fallBack(now, `the station closed${input.error ? `: ${input.error}` : ''}`);
        return;
      case 'timer':
        this.#timer(now);
        return;
      case 'session-up':
        this.#sessionUp(input.session, now);
        return;
      case 'session-down':
        this.#sessionDown(input.name, peerDownReason(input.reason), now);
        return;
      case 'session-removed':
        this.#sessionDown(input.name, { type: 'deconfigured' }, now);
        return;
      default:
        input satisfies never;
    }
  }

  /**
   * Up to about `budget` bytes of whole messages for the station; empty when there is nothing. Each call says
   * that the station has taken what came before.
   */
  produce(budget: number, now: number): Uint8Array {
    const parts: Uint8Array[] = [];
    let length = 0;
    const put = (bytes: Uint8Array): void => {
      parts.push(bytes);
      length += bytes.length;
    };
    while (length < budget && this.pending) {
      const messages = this.#produceOne(Math.min(TURN, budget - length), put);
      if (messages === 'overrun') {
        this.#overrun(now);
        return new Uint8Array(0);
      }
      this.#messages += messages;
    }
    this.#takenAt = now;
    this.#bytes += length;
    return concat(parts, length);
  }

  /** The most urgent thing; returns the number of messages. */
  #produceOne(budget: number, put: (bytes: Uint8Array) => void): number | 'overrun' {
    if (!this.#greeted) {
      put(this.#greeting());
      return 1;
    }
    const [noticed] = this.#notices;
    if (noticed !== undefined) {
      put(this.#notice(noticed));
      if (!noticed.waiting) this.#notices.delete(noticed);
      return 1;
    }
    const reported = this.#reports.pop();
    if (reported !== undefined) {
      const report = this.#report(reported);
      if (report === undefined) return 0;
      put(report);
      return 1;
    }
    const stream = this.#streams.shift();
    return stream === undefined ? 0 : this.#produceRoutes(stream, budget, put);
  }

  #produceRoutes(
    stream: Stream,
    budget: number,
    put: (bytes: Uint8Array) => void,
  ): number | 'overrun' {
    stream.queued = false;
    const { view, feed } = stream;
    // The RFC's time is that of the route's arrival, which a walk of the table does not know.
    const timestamp = feed.dumping ? 0 : this.#options.wallClock();
    const pulled = feed.pull(budget);
    if (pulled === 'overrun') return 'overrun';
    if (pulled.length === 0) return 0;
    let messages = 0;
    for (const { session, updates } of pulled) {
      const subject = this.#subjects.get(session ?? LOC_RIB);
      if (subject === undefined || !subject.told) continue;
      const stamp = this.#stamp(subject, view);
      for (const update of updates) {
        put(stamp.header(update.length, timestamp));
        put(update);
      }
      messages += updates.length;
    }
    this.#enqueue(stream);
    return messages;
  }

  #stamp(subject: Subject, view: RibView): RouteStamp {
    let stamp = subject.stamps.get(view);
    if (stamp === undefined) {
      stamp = new RouteStamp(this.#header(subject, view, 0));
      subject.stamps.set(view, stamp);
    }
    return stamp;
  }

  #connect(): void {
    this.#retryAt = undefined;
    this.#move('connecting');
    this.#options.emit({ type: 'connect' });
  }

  #begin(now: number): void {
    this.#connects += 1;
    this.#takenAt = now;
    this.#move('up');
    const interval = (this.#options.statisticsInterval ?? 60) * 1000;
    this.#reportAt = interval > 0 ? now + interval : undefined;
    if (this.#views.includes('loc')) {
      const subject = this.#subject(LOC_RIB);
      subject.push({ type: 'up', at: this.#options.wallClock(), session: undefined });
      this.#notices.add(subject);
    }
    for (const [name, { session, at }] of this.#sessions) {
      const subject = this.#subject(name);
      subject.push({ type: 'up', at, session });
      this.#notices.add(subject);
    }
    this.#missing = [];
    for (const view of this.#views) this.#open(view);
    this.#options.emit({ type: 'wake' });
  }

  #stop(): void {
    const goodbye = this.#state === 'up' && this.#greeted;
    const connected = this.#state === 'up' || this.#state === 'connecting';
    this.#forget();
    this.#retryAt = undefined;
    this.#pause = 0;
    this.#move('stopped');
    if (!connected) return;
    const last = encodeMessage({
      type: 'termination',
      reason: 'administratively-closed',
      information: [],
    });
    this.#options.emit(goodbye ? { type: 'close', last } : { type: 'close' });
  }

  #timer(now: number): void {
    if (this.#retryAt !== undefined && now >= this.#retryAt) this.#connect();
    const stall = (this.#options.stallTimeout ?? 120) * 1000;
    if (stall > 0 && this.pending && now >= this.#takenAt + stall) {
      this.#options.emit({ type: 'close' });
      this.#fallBack(now, `the station took nothing for ${stall / 1000} s`);
      return;
    }
    if (this.#reportAt === undefined || now < this.#reportAt) return;
    this.#reportAt = now + (this.#options.statisticsInterval ?? 60) * 1000;
    const idle = !this.pending;
    // A station that has not taken the last reports yet gets no second ones.
    this.#reports = [...this.#subjects.values()].filter(({ told }) => told);
    if (idle && this.pending) this.#wake(now);
  }

  #sessionUp(session: MonitoredSession, now: number): void {
    const { name } = session;
    if (this.#sessions.has(name)) this.#sessionDown(name, { type: 'local-event', event: 0 }, now);
    const at = this.#options.wallClock();
    this.#sessions.set(name, { session, at });
    if (this.#state !== 'up' || !this.#views.some((view) => view !== 'loc')) return;
    this.#push(this.#subject(name), { type: 'up', at, session }, now);
  }

  #sessionDown(name: string, reason: PeerDownReason, now: number): void {
    if (!this.#sessions.delete(name)) return;
    const subject = this.#subjects.get(name);
    if (subject === undefined) return;
    this.#push(subject, { type: 'down', at: this.#options.wallClock(), reason }, now);
  }

  #push(subject: Subject, notice: Parameters<Subject['push']>[0], now: number): void {
    const idle = !this.pending;
    this.#flapsLeftOut += subject.push(notice);
    this.#notices.add(subject);
    if (idle) this.#wake(now);
  }

  #wake(now: number): void {
    this.#takenAt = now;
    this.#options.emit({ type: 'wake' });
  }

  #enqueue(stream: Stream): void {
    if (stream.queued) return;
    stream.queued = true;
    this.#streams.push(stream);
  }

  #greeting(): Uint8Array {
    this.#greeted = true;
    const { sysName, sysDescr, information = [] } = this.#options;
    return encodeMessage({
      type: 'initiation',
      information: [
        { type: 'sysDescr', text: sysDescr },
        { type: 'sysName', text: sysName },
        ...information.map((text) => ({ type: 'string', text }) as const),
      ],
    });
  }

  #notice(subject: Subject): Uint8Array {
    const notice = subject.shift()!;
    if (notice.type === 'down') {
      const header = this.#header(subject, 'in-pre', notice.at);
      subject.told = false;
      return peerDown(header, notice.reason);
    }
    subject.told = true;
    subject.session = notice.session;
    subject.stamps.clear();
    return notice.session === undefined
      ? locRibUp(this.#options.locRib!, notice.at)
      : sessionUp(notice.session, notice.at);
  }

  #open(view: RibView): void {
    let stream: Stream | undefined;
    const wake = (now: number): void => {
      if (stream === undefined || stream.queued || !this.#feeds.includes(stream)) return;
      const idle = !this.pending;
      this.#enqueue(stream);
      if (idle) this.#wake(now);
    };
    const feed = this.#options.source.openFeed(view, wake);
    if (feed === undefined) {
      this.#missing.push(view);
      return;
    }
    stream = { view, feed, queued: false };
    this.#feeds.push(stream);
    this.#enqueue(stream);
  }

  #report(subject: Subject): Uint8Array | undefined {
    if (!subject.told) return undefined;
    const statistics = this.#options.source.statistics(subject.session?.name);
    if (statistics.length === 0) return undefined;
    const peer = this.#header(subject, 'in-pre', this.#options.wallClock());
    return encodeMessage({ type: 'statistics', peer, statistics });
  }

  #header({ session }: Subject, view: RibView, timestamp: number): PeerHeader {
    return session === undefined || view === 'loc'
      ? locRibHeader(this.#options.locRib!, timestamp)
      : sessionHeader(session, view, timestamp);
  }

  #subject(name: string): Subject {
    let subject = this.#subjects.get(name);
    if (subject === undefined) {
      subject = new Subject();
      this.#subjects.set(name, subject);
    }
    return subject;
  }

  #overrun(now: number): void {
    this.#options.emit({ type: 'close' });
    this.#fallBack(now, 'the station was too slow: it starts over from whole tables');
  }

  #fallBack(now: number, text: string): void {
    // A connection that lasted starts the pauses anew.
    const { first = 30, longest = 720 } = this.#options.reconnect ?? {};
    if (this.#greeted) this.#pause = 0;
    this.#pause = this.#pause === 0 ? first * 1000 : Math.min(this.#pause * 2, longest * 1000);
    this.#retryAt = now + this.#pause;
    this.#forget();
    this.#move('waiting', text);
  }

  #forget(): void {
    for (const { feed } of this.#feeds) feed.close();
    this.#feeds = [];
    this.#subjects.clear();
    this.#notices.clear();
    this.#streams.length = 0;
    this.#reports = [];
    this.#reportAt = undefined;
    this.#greeted = false;
  }

  #move(state: ExporterState, text?: string): void {
    if (this.#state === state && this.#text === text) return;
    this.#state = state;
    this.#text = text;
    this.#options.emit({ type: 'state', state, ...(text === undefined ? {} : { text }) });
  }
}

function concat(parts: readonly Uint8Array[], length: number): Uint8Array {
  const [only] = parts;
  if (only !== undefined && parts.length === 1) return only;
  const whole = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
