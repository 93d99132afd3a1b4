/**
 * One connection's worth of BGP: framing, the state machine, its timers, the OPENs, and what comes out of messages.
 * A `Peer` owns one or, while two connections collide, two of these.
 */
import { type Cause, downReason, fsmCause } from './down-reason.ts';
import { BgpError } from './errors.ts';
import type {
  ConnectionId,
  DownReason,
  DownWhy,
  Endpoints,
  Negotiated,
  PeerOutput,
  PeerState,
} from './events.ts';
import { transition } from './fsm.ts';
import type { FsmAction, FsmEvent } from './fsm-events.ts';
import { buildOpen, checkOpen, negotiate } from './negotiate.ts';
import type { SessionOwner } from './session-owner.ts';
import { expiries, setTimer } from './session-timers.ts';
import { type TimerName, Timers } from './timers.ts';
import { type Frame, Framer } from './wire/framer.ts';
import { classicMaximum, encodeKeepalive, extendedMaximum, MessageType } from './wire/message.ts';
import {
  decodeNotification,
  ErrorCode,
  encodeNotification,
  type NotificationMessage,
  notificationName,
  shutdownText,
} from './wire/notification.ts';
import { decodeOpen, encodeOpen, type OpenMessage } from './wire/open.ts';
import { decodeRouteRefresh } from './wire/route-refresh.ts';
import type { ParsedUpdate } from './wire/update.ts';
import { UpdateParser } from './wire/update-parser.ts';

/** RFC 9687 section 4. */
const leastSendHold = 480_000;

export class Session {
  state: PeerState;
  connection: ConnectionId | undefined;
  endpoints: Endpoints | undefined;
  /** Whether the neighbour initiated the connection. */
  incoming = false;
  negotiated: Negotiated | undefined;
  peerOpen: OpenMessage | undefined;
  readonly timers = new Timers();
  /** ConnectRetryCounter (RFC 4271 section 8.1.1). */
  retries = 0;
  readonly #owner: SessionOwner;
  #framer = new Framer();
  #parser: UpdateParser | undefined;
  #localOpen: OpenMessage | undefined;
  #localOpenBytes: Uint8Array | undefined;
  #peerOpenBytes: Uint8Array | undefined;
  #blocked = false;
  #holdMs = 0;
  /** One for all UPDATEs: it is valid during the call only. */
  readonly #updateOutput: {
    readonly type: 'update';
    update: ParsedUpdate | undefined;
    bytes: Uint8Array;
    start: number;
    end: number;
  } = { type: 'update', update: undefined, bytes: new Uint8Array(0), start: 0, end: 0 };

  constructor(owner: SessionOwner, state: PeerState = 'idle') {
    this.#owner = owner;
    this.state = state;
  }

  /** Runs the machine. `cause` is needed where the event ends a connection. */
  fire(event: FsmEvent, now: number, cause?: Cause): void {
    const was = this.state;
    const { config } = this.#owner;
    const { next, actions } = transition(was, event, {
      delayOpen: (config.timers?.delayOpen ?? 0) > 0,
      delayOpenRunning: this.timers.isRunning('delayOpen'),
      passive: this.#owner.passive,
    });
    let reason = cause;
    if (actions.includes('notify-fsm')) reason = fsmCause(was, event);
    const had = this.connection !== undefined || was === 'connect';
    for (const action of actions) this.#act(action, now, reason);
    this.state = next;
    if (next !== was) this.#owner.moved(this);
    if (actions.includes('establish')) this.#established(now);
    const over = next === 'idle' || (next === 'active' && this.connection === undefined);
    if (over && had && was !== 'idle') {
      this.#owner.fell(this, this.#reason(reason, was), was, actions.includes('damp'), now);
    }
  }

  /** A connection of ours came through. */
  connected(endpoints: Endpoints, now: number): void {
    this.endpoints = endpoints;
    this.incoming = false;
    this.fire('Tcp_CR_Acked', now);
  }

  /** The neighbour connected. */
  accepted(connection: ConnectionId, endpoints: Endpoints, now: number): void {
    this.connection = connection;
    this.endpoints = endpoints;
    this.incoming = true;
    this.#framer = new Framer();
    this.fire('TcpConnectionConfirmed', now);
  }

  receive(bytes: Uint8Array, now: number): void {
    const connection = this.connection;
    const framer = this.#framer;
    framer.push(bytes);
    while (this.connection === connection) {
      let frame: Frame | undefined;
      try {
        frame = framer.next();
      } catch (error) {
        this.#refuse('BGPHeaderErr', 'header-error', error, now);
        return;
      }
      if (frame === undefined) return;
      this.#message(frame, now);
      this.#owner.betweenMessages(now);
    }
  }

  blocked(now: number): void {
    this.#blocked = true;
    const hold = (this.negotiated?.holdTime ?? 0) * 1000;
    if (this.negotiated?.holdTime === 0) return;
    // RFC 9687 section 4: "the greater of 8 minutes or 2 times the negotiated hold time".
    this.timers.sendHold = now + Math.max(leastSendHold, 2 * hold);
  }

  drained(): void {
    this.#blocked = false;
    this.timers.stop('sendHold');
  }

  get isBlocked(): boolean {
    return this.#blocked;
  }

  /** Lets go without a word, as a process that dies does: the neighbour keeps our routes if it can. */
  detach(now: number, cause: Cause): void {
    const was = this.state;
    const had = this.connection !== undefined || was === 'connect';
    this.timers.stop('connectRetry');
    this.timers.stop('delayOpen');
    this.timers.stop('idleHold');
    this.#drop();
    this.state = 'idle';
    if (was !== 'idle') this.#owner.moved(this);
    if (had) this.#owner.fell(this, this.#reason(cause, was), was, false, now);
  }

  /** Runs what is due. */
  tick(now: number): void {
    for (let name = this.timers.take(now); name !== undefined; name = this.timers.take(now)) {
      this.#expired(name, now);
    }
  }

  #expired(name: TimerName, now: number): void {
    const { event, cause } = expiries[name];
    this.fire(event, now, cause);
  }

  #act(action: FsmAction, now: number, cause: Cause | undefined): void {
    const owner = this.#owner;
    switch (action) {
      case 'connect':
        this.#framer = new Framer();
        this.incoming = false;
        this.connection = owner.connect(this);
        break;
      case 'drop':
        this.#drop();
        break;
      case 'send-open':
        this.#sendOpen();
        break;
      case 'send-keepalive':
        this.#send(encodeKeepalive());
        break;
      case 'notify':
      case 'notify-fsm':
        if (cause?.notification !== undefined) this.#send(encodeNotification(cause.notification));
        break;
      case 'start-connect-retry':
      case 'stop-connect-retry':
      case 'start-delay-open':
      case 'stop-delay-open':
      case 'start-hold-large':
      case 'start-hold':
      case 'start-keepalive':
        setTimer(action, this.timers, now, {
          config: owner.config.timers ?? {},
          negotiated: this.negotiated,
          random: owner.random,
        });
        break;
      case 'zero-retries':
        this.retries = 0;
        break;
      case 'count-retry':
        this.retries++;
        break;
      case 'damp':
      case 'establish':
      case 'deliver':
        break; // seen by `fire`, and by `#message`
      default:
        action satisfies never;
    }
  }

  #send(bytes: Uint8Array): void {
    if (this.connection === undefined) return;
    this.#owner.emit({ type: 'send', connection: this.connection, bytes });
  }

  #drop(): void {
    const { connection, timers } = this;
    timers.stop('hold');
    timers.stop('keepalive');
    timers.stop('sendHold');
    this.connection = undefined;
    this.#blocked = false;
    if (connection !== undefined) this.#owner.emit({ type: 'close', connection });
  }

  #sendOpen(): void {
    const open = buildOpen(this.#owner.config, this.#owner.openState);
    this.#localOpen = open;
    this.#localOpenBytes = encodeOpen(open);
    this.#send(this.#localOpenBytes);
  }

  #established(now: number): void {
    const negotiated = this.negotiated as Negotiated;
    // RFC 8654 section 4: who has heard our capability may send long messages, whether it takes them or not.
    const long = this.#localOpen?.capabilities.some(({ type }) => type === 'extended-message');
    this.#framer.maximum = long ? extendedMaximum : classicMaximum;
    this.#holdMs = 1000 * negotiated.holdTime;
    this.#parser = new UpdateParser(negotiated.receive);
    this.#owner.established(this, now);
    this.#owner.emit({
      type: 'established',
      connection: this.connection as ConnectionId,
      negotiated,
      localOpen: this.#localOpen as OpenMessage,
      peerOpen: this.peerOpen as OpenMessage,
      localOpenBytes: this.#localOpenBytes as Uint8Array,
      peerOpenBytes: this.#peerOpenBytes as Uint8Array,
    });
  }

  #message(frame: Frame, now: number): void {
    const { type: kind, bytes, body, end } = frame;
    switch (kind) {
      case MessageType.update:
        this.#update(frame, now);
        break;
      case MessageType.keepalive:
        this.fire('KeepAliveMsg', now);
        break;
      case MessageType.open:
        this.#peerOpenBytes = bytes.slice(frame.start, end);
        this.#open(bytes.subarray(body, end), now);
        break;
      case MessageType.notification:
        this.#notified(decodeNotification(bytes.subarray(body, end)), now);
        break;
      case MessageType.routeRefresh:
        this.#refresh(bytes.subarray(body, end), now);
        break;
      default: {
        kind satisfies never;
      }
    }
  }

  #update({ bytes, start, body, end }: Frame, now: number): void {
    if (this.state !== 'established') {
      this.fire('UpdateMsg', now);
      return;
    }
    const update = (this.#parser as UpdateParser).parse(bytes, body, end);
    const { problem } = update;
    if (problem?.action === 'session-reset') {
      this.fire('UpdateMsgErr', now, {
        by: 'local',
        why: 'update-error',
        text: problem.reason,
        ...(problem.notification === undefined ? {} : { notification: problem.notification }),
      });
      return;
    }
    // Event 27 in Established leads nowhere else: "delivers, restarts the HoldTimer" without asking the machine, which
    // would cost as much as reading the message.
    if (this.timers.hold !== Number.POSITIVE_INFINITY) this.timers.hold = now + this.#holdMs;
    const output = this.#updateOutput;
    output.update = update;
    output.bytes = bytes;
    output.start = start;
    output.end = end;
    this.#owner.emit(output as PeerOutput);
  }

  #open(body: Uint8Array, now: number): void {
    const waiting = this.timers.isRunning('delayOpen');
    if (this.state !== 'open-sent' && !waiting) {
      this.fire('BGPOpen', now);
      return;
    }
    let open: OpenMessage;
    try {
      open = decodeOpen(body);
      checkOpen(this.#owner.config, open);
    } catch (error) {
      this.#refuse('BGPOpenMsgErr', 'open-error', error, now);
      return;
    }
    this.peerOpen = open;
    if (!this.#owner.mayOpen(this, open, now)) return;
    const { config, openState } = this.#owner;
    // With DelayOpen, ours has not been sent yet; what it will say is known.
    const local = waiting ? buildOpen(config, openState) : (this.#localOpen as OpenMessage);
    this.negotiated = negotiate(config, local, open, this.endpoints as Endpoints);
    this.fire(waiting ? 'BGPOpen with DelayOpenTimer running' : 'BGPOpen', now);
  }

  #notified(message: NotificationMessage, now: number): void {
    const version = message.code === ErrorCode.open && message.subcode === 1;
    const text = shutdownText(message);
    this.fire(version ? 'NotifMsgVerErr' : 'NotifMsg', now, {
      by: 'remote',
      why: 'notification',
      notification: message,
      text: text ?? notificationName(message.code, message.subcode),
    });
  }

  #refresh(body: Uint8Array, now: number): void {
    if (this.state !== 'established') {
      this.fire('UpdateMsg', now);
      return;
    }
    try {
      const message = decodeRouteRefresh(body);
      this.fire('KeepAliveMsg', now);
      // RFC 7313 section 4.1: BoRR and EoRR mean nothing to who did not offer the capability.
      if (message === undefined || !this.negotiated?.routeRefresh) return;
      if (message.subtype !== 'request' && !this.negotiated.enhancedRouteRefresh) return;
      this.#owner.emit({ type: 'route-refresh', message });
    } catch (error) {
      this.#refuse('UpdateMsgErr', 'route-refresh-error', error, now);
    }
  }

  #refuse(event: FsmEvent, why: DownWhy, error: unknown, now: number): void {
    if (!(error instanceof BgpError)) throw error;
    this.fire(event, now, {
      by: 'local',
      why,
      text: error.message,
      ...(error.notification === undefined ? {} : { notification: error.notification }),
    });
  }

  #reason(cause: Cause | undefined, was: PeerState): DownReason {
    const { negotiated } = this;
    return downReason(cause, { was, negotiated, config: this.#owner.config });
  }
}
