import type { ParsedUpdate, UpdateParser } from '@causeway/bgp';
import {
  BmpError,
  type BmpMessage,
  decodeMessage,
  Framer,
  MESSAGE_TYPE,
  type PeerDown,
  type PeerHeader,
  type PeerMessage,
  type PeerUp,
  type RouteMirroring,
} from '@causeway/bmp';
import { causeOf } from '../cause.ts';
import type { CloseReason } from '../errors.ts';
import type { FaultNode } from '../faults/types.ts';
import { PrefixLog } from '../history/prefix-log.ts';
import { Change, type PrefixList } from '../routes/rib.ts';
import type { RouterHost } from './host.ts';
import { Feed, Peer } from './peer.ts';

/** A table that has been silent for so long has been told, End-of-RIB or not. */
const QUIET_MS = 5_000;
/** Bytes of a log of changes that are written without waiting. */
const LOG_BYTES = 64 * 1024;
/** Where in a frame type, flags, distinguisher and address of the peer stand: enough to know the feed by. */
const KEY_START = 6;
const KEY_END = 6 + 26;
const UPDATE_BODY = 6 + 42 + 19;

interface Reader {
  readonly feed: Feed;
  readonly parser: UpdateParser;
}

/**
 * One router's connection: bytes in; routes, events and faults out through the host. No I/O, no clock: `now` is
 * ms since 1970.
 */
export class Router {
  readonly address: string;
  readonly port: number;
  readonly connectedAt: number;
  readonly peers = new Map<string, Peer>();
  readonly #host: RouterHost;
  readonly #framer: Framer;
  readonly #readers = new Map<string, Reader>();
  /** Undefined before Initiation. */
  id: number | undefined;
  sysName = '';
  sysDescr = '';
  information: string[] = [];
  closing: CloseReason | undefined;
  messages = 0;
  bytes = 0;
  /** What was passed over: unknown types, messages of peers that nobody said were up, routes of other families. */
  readonly ignored = { unknown: 0, orphaned: 0, otherFamilies: 0 };
  /** Told once in a log, not once per message. */
  #malformedTold = 0;

  constructor(host: RouterHost, address: string, port: number, now: number) {
    this.#host = host;
    this.address = address;
    this.port = port;
    this.connectedAt = now;
    this.#framer = new Framer(host.limits.messageBytes);
  }

  /** What a person calls it. */
  get name(): string {
    return this.sysName === '' ? this.address : this.sysName;
  }

  /** Bytes from the router. A reason is given when the connection is to be closed. */
  receive(chunk: Uint8Array, now: number): CloseReason | undefined {
    this.bytes += chunk.length;
    try {
      this.#framer.push(chunk, (frame) => {
        if (this.closing === undefined) this.#message(frame, now);
      });
    } catch (error) {
      if (!(error instanceof BmpError)) throw error;
      this.closing = { code: 'malformed', detail: error.code, text: error.message };
    }
    return this.closing;
  }

  #message(frame: Uint8Array, now: number): void {
    this.messages += 1;
    if (this.id === undefined && frame[5] !== MESSAGE_TYPE.initiation) {
      // RFC 7854 section 4.3: "The initiation message MUST be sent as the first message".
      throw new BmpError('bad-order', frame[5], `message type ${frame[5]} before Initiation`);
    }
    if (frame[5] === MESSAGE_TYPE.routeMonitoring && this.#routes(frame, now)) return;
    this.#handle(decodeMessage(frame), now);
  }

  /** Route Monitoring of a feed that is known needs no decoding. False: it is not known. */
  #routes(frame: Uint8Array, now: number): boolean {
    const reader = this.#readers.get(keyOf(frame));
    if (reader === undefined || !reader.feed.peer.up || !isUpdate(frame)) return false;
    this.#update(reader, frame, now);
    return true;
  }

  #handle(message: BmpMessage, now: number): void {
    switch (message.type) {
      case 'initiation':
        this.#initiation(message, now);
        return;
      case 'termination': {
        const text = message.information.flatMap((one) => ('text' in one ? [one.text] : []));
        this.closing = {
          code: 'terminated',
          detail: String(message.reason ?? 'no reason given'),
          ...(text.length === 0 ? {} : { text: text.join('; ') }),
        };
        return;
      }
      case 'unknown':
        this.ignored.unknown += 1;
        return;
      case 'peer-up':
        this.#peerUp(message, now);
        return;
      default:
        this.#ofPeer(message, now);
    }
  }

  #ofPeer(message: Exclude<PeerMessage, PeerUp>, now: number): void {
    const peer = this.peers.get(peerKey(message.peer));
    if (peer === undefined || !peer.up) {
      this.ignored.orphaned += 1;
      return;
    }
    switch (message.type) {
      case 'peer-down':
        this.#peerDown(peer, message, now);
        return;
      case 'route-monitoring':
        this.#learn(peer, message.peer, message.update, now);
        return;
      case 'statistics':
        // The bytes of what is not known are the frame's.
        peer.statistics = message.statistics.filter(({ type }) => type !== 'unknown');
        peer.statisticsAt = now;
        return;
      case 'route-mirroring':
        this.#mirrored(peer, message, now);
        return;
      default:
        message satisfies never;
    }
  }

  #initiation(message: Extract<BmpMessage, { type: 'initiation' }>, now: number): void {
    const text = (type: string): string | undefined =>
      message.information
        .flatMap((one) => (one.type === type && 'text' in one ? [one.text] : []))
        .at(0);
    this.sysName = (text('sysName') ?? this.sysName).slice(0, 255);
    this.sysDescr = (text('sysDescr') ?? this.sysDescr).slice(0, 1000);
    this.information = message.information
      .flatMap((one) => (one.type === 'string' ? [one.text.slice(0, 1000)] : []))
      .slice(0, 16);
    if (this.id === undefined) this.#host.identified(this, now);
  }

  #peerUp(message: PeerUp, now: number): void {
    const key = peerKey(message.peer);
    let peer = this.peers.get(key);
    if (peer === undefined) {
      if (this.peers.size >= this.#host.limits.peersPerRouter) {
        const text = `more than ${this.#host.limits.peersPerRouter} peers`;
        this.closing = { code: 'too-many-peers', text };
        return;
      }
      peer = new Peer(this.#host.peerId(this, key), key, message.peer);
      this.peers.set(key, peer);
    }
    if (peer.isSameUp(message)) return;
    if (peer.up) this.#down(peer, { closedBy: 'unknown', why: 'unknown' }, now);
    peer.setUp(message, now);
    // What was negotiated anew is read anew.
    for (const [known, reader] of this.#readers) {
      if (reader.feed.peer === peer) this.#readers.delete(known);
    }
    this.#host.peerUp(this, peer, message.peer.timestamp, now);
  }

  #peerDown(peer: Peer, message: PeerDown, now: number): void {
    this.#down(peer, causeOf(message.reason), now, message.peer.timestamp);
  }

  #down(peer: Peer, cause: ReturnType<typeof causeOf>, now: number, timestamp = 0): void {
    this.flushLogs(peer);
    const lists = this.#clear(peer, cause.why !== 'monitoring-ended');
    peer.up = false;
    peer.since = now;
    peer.downs += 1;
    peer.lastDown = { at: now, cause };
    this.#host.peerDown(this, peer, cause, lists, timestamp, now);
  }

  /** Takes a peer's routes out; with `list`, the prefixes that it was the way to are given. */
  #clear(peer: Peer, list: boolean): PrefixList[] {
    const { rib } = this.#host;
    const ways = this.#waysOf(peer);
    const lists: PrefixList[] = [];
    for (const feed of peer.feeds.values()) {
      lists.push(...rib.clear(feed.number, list && feed === ways));
    }
    return lists;
  }

  /** The table that says what a peer is the way to: after policy, where the router tells that. */
  #waysOf(peer: Peer): Feed | undefined {
    const { rib } = this.#host;
    const after = peer.feeds.get('in-post');
    if (after !== undefined && rib.countOf(after.number) > 0) return after;
    return peer.feeds.get('in-pre') ?? after;
  }

  #learn(peer: Peer, header: PeerHeader, update: Uint8Array, now: number): void {
    const { view } = header;
    let feed = peer.feeds.get(view);
    if (feed === undefined) {
      feed = new Feed(this.#host.rib.openFeed(), peer, view);
      peer.feeds.set(view, feed);
      this.#host.feedOpened(this, feed);
    }
    const legacy = header.type !== 'loc-rib' && header.legacyAsPath;
    const reader: Reader = { feed, parser: peer.parser(view, legacy) };
    // The frame is the update's buffer: its key stands at a fixed distance before it.
    const frame = new Uint8Array(
      update.buffer,
      update.byteOffset - (UPDATE_BODY - 19),
      UPDATE_BODY - 19 + update.length,
    );
    this.#readers.set(keyOf(frame), reader);
    this.#update(reader, frame, now);
  }

  #update({ feed, parser }: Reader, frame: Uint8Array, now: number): void {
    const update = parser.parse(frame, UPDATE_BODY, frame.length);
    const { peer } = feed;
    peer.counters.updates += 1;
    feed.lastUpdate = now;
    if (update.problem !== undefined) this.#malformed(feed, update, now);
    if (update.endOfRib !== undefined) {
      this.#dumped(feed, update.endOfRib === 'ipv4-unicast' ? 0 : 1, now);
      return;
    }
    const logged = this.#isLogged(feed);
    const taken = this.#host.rib.apply(
      feed.number,
      update,
      Math.floor(now / 1000),
      (change, family, prefix) => {
        this.#changed(feed, logged, change, family, prefix, now);
      },
    );
    if (!taken) {
      const text = `${this.#host.rib.size} routes are held for all routers together`;
      this.closing = { code: 'too-many-routes', text };
    }
    if (feed.log.size > LOG_BYTES) this.#flushLog(feed, now);
  }

  #changed(
    feed: Feed,
    logged: boolean,
    change: Change,
    family: number,
    prefix: number,
    now: number,
  ): void {
    const { counters } = feed.peer;
    if (change === Change.announced) counters.announced += 1;
    else if (change === Change.changed) counters.changed += 1;
    else {
      counters.withdrawn += 1;
      this.#host.withdrawals.add(now, feed.number, family, prefix);
    }
    // The first telling of a table is one event, not one per route.
    if (!logged || (feed.dumping[family] === true && change !== Change.withdrawn)) return;
    feed.log.add(change, this.#host.rib.tables[family]!.prefixes, prefix);
  }

  /** Of tables that say the same, one is enough for the history; what is sent out is not told there. */
  #isLogged({ view, peer }: Feed): boolean {
    if (view === 'in-post' || view === 'loc') return true;
    return view === 'in-pre' && !peer.feeds.has('in-post');
  }

  #malformed(feed: Feed, { problem }: ParsedUpdate, now: number): void {
    // VPN, EVPN and others: sound, only not kept here.
    if (problem!.reason === 'family-not-agreed') {
      this.ignored.otherFamilies += 1;
      return;
    }
    feed.peer.counters.malformed += 1;
    // One in a second for each router: a broken router must not write the history full.
    if (now - this.#malformedTold < 1000) return;
    this.#malformedTold = now;
    const { action, reason, attribute } = problem!;
    this.#host.event('malformed', this, feed.peer, now, {
      view: feed.view,
      reason,
      attribute,
      treatedAs: action,
      soFar: feed.peer.counters.malformed,
    });
  }

  #mirrored(peer: Peer, { tlvs }: RouteMirroring, now: number): void {
    peer.counters.mirrored += 1;
    const codes = tlvs.flatMap((tlv) => (tlv.type === 'information' ? [tlv.code] : []));
    // Copies of sound messages are only counted.
    if (codes.length === 0) return;
    const message = tlvs.find((tlv) => tlv.type === 'bgp-message');
    this.#host.event('mirrored', this, peer, now, {
      codes,
      ...(message?.type === 'bgp-message'
        ? { message: Buffer.from(message.message.subarray(0, 256)).toString('hex') }
        : {}),
    });
  }

  #dumped(feed: Feed, family: number, now: number): void {
    if (feed.dumping[family] !== true) return;
    feed.dumping[family] = false;
    const routes = this.#host.rib.tables[family]!.countOf(feed.number);
    this.#host.tableTold(this, feed, family, routes, now);
  }

  /** Once a second: writes logs of changes, and ends the first telling of tables that have become quiet. */
  tick(now: number): void {
    for (const peer of this.peers.values()) {
      for (const feed of peer.feeds.values()) {
        this.#flushLog(feed, now);
        if (!peer.up || now - feed.lastUpdate < QUIET_MS) continue;
        feed.dumping.forEach((dumping, family) => {
          if (dumping && this.#host.rib.tables[family]!.countOf(feed.number) > 0) {
            this.#dumped(feed, family, now);
          }
        });
      }
    }
  }

  flushLogs(peer: Peer): void {
    for (const feed of peer.feeds.values()) this.#flushLog(feed, feed.lastUpdate);
  }

  #flushLog(feed: Feed, now: number): void {
    if (feed.log.size === 0) return;
    const [announced, changed, withdrawn] = feed.log.counts;
    const data = { view: feed.view, announced, changed, withdrawn };
    this.#host.event('routes', this, feed.peer, now, data, feed.log.take());
  }

  /** The connection is gone: what the router told is not known any more. */
  close(now: number): void {
    const feeds = new Set<number>();
    for (const peer of this.peers.values()) {
      this.flushLogs(peer);
      this.#clear(peer, false);
      for (const feed of peer.feeds.values()) {
        feeds.add(feed.number);
        this.#host.rib.closeFeed(feed.number);
      }
      if (peer.up) this.#host.sessionUnknown(peer, now);
    }
    this.#host.feedsClosed(feeds);
    this.peers.clear();
    this.#readers.clear();
  }

  /** The router as a speaker: by the identifiers that its OPENs gave. */
  get nodes(): FaultNode[] {
    const nodes = new Map<string, FaultNode>();
    for (const peer of this.peers.values()) {
      if (peer.sentOpen === undefined) continue;
      nodes.set(peer.localId, { bgpId: peer.localId, asn: peer.localAsn, name: this.name });
    }
    return [...nodes.values()];
  }
}

/** Every lost prefix once, for the event. */
export function logOf(
  lists: readonly PrefixList[],
  rib: RouterHost['rib'],
): Uint8Array | undefined {
  const log = new PrefixLog();
  for (const { family, prefixes } of lists) {
    const table = rib.tables[family]!.prefixes;
    for (const prefix of prefixes) log.add(Change.lost, table, prefix);
  }
  return log.take();
}

/** RFC 7854 section 4.2: distinguisher and address tell peers apart. */
function peerKey(header: PeerHeader): string {
  const address = header.type === 'loc-rib' ? '' : header.address;
  return `${header.type} ${header.distinguisher} ${address}`;
}

const keyOf = (frame: Uint8Array): string =>
  Buffer.from(frame.buffer, frame.byteOffset + KEY_START, KEY_END - KEY_START).toString('latin1');

/** Everything that `decodeMessage` would have refused: the marker, the length and the type of the BGP message. */
function isUpdate(frame: Uint8Array): boolean {
  const start = UPDATE_BODY - 19;
  if (frame.length < UPDATE_BODY + 4 || frame[start + 18] !== 2) return false;
  if (((frame[start + 16]! << 8) | frame[start + 17]!) !== frame.length - start) return false;
  for (let i = start; i < start + 16; i += 1) if (frame[i] !== 0xff) return false;
  return true;
}
