/**
 * One neighbour: up to two sessions (RFC 4271 section 6.8), when to try, when to pause, when to give way. No I/O: inputs
 * and `now` come in, outputs go out through `emit` in order.
 */
import type { Address } from '@causeway/ip';
import { type Cease, cease } from './cease.ts';
import type { PeerConfig } from './config.ts';
import type {
  ConnectionId,
  DownReason,
  DownWhy,
  Endpoints,
  Negotiated,
  PeerInput,
  PeerOutput,
  PeerState,
} from './events.ts';
import { fsmStates } from './fsm-events.ts';
import { keepsIncoming, type OpenState } from './negotiate.ts';
import { type ConfigChange, compareConfig, connectOptions, resolveTarget } from './reconfigure.ts';
import { Session } from './session.ts';
import type { SessionOwner } from './session-owner.ts';
import type { TimerName } from './timers.ts';
import type { FamilyKey } from './types.ts';
import { CeaseSubcode, ErrorCode, encodeNotification } from './wire/notification.ts';
import { type OpenMessage, openAsn } from './wire/open.ts';
import { encodeRouteRefresh } from './wire/route-refresh.ts';

export interface PeerEnvironment {
  /** 0 to 1, for the jitter of timers. */
  readonly random: () => number;
  readonly nextConnection: () => ConnectionId;
  /** This process took over from one whose sessions were up: R bit until `setRestarting(false)`. */
  readonly restarting?: boolean;
}

type Emit = (output: PeerOutput) => void;

/** Ms of being established after which a fall counts as the first one again. */
const stable = 30_000;
const longestIdleHold = 60_000;
/** Falls in a row after which the neighbour's own connections are refused while we pause. */
const oscillating = 4;

/**
 * The neighbour has no use for this connection, or not now: no oscillation. Were it counted as one, two neighbours that
 * pause would refuse each other in turns for ever.
 */
function gaveWay({ by, notification }: DownReason): boolean {
  const { code, subcode } = notification ?? { code: 0, subcode: 0 };
  return (
    by === 'remote' &&
    code === ErrorCode.cease &&
    (subcode === CeaseSubcode.rejected || subcode === CeaseSubcode.collision)
  );
}

export class Peer implements SessionOwner {
  config: PeerConfig;
  readonly random: () => number;
  openState: OpenState;
  readonly #nextConnection: () => ConnectionId;
  #primary: Session;
  #secondary: Session | undefined;
  #state: PeerState = 'idle';
  #started = false;
  /** ms at which a stopped peer starts by itself. */
  #restartAt: number | undefined;
  #bfd: 'up' | 'down' | 'unknown' = 'unknown';
  #learned: { readonly address: Address | undefined; readonly device?: string } | undefined;
  #establishedAt: number | undefined;
  #falls = 0;
  #emit: Emit | undefined;
  readonly #queue: PeerInput[] = [];

  constructor(config: PeerConfig, environment: PeerEnvironment) {
    this.config = config;
    this.random = environment.random;
    this.#nextConnection = environment.nextConnection;
    this.openState = { restarting: environment.restarting === true, forwarding: () => true };
    this.#primary = new Session(this);
  }

  /** The most advanced of its connections. */
  get state(): PeerState {
    return this.#state;
  }

  /** Of the established session. */
  get negotiated(): Negotiated | undefined {
    return this.#primary.state === 'established' ? this.#primary.negotiated : undefined;
  }

  /** Of the established session. */
  get connection(): ConnectionId | undefined {
    return this.#primary.state === 'established' ? this.#primary.connection : undefined;
  }

  /** ms at which the input `timer` is wanted; undefined: nothing runs. */
  get deadline(): number | undefined {
    const none = Number.POSITIVE_INFINITY;
    const first = Math.min(
      this.#primary.timers.deadline ?? none,
      this.#secondary?.timers.deadline ?? none,
      this.#restartAt ?? none,
    );
    return first === none ? undefined : first;
  }

  /** ms from now, by name. */
  pendingTimers(now: number): Partial<Record<TimerName, number>> {
    return this.#primary.timers.pending(now);
  }

  /** R bit in the OPENs to come. */
  setRestarting(restarting: boolean): void {
    this.openState = { ...this.openState, restarting };
  }

  /** F bit in the OPENs to come; true for every family unless said otherwise. */
  setForwarding(forwarding: (family: FamilyKey) => boolean): void {
    this.openState = { ...this.openState, forwarding };
  }

  /**
   * May be called from inside of `emit`: such an input waits for the end of the message at hand, and comes before
   * the next one of the same chunk.
   */
  handle(input: PeerInput, now: number, emit: Emit): void {
    if (this.#emit !== undefined) {
      this.#queue.push(input);
      return;
    }
    this.#emit = emit;
    try {
      this.#input(input, now);
      for (let next = this.#queue.shift(); next !== undefined; next = this.#queue.shift()) {
        this.#input(next, now);
      }
    } finally {
      this.#emit = undefined;
    }
  }

  /** The session goes on if nothing that was agreed in it has changed. Not from inside of `emit`. */
  reconfigure(config: PeerConfig, now: number, emit: Emit): ConfigChange {
    const before = this.config;
    const change = compareConfig(before, config);
    if (change === 'unchanged') return change;
    // The NOTIFICATION still belongs to the old session; the next OPEN follows the new configuration.
    const ends = change === 'restarted' && this.#started && before.adminDown !== true;
    if (config.adminDown && !before.adminDown) {
      this.#during(emit, () => this.#stop({ type: 'stop', how: 'admin-shutdown' }, now, true));
    } else if (ends) {
      this.#during(emit, () => this.#stop({ type: 'stop', how: 'config-change' }, now, true));
    }
    this.config = config;
    this.#during(emit, () => this.#tryStart(now));
    return change;
  }

  #during(emit: Emit, work: () => void): void {
    this.#emit = emit;
    try {
      work();
    } finally {
      this.#emit = undefined;
    }
  }

  // What the sessions ask for

  emit(output: PeerOutput): void {
    this.#emit?.(output);
  }

  get passive(): boolean {
    return this.config.passive === true || this.#target() === undefined;
  }

  connect(_session: Session): ConnectionId | undefined {
    const target = this.#target();
    if (target === undefined) return undefined;
    const connection = this.#nextConnection();
    this.emit({ type: 'connect', connection, target, options: connectOptions(this.config) });
    return connection;
  }

  /** RFC 4271 section 6.8, when an OPEN has come on `session`. */
  mayOpen(session: Session, open: OpenMessage, now: number): boolean {
    const other = session === this.#primary ? this.#secondary : this.#primary;
    if (other === undefined) return true;
    if (other.state === 'established') {
      // RFC 4724 section 4.2: a neighbour that can restart and connects again has restarted; the old connection
      // counts as gone.
      if (session.incoming && other.negotiated?.gracefulRestart !== undefined) {
        const text = 'the neighbour came back with a new connection';
        other.fire('TcpConnectionFails', now, { by: 'remote', why: 'tcp-closed', text });
        return true;
      }
      this.#dump(session, now);
      return false;
    }
    // The RFC lets connections in OpenSent count when the identifier is known, and it is: from this OPEN. Both sides
    // then agree before either is established on the one that loses.
    if (other.state !== 'open-confirm' && other.state !== 'open-sent') return true;
    const winner = this.#winner(session, other, open);
    this.#dump(winner === session ? other : session, now);
    return winner === session;
  }

  #winner(session: Session, other: Session, open: OpenMessage): Session {
    // Both from the same side: it has given up the older one.
    if (session.incoming === other.incoming) return this.#secondary as Session;
    const incoming = keepsIncoming(
      { routerId: this.config.routerId, asn: this.config.localAsn },
      { routerId: open.routerId, asn: openAsn(open) },
    );
    return session.incoming === incoming ? session : other;
  }

  established(session: Session, now: number): void {
    const other = session === this.#primary ? this.#secondary : this.#primary;
    this.#primary = session;
    this.#secondary = undefined;
    this.#establishedAt = now;
    if (other === undefined) return;
    if (
      other.state === 'open-sent' &&
      this.#winner(session, other, session.peerOpen as OpenMessage) === other
    ) {
      // The neighbour may be about to choose it: what becomes of it shows when its OPEN comes.
      this.#secondary = other;
    } else {
      this.#dump(other, now);
    }
  }

  fell(session: Session, reason: DownReason, was: PeerState, damped: boolean, now: number): void {
    if (session === this.#primary && this.#secondary !== undefined) {
      this.#primary = this.#secondary;
      this.#secondary = undefined;
    } else if (session !== this.#primary) {
      // A second connection, or one that lost against an established session.
      if (session === this.#secondary) this.#secondary = undefined;
      this.#showState();
      return;
    }
    const established = was === 'established';
    const goesOn = this.#primary !== session;
    // That one of two connections gave way is no news about the neighbour.
    if (established || !goesOn) this.emit({ type: 'down', reason, established });
    if (established) {
      const lasted = now - (this.#establishedAt ?? now);
      if (lasted >= stable) this.#falls = 0;
      this.#establishedAt = undefined;
    }
    this.#showState();
    if (goesOn || session.state !== 'idle') return;
    session.timers.stop('connectRetry');
    if (!this.#mayRun()) return;
    if (damped && !gaveWay(reason)) {
      this.#pause(now);
    } else {
      // Nothing was wrong with the neighbour: listen on, and try again when the ConnectRetryTimer says so.
      session.fire('AutomaticStart_with_PassiveTcpEstablishment', now);
    }
  }

  moved(_session: Session): void {
    this.#showState();
  }

  betweenMessages(now: number): void {
    if (this.#queue.length === 0) return;
    // Bytes wait until the chunk at hand has been read.
    const bytes = this.#queue.filter(({ type }) => type === 'bytes');
    const others = this.#queue.filter(({ type }) => type !== 'bytes');
    this.#queue.splice(0, this.#queue.length, ...bytes);
    for (const input of others) this.#input(input, now);
  }

  // Inputs

  #input(input: PeerInput, now: number): void {
    switch (input.type) {
      case 'start':
        this.#started = true;
        this.#restartAt = undefined;
        this.#falls = 0;
        this.#primary.timers.stop('idleHold');
        this.#tryStart(now);
        break;
      case 'stop':
        this.#stop(input, now, false);
        break;
      case 'connected': {
        const session = this.#sessionOf(input.connection);
        if (session === undefined) this.emit({ type: 'close', connection: input.connection });
        else session.connected(input.endpoints, now);
        break;
      }
      case 'connect-failed':
        this.#sessionOf(input.connection)?.fire('TcpConnectionFails', now, {
          by: input.error === 'ECONNREFUSED' || input.error === 'ECONNRESET' ? 'remote' : 'local',
          why: 'tcp-error',
          text: input.error,
        });
        break;
      case 'accepted':
        this.#accept(input.connection, input.endpoints, now);
        break;
      case 'closed':
        this.#closed(input.connection, input.error, now);
        break;
      case 'bytes':
        this.#sessionOf(input.connection)?.receive(input.bytes, now);
        break;
      case 'blocked':
        this.#sessionOf(input.connection)?.blocked(now);
        break;
      case 'drained':
        this.#sessionOf(input.connection)?.drained();
        break;
      case 'timer':
        this.#tick(now);
        break;
      case 'bfd':
        this.#bfdChanged(input.state, now);
        break;
      case 'target':
        this.#targetChanged(input, now);
        break;
      case 'route-refresh': {
        const { negotiated, connection } = this;
        const enhanced = input.message.subtype !== 'request';
        if (connection === undefined || !negotiated?.routeRefresh) break;
        if (enhanced && !negotiated.enhancedRouteRefresh) break;
        this.emit({ type: 'send', connection, bytes: encodeRouteRefresh(input.message) });
        break;
      }
      default:
        input satisfies never;
    }
  }

  #sessionOf(connection: ConnectionId): Session | undefined {
    if (this.#primary.connection === connection) return this.#primary;
    return this.#secondary?.connection === connection ? this.#secondary : undefined;
  }

  #closed(connection: ConnectionId, error: string | undefined, now: number): void {
    const remote = error === undefined || error === 'ECONNRESET' || error === 'EPIPE';
    this.#sessionOf(connection)?.fire('TcpConnectionFails', now, {
      by: remote ? 'remote' : 'local',
      why: error === undefined ? 'tcp-closed' : 'tcp-error',
      ...(error === undefined ? {} : { text: error }),
    });
  }

  #accept(connection: ConnectionId, endpoints: Endpoints, now: number): void {
    const pausing = this.#primary.timers.isRunning('idleHold');
    if (!this.#mayRun() || (pausing && this.#falls >= oscillating)) {
      // RFC 4486 section 4: "Connection Rejected".
      const bytes = encodeNotification(cease({ how: 'rejected' }, false));
      this.emit({ type: 'send', connection, bytes });
      this.emit({ type: 'close', connection });
      return;
    }
    this.emit({ type: 'options', connection, options: connectOptions(this.config) });
    const primary = this.#primary;
    primary.timers.stop('idleHold');
    if (primary.state === 'idle') primary.fire('AutomaticStart_with_PassiveTcpEstablishment', now);
    if (primary.state === 'active' && primary.connection === undefined) {
      primary.accepted(connection, endpoints, now);
      return;
    }
    if (this.#secondary !== undefined) this.#dump(this.#secondary, now);
    this.#secondary = new Session(this, 'active');
    this.#secondary.accepted(connection, endpoints, now);
  }

  #tick(now: number): void {
    if (this.#restartAt !== undefined && this.#restartAt <= now) {
      this.#restartAt = undefined;
      this.#started = true;
    }
    // Of both as they are now: one may take the other's place meanwhile.
    for (const session of this.#sessions()) session.tick(now);
    this.#tryStart(now);
  }

  #bfdChanged(state: 'up' | 'down' | 'unknown', now: number): void {
    const before = this.#bfd;
    this.#bfd = state;
    if (state === 'down' && before === 'up') {
      const graceful = this.negotiated?.gracefulRestart?.notification === true;
      this.#endSessions('AutomaticStop', 'bfd-down', { how: 'bfd-down' }, graceful, now);
    }
    this.#tryStart(now);
  }

  #targetChanged(
    learned: { readonly address: Address | undefined; readonly device?: string },
    now: number,
  ): void {
    this.#learned = learned;
    const address = this.#target()?.address;
    const remote = this.#primary.endpoints?.remoteAddress;
    const connected = this.#primary.connection !== undefined && this.#primary.state !== 'connect';
    if (connected && address !== undefined && remote !== undefined && remote !== address) {
      this.#endSessions('AutomaticStop', 'config-change', { how: 'config-change' }, false, now);
    } else if (this.#primary.state === 'active' && !connected && address !== undefined) {
      this.#primary.fire('ConnectRetryTimer_Expires', now);
    }
    this.#tryStart(now);
  }

  #stop(input: Extract<PeerInput, { type: 'stop' }>, now: number, keepStarted: boolean): void {
    const { how, text, family, limit, restartAfter } = input;
    const again = how === 'admin-reset' || how === 'config-change';
    if (!keepStarted) {
      this.#started = again && restartAfter === undefined;
      this.#restartAt = restartAfter === undefined ? undefined : now + restartAfter;
    }
    this.#falls = 0;
    if (how === 'detach') {
      for (const session of this.#sessions()) session.detach(now, { by: 'local', why: 'detach' });
      return;
    }
    const byHand = how === 'admin-shutdown' || how === 'de-configured';
    const what: Cease = {
      how,
      ...(text === undefined ? {} : { text }),
      ...(family === undefined ? {} : { family }),
      ...(limit === undefined ? {} : { limit }),
    };
    const graceful = this.negotiated?.gracefulRestart?.notification === true;
    this.#endSessions(byHand ? 'ManualStop' : 'AutomaticStop', how, what, graceful, now);
    if (!this.#mayRun()) this.#primary.timers.stop('idleHold');
    this.#tryStart(now);
  }

  #endSessions(
    event: 'ManualStop' | 'AutomaticStop',
    why: DownWhy,
    what: Cease,
    graceful: boolean,
    now: number,
  ): void {
    for (const session of this.#sessions()) {
      const established = session.state === 'established';
      session.fire(event, now, {
        by: 'local',
        why,
        notification: cease(what, graceful && established),
        ...(what.text === undefined ? {} : { text: what.text }),
      });
    }
  }

  #sessions(): readonly Session[] {
    // The second one first: when the first falls, it would take its place.
    return this.#secondary === undefined ? [this.#primary] : [this.#secondary, this.#primary];
  }

  // When to run

  #target(): ReturnType<typeof resolveTarget> {
    return resolveTarget(this.config.target, this.#learned);
  }

  #mayRun(): boolean {
    const { adminDown, bfd } = this.config;
    return this.#started && adminDown !== true && (bfd?.strict !== true || this.#bfd === 'up');
  }

  #tryStart(now: number): void {
    const primary = this.#primary;
    if (primary.state !== 'idle' || primary.timers.isRunning('idleHold') || !this.#mayRun()) return;
    const damping = this.#falls > 0;
    if (this.passive) {
      primary.fire(
        damping
          ? 'AutomaticStart_with_DampPeerOscillations_and_PassiveTcpEstablishment'
          : 'ManualStart_with_PassiveTcpEstablishment',
        now,
      );
    } else {
      primary.fire(damping ? 'AutomaticStart_with_DampPeerOscillations' : 'ManualStart', now);
    }
  }

  /** RFC 4271 section 8.1 (DampPeerOscillations): each fall in a row doubles the pause. */
  #pause(now: number): void {
    this.#falls++;
    const first = 1000 * (this.config.timers?.idleHold ?? 1);
    const ms = Math.min(longestIdleHold, first * 2 ** Math.min(this.#falls - 1, 10));
    this.#primary.timers.idleHold = now + ms * (0.75 + 0.25 * this.random());
  }

  #dump(session: Session, now: number): void {
    session.fire('OpenCollisionDump', now, {
      by: 'local',
      why: 'collision',
      notification: cease({ how: 'collision' }, false),
    });
  }

  #showState(): void {
    const rank = (session: Session | undefined) =>
      session === undefined ? 0 : fsmStates.indexOf(session.state);
    const to = fsmStates[Math.max(rank(this.#primary), rank(this.#secondary))] as PeerState;
    const from = this.#state;
    if (to === from) return;
    this.#state = to;
    this.emit({ type: 'state', from, to });
  }
}
