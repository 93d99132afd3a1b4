import koffi from 'koffi';
import { callError, invalidArgument } from '../errors.ts';
import type { Fd } from '../fd.ts';
import type { Netns } from '../netns.ts';
import { attachSocketFilter, type FilterInstruction, filterStep } from '../socket-filter.ts';
import { setSocketOption } from '../socket-options.ts';
import { AddressType, decodeAddress, type InterfaceAddress } from './address.ts';
import { addressFamily } from './family.ts';
import { decodeLink, type Link, LinkType } from './link.ts';
import { type NlMessage, parseMessages } from './message.ts';
import { decodeNeighbour, type Neighbour, NeighbourType } from './neighbour.ts';
import { decodeRoute, type Route, RouteMessageType } from './route.ts';
import { decodeRule, type Rule, RuleType } from './rule.ts';
import { bindRouteSocket, joinGroup, openRouteSocket, receive } from './socket.ts';

export type RtChange = 'new' | 'deleted';

export type RtEvent =
  | { readonly type: 'link'; readonly change: RtChange; readonly link: Link }
  | { readonly type: 'address'; readonly change: RtChange; readonly address: InterfaceAddress }
  | { readonly type: 'route'; readonly change: RtChange; readonly route: Route }
  | { readonly type: 'neighbour'; readonly change: RtChange; readonly neighbour: Neighbour }
  | { readonly type: 'rule'; readonly change: RtChange; readonly rule: Rule }
  /** The kernel dropped events as we were too slow: list everything again. */
  | { readonly type: 'resync'; readonly reason: string };

// RTNLGRP_* of linux/rtnetlink.h
const groups = {
  link: [1],
  neighbour: [3],
  address: [5, 9],
  route: [7, 11],
  rule: [8, 19],
} as const;
export type RtGroup = keyof typeof groups;

export interface RtMonitorOptions {
  readonly ns?: Netns;
  readonly groups: readonly RtGroup[];
  /** If it throws, the monitor closes and onError is told. */
  readonly onEvent: (event: RtEvent) => void;
  readonly onError?: (error: unknown) => void;
  /** New routes of this rtm_protocol are not told of: who writes thousands need not hear of each. Deletions are. */
  readonly ownRoutes?: number;
  /** Bytes that the kernel keeps for us while we are busy; 4 MiB by default. */
  readonly receiveBuffer?: number;
}

const nonBlocking = 0x800;
const dontWait = 0x40; // MSG_DONTWAIT
const receiveBufferForce = { level: 1, name: 33 };
const noBuffers = 105; // ENOBUFS
const wouldBlock = 11;
const interrupted = 4;
/** Datagrams in one turn of the event loop. */
const mostPerTurn = 256;

/**
 * The kernel's news of links, addresses, routes, neighbours and rules of one namespace. Start it
 * before the first listing, so that nothing falls between.
 */
export class RtMonitor implements Disposable {
  readonly #options: RtMonitorOptions;
  readonly #fd: Fd;
  readonly #buffer = new Uint8Array(65536);
  #poll: InstanceType<typeof koffi.node.PollHandle> | undefined;

  constructor(options: RtMonitorOptions) {
    this.#options = options;
    this.#fd = openRouteSocket(options.ns, nonBlocking);
    try {
      setSocketOption(this.#fd.number, receiveBufferForce, options.receiveBuffer ?? 4 << 20);
      if (options.ownRoutes !== undefined) {
        attachSocketFilter(this.#fd.number, withoutNewRoutes(options.ownRoutes));
      }
      bindRouteSocket(this.#fd);
      for (const name of options.groups) {
        if (!(name in groups)) throw invalidArgument('monitor', `no group ${name}`, name);
        for (const group of groups[name]) joinGroup(this.#fd, group);
      }
      this.#poll = koffi.node.poll(this.#fd.number, { readable: true }, () => this.#turn());
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /** Lets the process end while this waits. */
  unref(): void {
    this.#poll?.unref();
  }

  close(): void {
    this.#poll?.stop();
    this.#poll?.close();
    this.#poll = undefined;
    this.#fd.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #turn(): void {
    try {
      for (let i = 0; i < mostPerTurn && !this.#fd.closed; i++) {
        const datagram = receive(this.#fd, this.#buffer, dontWait);
        if (datagram === wouldBlock) return;
        if (datagram === interrupted) continue;
        if (datagram === noBuffers) {
          this.#options.onEvent({ type: 'resync', reason: 'the socket overflowed: ENOBUFS' });
          continue;
        }
        if (typeof datagram === 'number') throw callError('receive events', datagram);
        for (const message of parseMessages(datagram)) {
          const event = decodeEvent(message);
          if (event !== undefined && !this.#fd.closed) this.#options.onEvent(event);
        }
      }
    } catch (error) {
      this.close();
      this.#options.onError?.(error);
    }
  }
}

/** Has the kernel drop the news of new routes with this rtm_protocol. */
function withoutNewRoutes(protocol: number): readonly FilterInstruction[] {
  const { loadByte, skipIfEqual, accept, refuse } = filterStep;
  // Offsets in struct nlmsghdr and struct rtmsg behind it; a notification is a datagram of its own. The
  // type's low byte tells it from every other kind: of those above 255 there are none.
  return [
    loadByte(4),
    skipIfEqual(RouteMessageType.new, 0, 3),
    loadByte(16 + 5),
    skipIfEqual(protocol, 0, 1),
    refuse,
    accept,
  ];
}

/** One notification; undefined for kinds that are not listed above. */
export function decodeEvent(message: NlMessage): RtEvent | undefined {
  const { payload } = message;
  // Bridges tell of their ports by link messages of their own family: a port that leaves its bridge
  // is no link that goes.
  const isLink = message.type === LinkType.new || message.type === LinkType.delete;
  if (isLink && payload[0] === addressFamily.bridge) return undefined;
  switch (message.type) {
    case LinkType.new:
      return { type: 'link', change: 'new', link: decodeLink(payload) };
    case LinkType.delete:
      return { type: 'link', change: 'deleted', link: decodeLink(payload) };
    case AddressType.new:
      return { type: 'address', change: 'new', address: decodeAddress(payload) };
    case AddressType.delete:
      return { type: 'address', change: 'deleted', address: decodeAddress(payload) };
    case RouteMessageType.new:
    case RouteMessageType.delete: {
      const route = decodeRoute(payload);
      const change = message.type === RouteMessageType.new ? 'new' : 'deleted';
      return route && { type: 'route', change, route };
    }
    case NeighbourType.new:
    case NeighbourType.delete: {
      const neighbour = decodeNeighbour(payload);
      const change = message.type === NeighbourType.new ? 'new' : 'deleted';
      return neighbour && { type: 'neighbour', change, neighbour };
    }
    case RuleType.new:
    case RuleType.delete: {
      const rule = decodeRule(payload);
      const change = message.type === RuleType.new ? 'new' : 'deleted';
      return rule && { type: 'rule', change, rule };
    }
    default:
      return undefined;
  }
}
