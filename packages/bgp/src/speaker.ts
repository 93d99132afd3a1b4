/**
 * The whole speaker without I/O: neighbours, RIBs, policy, update groups. What comes in is taken into the RIBs at once;
 * what follows from it for others is worked out once per update group when the call ends, and written only when
 * a neighbour's socket asks for it. Everything that walks tables goes in slices.
 */
import type { Address } from '@causeway/ip';
import { BgpError } from './errors.ts';
import type { ConnectionId, Endpoints, PeerInput } from './events.ts';
import type { PolicyLibrary } from './policy/types.ts';
import type { Gathered } from './rib/chunk.ts';
import type { SpeakerApi, SpeakerOptions, TestRoute } from './speaker/api.ts';
import type {
  OriginatedPath,
  PeerChange,
  ResetHow,
  SpeakerConfig,
  SpeakerPeerConfig,
} from './speaker/config.ts';
import { countersOf } from './speaker/counters.ts';
import type { FeedId, FeedItem, FeedSpec } from './speaker/feed-types.ts';
import { DecideJob, NextHopJob, sliceUnits } from './speaker/jobs.ts';
import { scopeNames } from './speaker/locals.ts';
import { Neighbours } from './speaker/neighbours.ts';
import { Parts } from './speaker/parts.ts';
import { testPolicy } from './speaker/test-policy.ts';
import type {
  NextHopState,
  Page,
  PeerRow,
  RouteQuery,
  RouteRow,
  SpeakerCounters,
  Why,
} from './speaker/types.ts';
import type { RouteRefreshMessage } from './wire/route-refresh.ts';

export class Speaker implements SpeakerApi {
  readonly #parts: Parts;
  readonly #neighbours: Neighbours;
  #now: number;

  /** Throws BgpError `invalid-config`. */
  constructor(options: SpeakerOptions, now: number) {
    this.#now = now;
    this.#parts = new Parts(options, now);
    this.#neighbours = new Neighbours(this.#parts);
  }

  // Time

  get deadline(): number | undefined {
    const { jobs, timers, groups, collector } = this.#parts;
    if (jobs.length > 0) return this.#now;
    const first = Math.min(
      timers.next ?? Number.POSITIVE_INFINITY,
      groups.deadline ?? Number.POSITIVE_INFINITY,
      collector.deadline ?? Number.POSITIVE_INFINITY,
    );
    return first === Number.POSITIVE_INFINITY ? undefined : first;
  }

  work(now: number): void {
    this.#now = now;
    const { timers, jobs, collector } = this.#parts;
    for (let due = timers.take(now); due !== undefined; due = timers.take(now)) due(now);
    const job = jobs[0];
    if (job?.step(sliceUnits)) jobs.splice(jobs.indexOf(job), 1);
    this.#flush(now);
    collector.work(now);
  }

  /** What became of this call, for the others. */
  #flush(now: number): void {
    this.#parts.groups.flush(now, sliceUnits);
    this.#parts.feeds.rouse();
    this.#parts.collector.look();
  }

  // Configuration

  configure(config: SpeakerConfig, now: number): void {
    this.#now = now;
    const before = this.#parts.config;
    const compiled = this.#parts.policies.check(config.policies);
    this.#parts.config = config;
    this.#parts.policies.swap(compiled);
    this.#parts.configureRibs();
    const same = (pick: (one: SpeakerConfig) => unknown) =>
      JSON.stringify(pick(before)) === JSON.stringify(pick(config));
    if (!same((one) => [one.asn, one.routerId, one.gracefulRestart]))
      this.#neighbours.reconfigureAll(config, now);
    if (!same((one) => [one.clusterId, one.routerId, one.asn])) {
      for (const peer of this.#parts.roster.all) this.#parts.policies.replace(peer);
    }
    if (!same((one) => [one.decision, one.multipath, one.routerId])) {
      for (const rib of Object.values(this.#parts.ribs))
        this.#parts.jobs.push(new DecideJob(rib, () => {}));
    }
    this.#flush(now);
  }

  setPolicies(policies: PolicyLibrary, now: number): void {
    this.#now = now;
    const compiled = this.#parts.policies.check(policies);
    this.#parts.config = { ...this.#parts.config, policies };
    this.#parts.policies.swap(compiled);
    this.#flush(now);
  }

  addPeer(config: SpeakerPeerConfig, now: number): void {
    this.#now = now;
    this.#neighbours.add(config, now);
  }

  updatePeer(config: SpeakerPeerConfig, now: number): PeerChange {
    this.#now = now;
    const change = this.#neighbours.update(config, now);
    this.#flush(now);
    return change;
  }

  removePeer(name: string, now: number, text?: string): void {
    this.#now = now;
    this.#neighbours.remove(name, now, text);
    this.#flush(now);
  }

  hasPeer(name: string): boolean {
    return this.#parts.roster.byName.has(name);
  }

  peerConfig(name: string): SpeakerPeerConfig | undefined {
    return this.#parts.roster.byName.get(name)?.config;
  }

  reset(name: string, how: ResetHow, now: number, text?: string): void {
    this.#now = now;
    this.#neighbours.reset(name, how, now, text);
    this.#flush(now);
  }

  stopAll(how: 'detach' | 'admin-shutdown', now: number, text?: string): void {
    this.#now = now;
    this.#neighbours.stopAll(how, now, text);
    this.#flush(now);
  }

  // Sessions

  input(name: string, input: PeerInput, now: number): void {
    this.#now = now;
    const peer = this.#parts.roster.byName.get(name);
    if (peer === undefined) {
      // The neighbour was removed while the event was on its way; its connections have been closed.
      if (input.type === 'connected' || input.type === 'accepted') {
        this.#parts.options.emit({ type: 'close', peer: name, connection: input.connection });
      }
      return;
    }
    if (input.type === 'target' && peer.config.target.address === undefined) {
      this.#parts.roster.locate(peer, input.address);
    }
    if (input.type === 'bytes') peer.bytesIn += input.bytes.length;
    this.#parts.sessions.handle(peer, input, now);
    this.#flush(now);
  }

  refresh(name: string, message: RouteRefreshMessage, now: number): void {
    this.input(name, { type: 'route-refresh', message }, now);
  }

  peerFor(endpoints: Endpoints): string | undefined {
    return this.#parts.roster.peerFor(endpoints);
  }

  // Routes of our own

  setPaths(owner: string, paths: readonly OriginatedPath[], now: number) {
    this.#now = now;
    const before = new Set(this.#parts.locals.scopes.keys());
    const result = this.#parts.locals.set(owner, paths);
    const after = this.#parts.locals.scopes;
    const concerned = new Set<string>();
    for (const scope of [...before, ...after.keys()]) {
      if (before.has(scope) !== after.has(scope))
        for (const name of scopeNames(scope)) concerned.add(name);
    }
    for (const name of concerned) {
      const peer = this.#parts.roster.byName.get(name);
      if (peer?.negotiated === undefined) continue;
      for (const family of peer.families.values()) {
        if (family.negotiated !== undefined) this.#parts.groups.place(peer, family);
      }
    }
    this.#flush(now);
    return result;
  }

  paths(owner: string): readonly OriginatedPath[] {
    return this.#parts.locals.of(owner);
  }

  owners(): readonly string[] {
    return this.#parts.locals.owners();
  }

  nextHops(): readonly Address[] {
    return this.#parts.sets.nextHops.unresolved();
  }

  setNextHop(address: Address, state: NextHopState, now: number): void {
    this.#now = now;
    const changed = this.#parts.sets.nextHops.set(address, state.reachable, state.metric);
    if (changed.length > 0) {
      for (const rib of Object.values(this.#parts.ribs))
        this.#parts.jobs.push(new NextHopJob(rib, changed));
    }
    this.#flush(now);
  }

  // Sending

  produce(
    name: string,
    connection: ConnectionId,
    maxBytes: number,
    now: number,
  ): readonly Uint8Array[] {
    this.#now = now;
    const peer = this.#parts.roster.byName.get(name);
    if (peer === undefined || peer.connection !== connection) return [];
    const gathered: Gathered = { parts: [], bytes: 0, messages: 0, announced: 0 };
    for (const family of peer.families.values()) {
      if (family.member === undefined) continue;
      const sentBefore = family.member.endOfRibSent;
      this.#parts.groups.produce(family, maxBytes, gathered);
      if (!sentBefore && family.member.endOfRibSent) {
        this.#parts.event({
          type: 'end-of-rib',
          peer: name,
          family: family.family,
          received: false,
        });
      }
      if (gathered.bytes >= maxBytes) break;
    }
    if (gathered.bytes < maxBytes) peer.awake = false;
    peer.updatesOut += gathered.messages;
    peer.bytesOut += gathered.bytes;
    return gathered.parts;
  }

  // Feeds

  openFeed(spec: FeedSpec): FeedId {
    return this.#parts.feeds.open(spec);
  }

  closeFeed(feed: FeedId): void {
    this.#parts.feeds.close(feed);
  }

  readFeed(feed: FeedId, limit: number): readonly FeedItem[] {
    return this.#parts.feeds.read(feed, limit);
  }

  // Looking

  peers(): readonly PeerRow[] {
    return this.#parts.show.peers();
  }

  peer(name: string): PeerRow | undefined {
    return this.#parts.show.peer(name);
  }

  routes(query: RouteQuery): Page<RouteRow> {
    return this.#parts.show.routes(query);
  }

  why(prefix: string, peer?: string): Why | undefined {
    return this.#parts.show.why(prefix, peer);
  }

  counters(): SpeakerCounters {
    return countersOf(this.#parts);
  }

  testPolicy(policy: string, route: TestRoute) {
    const compiled = this.#parts.policies.get(policy);
    if (compiled === undefined) {
      throw new BgpError('invalid-config', `there is no policy ${JSON.stringify(policy)}`, {
        value: policy,
      });
    }
    const peer = route.peer === undefined ? undefined : this.#parts.roster.known(route.peer);
    return testPolicy(compiled, route, this.#parts.config.asn, peer);
  }
}
