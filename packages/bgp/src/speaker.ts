/**
 * The whole speaker without I/O: neighbours, RIBs, policy, update groups. What comes in is taken into the RIBs at once;
 * what follows from it for others is worked out once per update group when the call ends, and written only when
 * a neighbour's socket asks for it. Everything that walks tables goes in slices.
 */
import type { Address } from '@causeway/ip';
import { BgpError } from './errors.ts';
import type { ConnectionId, Endpoints, PeerInput, PeerOutput } from './events.ts';
import { Peer } from './peer.ts';
import { PolicyBinder } from './policy/bound.ts';
import { type CompiledPolicy, compilePolicies } from './policy/compile.ts';
import type { PolicyLibrary } from './policy/types.ts';
import { AttributeTable } from './rib/attribute-table.ts';
import type { Gathered } from './rib/chunk.ts';
import { NextHopTable } from './rib/next-hops.ts';
import { PeerColumns, PeerKind } from './rib/peer-columns.ts';
import { mostOfOne, Rib } from './rib/rib.ts';
import type { SpeakerApi, SpeakerOptions, TestRoute } from './speaker/api.ts';
import type {
  OriginatedPath,
  PeerChange,
  ResetHow,
  SpeakerConfig,
  SpeakerPeerConfig,
} from './speaker/config.ts';
import { Deferral } from './speaker/deferral.ts';
import { Feeds } from './speaker/feeds.ts';
import { Groups } from './speaker/groups.ts';
import {
  DecideJob,
  type Job,
  NextHopJob,
  PurgeJob,
  ReimportJob,
  sliceUnits,
} from './speaker/jobs.ts';
import { LocalPaths, scopeNames } from './speaker/locals.ts';
import { type PeerFamily, type SpeakerPeer, sessionConfig } from './speaker/peer.ts';
import { Importers, receive } from './speaker/receive.ts';
import { Refreshed } from './speaker/refreshed.ts';
import { Restarts } from './speaker/restart.ts';
import { Show } from './speaker/show.ts';
import { testPolicy } from './speaker/test-policy.ts';
import { Timers } from './speaker/timers.ts';
import type {
  FeedId,
  FeedItem,
  FeedSpec,
  NextHopState,
  Page,
  PeerRow,
  RouteQuery,
  RouteRow,
  SpeakerCounters,
  SpeakerEffect,
  SpeakerEvent,
  Why,
} from './speaker/types.ts';
import { Family, type FamilyKey, familyTable, RouterId } from './types.ts';
import type { RouteRefreshMessage } from './wire/route-refresh.ts';

/** Gone prefixes and paths that somebody has not been told of, beyond which who lags is let go. */
const mostLimbo = 100_000;
/** Of them looked at in one call. */
const mostCollected = 20_000;

export class Speaker implements SpeakerApi {
  #config: SpeakerConfig;
  #policies: Map<string, CompiledPolicy>;
  readonly #options: SpeakerOptions;
  readonly #columns = new PeerColumns();
  readonly #sets = new AttributeTable(new NextHopTable());
  readonly #ribs: Readonly<Record<FamilyKey, Rib>>;
  readonly #binder = new PolicyBinder(this.#sets);
  readonly #locals: LocalPaths;
  readonly #groups: Groups;
  readonly #importers: Importers;
  readonly #peers = new Map<string, SpeakerPeer>();
  readonly #byIndex: (SpeakerPeer | undefined)[] = [];
  readonly #byAddress = new Map<Address, readonly SpeakerPeer[]>();
  readonly #timers = new Timers();
  readonly #jobs: Job[] = [];
  readonly #refreshes = new Refreshed((job) => this.#jobs.push(job));
  readonly #restarts: Restarts;
  readonly #deferral: Deferral;
  readonly #feeds: Feeds;
  readonly #show: Show;
  #now: number;
  #collectAt = 0;
  #collecting = false;

  /** Throws BgpError `invalid-config`. */
  constructor(options: SpeakerOptions, now: number) {
    this.#options = options;
    this.#config = options.config;
    this.#now = now;
    this.#policies = compilePolicies(options.config.policies);
    const rib = (family: FamilyKey) =>
      new Rib(family, this.#sets, this.#columns, Math.floor(options.random() * 2 ** 32));
    this.#ribs = { 'ipv4-unicast': rib('ipv4-unicast'), 'ipv6-unicast': rib('ipv6-unicast') };
    this.#configureRibs();
    this.#locals = new LocalPaths(this.#ribs);
    const policy = (name: string | undefined) =>
      name === undefined ? undefined : this.#policies.get(name);
    this.#groups = new Groups(
      () => this.#config,
      policy,
      this.#binder,
      this.#locals,
      (index) => this.#wake(index),
    );
    this.#importers = new Importers(() => this.#config, policy, this.#binder);
    this.#restarts = new Restarts({
      timers: this.#timers,
      addJob: (job) => this.#jobs.push(job),
      event: (event) => this.#event(event),
      settled: (peer) => this.#forgetIfGone(peer),
    });
    this.#deferral = new Deferral(
      options.restarting === undefined
        ? undefined
        : {
            expected: options.restarting.expected,
            seconds: options.config.gracefulRestart?.deferral ?? 60,
          },
      now,
      this.#timers,
      (why, at) => this.#undefer(why, at),
    );
    for (const one of Object.values(this.#ribs)) {
      one.deferred = this.#deferral.isOn;
      one.held = this.#deferral.isOn;
    }
    this.#feeds = new Feeds({
      ribs: this.#ribs,
      columns: this.#columns,
      peers: this.#peers,
      byIndex: this.#byIndex,
      locals: this.#locals,
      wake: (feed) => options.emit({ type: 'feed', feed }),
    });
    this.#show = new Show({
      ribs: this.#ribs,
      columns: this.#columns,
      peers: this.#peers,
      byIndex: this.#byIndex,
      locals: this.#locals,
    });
    this.#deferral.start(now);
  }

  #configureRibs(): void {
    for (const rib of Object.values(this.#ribs)) {
      rib.decision.configure(this.#config.decision ?? {});
      rib.configureMultipath(this.#config.multipath ?? {});
    }
    this.#columns.routerId[0] = RouterId.toNumber(this.#config.routerId);
  }

  // Time

  get deadline(): number | undefined {
    if (this.#jobs.length > 0) return this.#now;
    let first = this.#timers.next;
    const groups = this.#groups.deadline;
    if (groups !== undefined && (first === undefined || groups < first)) first = groups;
    if (this.#collecting && (first === undefined || this.#collectAt < first))
      first = this.#collectAt;
    return first;
  }

  work(now: number): void {
    this.#now = now;
    for (let due = this.#timers.take(now); due !== undefined; due = this.#timers.take(now))
      due(now);
    const job = this.#jobs[0];
    if (job?.step(sliceUnits)) this.#jobs.splice(this.#jobs.indexOf(job), 1);
    this.#flush(now);
    if (now >= this.#collectAt) this.#collect(now);
  }

  /** What became of this call, for the others. */
  #flush(now: number): void {
    this.#groups.flush(now, sliceUnits);
    this.#feeds.rouse();
    for (const rib of Object.values(this.#ribs)) {
      if (rib.limbo > 0 || rib.tombs > 0) this.#collecting = true;
    }
  }

  #collect(now: number): void {
    this.#collecting = false;
    this.#collectAt = now + 500;
    for (const rib of Object.values(this.#ribs)) {
      if (rib.collect(mostCollected)) this.#collectAt = now;
      this.#feeds.limit(rib);
      if (rib.limbo > mostLimbo + (rib.prefixes.size - rib.limbo) / 2) this.#letGo(rib, now);
      if (rib.limbo > 0 || rib.tombs > 0) this.#collecting = true;
    }
  }

  /** A neighbour that takes nothing makes us remember every prefix that came and went: not without end. */
  #letGo(rib: Rib, now: number): void {
    for (const peer of this.#peers.values()) {
      const { group, member } = peer.families.get(rib.family) ?? {};
      if (group === undefined || member === undefined) continue;
      if (group.pending(member) < mostLimbo) continue;
      this.#handle(
        peer,
        {
          type: 'stop',
          how: 'out-of-resources',
          text: 'too many changes not taken',
          restartAfter: 10_000,
        },
        now,
      );
    }
  }

  // Configuration

  configure(config: SpeakerConfig, now: number): void {
    this.#now = now;
    const before = this.#config;
    const compiled = this.#checkedPolicies(config.policies);
    this.#config = config;
    this.#swapPolicies(compiled);
    this.#configureRibs();
    const same = (pick: (one: SpeakerConfig) => unknown) =>
      JSON.stringify(pick(before)) === JSON.stringify(pick(config));
    if (!same((one) => [one.asn, one.routerId, one.gracefulRestart])) {
      for (const peer of this.#peers.values()) {
        peer.peer.reconfigure(sessionConfig(peer.config, config), now, (output) =>
          this.#output(peer, output, now),
        );
        this.#schedule(peer);
      }
    }
    if (!same((one) => [one.clusterId, one.routerId, one.asn])) {
      for (const peer of this.#peers.values()) this.#replace(peer);
    }
    if (!same((one) => [one.decision, one.multipath, one.routerId])) {
      for (const rib of Object.values(this.#ribs)) this.#jobs.push(new DecideJob(rib, () => {}));
    }
    this.#flush(now);
  }

  setPolicies(policies: PolicyLibrary, now: number): void {
    this.#now = now;
    const compiled = this.#checkedPolicies(policies);
    this.#config = { ...this.#config, policies };
    this.#swapPolicies(compiled);
    this.#flush(now);
  }

  #checkedPolicies(library: PolicyLibrary): Map<string, CompiledPolicy> {
    const compiled = compilePolicies(library);
    for (const { name, config } of this.#peers.values()) checkPolicyNames(name, config, compiled);
    return compiled;
  }

  #swapPolicies(compiled: Map<string, CompiledPolicy>): void {
    const changed = new Set<string>();
    for (const [name, policy] of this.#policies) {
      const next = compiled.get(name);
      if (next?.fingerprint === policy.fingerprint) compiled.set(name, policy);
      else {
        changed.add(name);
        this.#importers.forgetPolicy(policy);
      }
    }
    this.#policies = compiled;
    if (changed.size === 0) return;
    this.#groups.policyChanged(changed, (index) => this.#byIndex[index]);
    const concerned = [...this.#peers.values()].filter((peer) =>
      peer.config.families.some((one) => one.import !== undefined && changed.has(one.import)),
    );
    this.#reimport(concerned);
  }

  /** Import policy anew for those whose importer is another now, all in one walk over the paths. */
  #reimport(peers: readonly SpeakerPeer[], always = false): void {
    for (const { key } of familyTable) {
      const concerned = new Map<number, PeerFamily>();
      for (const peer of peers) {
        const family = peer.families.get(key);
        if (family?.negotiated === undefined || peer.negotiated === undefined) continue;
        if (this.#importers.assign(peer, family) || always) concerned.set(peer.index, family);
      }
      if (concerned.size === 0) continue;
      const importer = (peer: number) => concerned.get(peer)?.importer;
      this.#jobs.push(new ReimportJob(this.#ribs[key], importer, () => {}));
    }
  }

  /** Rules that do not touch the session: import and export anew. True: something differs. */
  #replace(peer: SpeakerPeer): boolean {
    if (peer.negotiated === undefined) return false;
    let differs = false;
    for (const family of peer.families.values()) {
      if (family.negotiated === undefined) continue;
      const before = family.importer;
      this.#reimport([peer]);
      if (family.importer !== before) differs = true;
      if (this.#groups.place(peer, family)) differs = true;
    }
    return differs;
  }

  addPeer(config: SpeakerPeerConfig, now: number): void {
    this.#now = now;
    if (this.#peers.has(config.name)) {
      throw new BgpError('invalid-config', `there is a neighbour ${config.name} already`, {
        value: config.name,
      });
    }
    checkPolicyNames(config.name, config, this.#policies);
    const session = new Peer(sessionConfig(config, this.#config), {
      random: this.#options.random,
      nextConnection: this.#options.nextConnection,
      restarting: this.#deferral.isOn,
    });
    const index = this.#columns.add(config.name);
    if (index === undefined) {
      throw new BgpError('invalid-config', `no more than ${PeerColumns.limit} neighbours at once`, {
        value: config.name,
      });
    }
    const { forwardingKept } = this.#options;
    if (forwardingKept !== undefined) session.setForwarding(forwardingKept);
    const peer: SpeakerPeer = {
      name: config.name,
      index,
      config,
      peer: session,
      families: new Map(),
      state: 'idle',
      since: now,
      negotiated: undefined,
      connection: undefined,
      address: undefined,
      lastDown: undefined,
      ups: 0,
      downs: 0,
      updatesIn: 0,
      updatesOut: 0,
      bytesIn: 0,
      bytesOut: 0,
      awake: false,
      removed: false,
      timerAt: undefined,
    };
    this.#families(peer);
    this.#peers.set(config.name, peer);
    this.#byIndex[index] = peer;
    this.#locate(peer, config.target.address);
    this.#handle(peer, { type: 'start' }, now);
  }

  #families(peer: SpeakerPeer): void {
    for (const config of peer.config.families) {
      const known = peer.families.get(config.family);
      if (known !== undefined) {
        known.config = config;
        continue;
      }
      peer.families.set(config.family, {
        family: config.family,
        rib: this.#ribs[config.family],
        config,
        negotiated: undefined,
        importer: undefined,
        group: undefined,
        member: undefined,
        next: undefined,
        endOfRibReceived: false,
        restart: undefined,
        llgrSeconds: 0,
        purge: undefined,
        warned: false,
        limited: false,
      });
    }
  }

  updatePeer(config: SpeakerPeerConfig, now: number): PeerChange {
    this.#now = now;
    const peer = this.#known(config.name);
    if (JSON.stringify(peer.config) === JSON.stringify(config)) return 'unchanged';
    checkPolicyNames(config.name, config, this.#policies);
    const clientBefore = peer.config.routeReflectorClient === true;
    peer.config = config;
    if (config.target.address !== undefined) this.#locate(peer, config.target.address);
    this.#families(peer);
    const change = peer.peer.reconfigure(sessionConfig(config, this.#config), now, (output) =>
      this.#output(peer, output, now),
    );
    this.#schedule(peer);
    for (const [key, family] of peer.families) {
      if (config.families.some((one) => one.family === key)) continue;
      // The session is gone if it carried this family: so will be its paths.
      this.#restarts.purge(peer, family);
    }
    let soft = this.#replace(peer);
    if (clientBefore !== (config.routeReflectorClient === true)) {
      this.#columns.client[peer.index] = config.routeReflectorClient === true ? 1 : 0;
      this.#groups.reexamine();
      soft = true;
    }
    if (peer.negotiated !== undefined)
      for (const one of peer.families.values()) this.#checkMax(peer, one, now);
    this.#flush(now);
    if (change === 'restarted') return 'restarted';
    return soft ? 'soft-reset' : 'updated-live';
  }

  removePeer(name: string, now: number, text?: string): void {
    this.#now = now;
    const peer = this.#known(name);
    peer.removed = true;
    this.#handle(
      peer,
      { type: 'stop', how: 'de-configured', ...(text === undefined ? {} : { text }) },
      now,
    );
    this.#peers.delete(name);
    this.#locate(peer, undefined);
    this.#deferral.removed(name, now);
    // Kept from an earlier fall, if there is no session now.
    for (const family of peer.families.values()) {
      family.restart = undefined;
      if (family.rib.counts(peer.index).received > 0 && family.purge === undefined) {
        this.#restarts.purge(peer, family);
      }
    }
    this.#forgetIfGone(peer);
    this.#flush(now);
  }

  /** A removed neighbour's number is free when none of its paths is left. */
  #forgetIfGone(peer: SpeakerPeer): void {
    if (!peer.removed || this.#byIndex[peer.index] !== peer) return;
    for (const { rib } of peer.families.values()) if (rib.counts(peer.index).received > 0) return;
    this.#byIndex[peer.index] = undefined;
    this.#columns.remove(peer.index);
  }

  hasPeer(name: string): boolean {
    return this.#peers.has(name);
  }

  peerConfig(name: string): SpeakerPeerConfig | undefined {
    return this.#peers.get(name)?.config;
  }

  #known(name: string): SpeakerPeer {
    const peer = this.#peers.get(name);
    if (peer === undefined) {
      throw new BgpError('invalid-config', `there is no neighbour ${JSON.stringify(name)}`, {
        value: name,
      });
    }
    return peer;
  }

  reset(name: string, how: ResetHow, now: number, text?: string): void {
    this.#now = now;
    const peer = this.#known(name);
    switch (how) {
      case 'hard':
        this.#handle(
          peer,
          { type: 'stop', how: 'admin-reset', ...(text === undefined ? {} : { text }) },
          now,
        );
        break;
      case 'soft-in':
        this.#reimport([peer], true);
        break;
      case 'soft-out':
        for (const family of peer.families.values()) this.#groups.refresh(peer, family, false);
        break;
      case 'refresh':
        for (const family of peer.families.values()) {
          if (family.negotiated === undefined) continue;
          const { afi, safi } = Family.row(family.family);
          this.#handle(
            peer,
            { type: 'route-refresh', message: { family: { afi, safi }, subtype: 'request' } },
            now,
          );
        }
        break;
      default:
        how satisfies never;
    }
    this.#flush(now);
  }

  stopAll(how: 'detach' | 'admin-shutdown', now: number, text?: string): void {
    this.#now = now;
    for (const peer of this.#peers.values()) {
      this.#handle(peer, { type: 'stop', how, ...(text === undefined ? {} : { text }) }, now);
    }
    this.#flush(now);
  }

  // Sessions

  input(name: string, input: PeerInput, now: number): void {
    this.#now = now;
    const peer = this.#peers.get(name);
    if (peer === undefined) {
      // The neighbour was removed while the event was on its way; its connections have been closed.
      if (input.type === 'connected' || input.type === 'accepted') {
        this.#options.emit({ type: 'close', peer: name, connection: input.connection });
      }
      return;
    }
    if (input.type === 'target' && peer.config.target.address === undefined) {
      this.#locate(peer, input.address);
    }
    if (input.type === 'bytes') peer.bytesIn += input.bytes.length;
    this.#handle(peer, input, now);
    this.#flush(now);
  }

  refresh(name: string, message: RouteRefreshMessage, now: number): void {
    this.input(name, { type: 'route-refresh', message }, now);
  }

  #handle(peer: SpeakerPeer, input: PeerInput, now: number): void {
    peer.peer.handle(input, now, (output) => this.#output(peer, output, now));
    this.#schedule(peer);
  }

  #schedule(peer: SpeakerPeer): void {
    const wanted = peer.peer.deadline;
    if (wanted === undefined || (peer.timerAt !== undefined && peer.timerAt <= wanted)) return;
    peer.timerAt = wanted;
    this.#timers.add(wanted, (now) => {
      if (peer.timerAt !== wanted) return;
      peer.timerAt = undefined;
      const actual = peer.peer.deadline;
      if (actual !== undefined && actual <= now) this.#handle(peer, { type: 'timer' }, now);
      else this.#schedule(peer);
    });
  }

  peerFor(endpoints: Endpoints): string | undefined {
    for (const peer of this.#byAddress.get(endpoints.remoteAddress) ?? []) {
      const { target } = peer.config;
      const { device, localAddress } = endpoints;
      if (target.device !== undefined && device !== undefined && target.device !== device) continue;
      if (target.localAddress !== undefined && target.localAddress !== localAddress) continue;
      return peer.name;
    }
    return undefined;
  }

  /** Where its connections come from: a configured address, or one that was learned (unnumbered). */
  #locate(peer: SpeakerPeer, address: Address | undefined): void {
    const before = peer.address;
    if (before === address) return;
    if (before !== undefined) {
      const others = this.#byAddress.get(before)?.filter((one) => one !== peer) ?? [];
      if (others.length > 0) this.#byAddress.set(before, others);
      else this.#byAddress.delete(before);
    }
    peer.address = address;
    if (address === undefined) return;
    this.#byAddress.set(address, [...(this.#byAddress.get(address) ?? []), peer]);
  }

  #event(event: SpeakerEvent): void {
    this.#options.emit({ type: 'event', event });
  }

  #output(peer: SpeakerPeer, output: PeerOutput, now: number): void {
    switch (output.type) {
      case 'update':
        this.#update(peer, output, now);
        break;
      case 'connect':
      case 'options':
      case 'close':
      case 'send':
        this.#options.emit({ ...output, peer: peer.name } as SpeakerEffect);
        break;
      case 'state':
        peer.state = output.to;
        peer.since = now;
        this.#event({ type: 'peer-state', peer: peer.name, from: output.from, to: output.to });
        break;
      case 'established':
        this.#established(peer, output, now);
        break;
      case 'down':
        this.#down(peer, output, now);
        break;
      case 'route-refresh':
        this.#refreshed(peer, output.message, now);
        break;
      case 'notice':
        this.#event({ type: 'notice', peer: peer.name, code: output.code, text: output.text });
        break;
      default:
        output satisfies never;
    }
  }

  #established(
    peer: SpeakerPeer,
    output: Extract<PeerOutput, { type: 'established' }>,
    now: number,
  ): void {
    const { negotiated } = output;
    const columns = this.#columns;
    const { index } = peer;
    const kind = negotiated.kind === 'external' ? PeerKind.ebgp : PeerKind.ibgp;
    const routerId = RouterId.toNumber(negotiated.peerId);
    if (columns.kind[index] !== kind || columns.routerId[index] !== routerId) {
      // Another speaker than the one whose paths may still be kept.
      for (const family of peer.families.values()) this.#dropAll(peer, family);
    }
    columns.kind[index] = kind;
    columns.routerId[index] = routerId;
    columns.client[index] = peer.config.routeReflectorClient === true ? 1 : 0;
    columns.address[index] = negotiated.endpoints.remoteAddress;
    peer.negotiated = negotiated;
    peer.connection = output.connection;
    peer.ups++;
    peer.awake = false;
    this.#event({
      type: 'peer-up',
      peer: peer.name,
      negotiated,
      localOpen: output.localOpen,
      peerOpen: output.peerOpen,
      localOpenBytes: output.localOpenBytes,
      peerOpenBytes: output.peerOpenBytes,
    });
    for (const agreed of negotiated.families) {
      const family = peer.families.get(agreed.family);
      if (family === undefined) continue;
      family.negotiated = agreed;
      family.endOfRibReceived = false;
      family.warned = false;
      family.limited = false;
      family.rib.counts(peer.index).crowded = 'no';
      this.#importers.assign(peer, family);
    }
    this.#restarts.up(peer);
    this.#deferral.up(peer.name, negotiated, now);
    for (const family of peer.families.values()) {
      if (family.negotiated !== undefined) this.#groups.join(peer, family);
    }
    this.#feeds.peerUp(peer);
  }

  #dropAll(peer: SpeakerPeer, family: PeerFamily): void {
    family.restart = undefined;
    if (family.rib.counts(peer.index).received === 0) return;
    new PurgeJob(family.rib, peer.index, 0xff, () => {}).step(Number.POSITIVE_INFINITY);
  }

  #down(peer: SpeakerPeer, output: Extract<PeerOutput, { type: 'down' }>, now: number): void {
    const { reason, established } = output;
    const { negotiated } = peer;
    peer.lastDown = { at: now, reason, established };
    let retained: readonly { readonly family: FamilyKey; readonly until: number }[] = [];
    if (established && negotiated !== undefined) {
      peer.downs++;
      this.#feeds.peerDown(peer);
      for (const family of peer.families.values()) this.#groups.leave(peer, family);
      retained = this.#restarts.down(peer, reason, negotiated, now);
      for (const family of peer.families.values()) {
        this.#importers.unassign(family);
        family.negotiated = undefined;
      }
      peer.negotiated = undefined;
      peer.connection = undefined;
      peer.awake = false;
      this.#deferral.down(peer.name, now);
    }
    this.#event({ type: 'peer-down', peer: peer.name, reason, established, retained });
  }

  #update(peer: SpeakerPeer, output: Extract<PeerOutput, { type: 'update' }>, now: number): void {
    const { update } = output;
    peer.updatesIn++;
    if (update.problem !== undefined) {
      const { action, reason, attribute } = update.problem;
      this.#event({
        type: 'notice',
        peer: peer.name,
        code: reason,
        text: `UPDATE with a fault in ${attribute === 0 ? 'its form' : `attribute ${attribute}`}: ${action}`,
      });
    }
    receive(peer, update);
    for (const block of update.announced) {
      const family = peer.families.get(block.family);
      if (family?.config.maxPrefixes !== undefined) this.#checkMax(peer, family, now);
      if (block.addPath && family !== undefined) this.#checkCrowded(peer, family);
    }
    if (update.endOfRib !== undefined) {
      const family = peer.families.get(update.endOfRib);
      if (family?.negotiated === undefined) return;
      this.#restarts.endOfRib(peer, family);
      this.#event({ type: 'end-of-rib', peer: peer.name, family: family.family, received: true });
      this.#deferral.endOfRib(peer.name, family.family, now);
    }
  }

  #checkCrowded(peer: SpeakerPeer, family: PeerFamily): void {
    const counts = family.rib.counts(peer.index);
    if (counts.crowded !== 'yes') return;
    counts.crowded = 'told';
    this.#event({
      type: 'notice',
      peer: peer.name,
      code: 'too-many-paths',
      text: `more than ${mostOfOne} paths for one prefix of ${family.family}: the rest is not taken`,
    });
  }

  #checkMax(peer: SpeakerPeer, family: PeerFamily, now: number): void {
    const max = family.config.maxPrefixes;
    if (max === undefined || family.limited) return;
    const count = family.rib.counts(peer.index).received;
    const tell = (level: 'warning' | 'limit') =>
      this.#event({
        type: 'max-prefix',
        peer: peer.name,
        family: family.family,
        level,
        count,
        limit: max.limit,
        action: max.action,
      });
    if (!family.warned && count >= (max.limit * (max.warnAt ?? 80)) / 100) {
      family.warned = true;
      tell('warning');
    }
    if (max.action === 'refuse' ? count < max.limit : count <= max.limit) return;
    family.limited = true;
    tell('limit');
    if (max.action !== 'reset') return;
    this.#handle(
      peer,
      {
        type: 'stop',
        how: 'max-prefix',
        family: family.family,
        limit: max.limit,
        ...(max.restartAfter === undefined ? {} : { restartAfter: max.restartAfter * 1000 }),
      },
      now,
    );
  }

  #refreshed(peer: SpeakerPeer, message: RouteRefreshMessage, now: number): void {
    const row = Family.of(message.family.afi, message.family.safi);
    const family = row && peer.families.get(row.key);
    if (family?.negotiated === undefined) return;
    switch (message.subtype) {
      case 'request':
        this.#groups.refresh(peer, family, peer.negotiated?.enhancedRouteRefresh === true);
        break;
      case 'begin':
        this.#refreshes.begin(peer.index, family, now);
        break;
      case 'end':
        this.#refreshes.end(peer.index, family, now);
        break;
      default:
        message.subtype satisfies never;
    }
  }

  // After our own restart

  #undefer(why: 'all-end-of-rib' | 'no-peers' | 'timeout', afterMs: number): void {
    for (const rib of Object.values(this.#ribs)) {
      rib.deferred = false;
      this.#jobs.push(
        new DecideJob(rib, () => {
          rib.held = false;
          this.#groups.rouseAll();
        }),
      );
    }
    for (const peer of this.#peers.values()) peer.peer.setRestarting(false);
    this.#event({ type: 'deferral-over', why, afterMs });
  }

  // Routes of our own

  setPaths(owner: string, paths: readonly OriginatedPath[], now: number) {
    this.#now = now;
    const before = new Set(this.#locals.scopes.keys());
    const result = this.#locals.set(owner, paths);
    const after = this.#locals.scopes;
    const concerned = new Set<string>();
    for (const scope of [...before, ...after.keys()]) {
      if (before.has(scope) !== after.has(scope))
        for (const name of scopeNames(scope)) concerned.add(name);
    }
    for (const name of concerned) {
      const peer = this.#peers.get(name);
      if (peer?.negotiated === undefined) continue;
      for (const family of peer.families.values()) {
        if (family.negotiated !== undefined) this.#groups.place(peer, family);
      }
    }
    this.#flush(now);
    return result;
  }

  paths(owner: string): readonly OriginatedPath[] {
    return this.#locals.of(owner);
  }

  owners(): readonly string[] {
    return this.#locals.owners();
  }

  nextHops(): readonly Address[] {
    return this.#sets.nextHops.unresolved();
  }

  setNextHop(address: Address, state: NextHopState, now: number): void {
    this.#now = now;
    const changed = this.#sets.nextHops.set(address, state.reachable, state.metric);
    if (changed.length > 0) {
      for (const rib of Object.values(this.#ribs)) this.#jobs.push(new NextHopJob(rib, changed));
    }
    this.#flush(now);
  }

  // Sending

  #wake(index: number): void {
    const peer = this.#byIndex[index];
    if (peer?.connection === undefined || peer.awake) return;
    peer.awake = true;
    this.#options.emit({ type: 'wake', peer: peer.name, connection: peer.connection });
  }

  produce(
    name: string,
    connection: ConnectionId,
    maxBytes: number,
    now: number,
  ): readonly Uint8Array[] {
    this.#now = now;
    const peer = this.#peers.get(name);
    if (peer === undefined || peer.connection !== connection) return [];
    const gathered: Gathered = { parts: [], bytes: 0, messages: 0, announced: 0 };
    for (const family of peer.families.values()) {
      if (family.member === undefined) continue;
      const sentBefore = family.member.endOfRibSent;
      this.#groups.produce(family, maxBytes, gathered);
      if (!sentBefore && family.member.endOfRibSent) {
        this.#event({ type: 'end-of-rib', peer: name, family: family.family, received: false });
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
    return this.#feeds.open(spec);
  }

  closeFeed(feed: FeedId): void {
    this.#feeds.close(feed);
  }

  readFeed(feed: FeedId, limit: number): readonly FeedItem[] {
    return this.#feeds.read(feed, limit);
  }

  // Looking

  peers(): readonly PeerRow[] {
    return this.#show.peers();
  }

  peer(name: string): PeerRow | undefined {
    return this.#show.peer(name);
  }

  routes(query: RouteQuery): Page<RouteRow> {
    return this.#show.routes(query);
  }

  why(prefix: string, peer?: string): Why | undefined {
    return this.#show.why(prefix, peer);
  }

  counters(): SpeakerCounters {
    let established = 0;
    for (const peer of this.#peers.values()) if (peer.negotiated !== undefined) established++;
    const ribs = Object.values(this.#ribs);
    return {
      peers: this.#peers.size,
      established,
      prefixes: {
        'ipv4-unicast': this.#ribs['ipv4-unicast'].reachablePrefixes,
        'ipv6-unicast': this.#ribs['ipv6-unicast'].reachablePrefixes,
      },
      paths: {
        'ipv4-unicast': this.#ribs['ipv4-unicast'].paths.size,
        'ipv6-unicast': this.#ribs['ipv6-unicast'].paths.size,
      },
      attributeSets: this.#sets.size,
      attributeBytes: this.#sets.bytes.length,
      updateGroups: this.#groups.size,
      tableBytes:
        ribs.reduce((sum, rib) => sum + rib.bytes, 0) + this.#sets.tableBytes + this.#groups.bytes,
      deferring: this.#deferral.isOn,
    };
  }

  testPolicy(policy: string, route: TestRoute) {
    const compiled = this.#policies.get(policy);
    if (compiled === undefined) {
      throw new BgpError('invalid-config', `there is no policy ${JSON.stringify(policy)}`, {
        value: policy,
      });
    }
    const peer = route.peer === undefined ? undefined : this.#known(route.peer);
    return testPolicy(compiled, route, this.#config.asn, peer);
  }
}

function checkPolicyNames(
  peer: string,
  config: SpeakerPeerConfig,
  policies: ReadonlyMap<string, CompiledPolicy>,
): void {
  for (const family of config.families) {
    for (const direction of ['import', 'export'] as const) {
      const name = family[direction];
      if (name === undefined || policies.has(name)) continue;
      throw new BgpError(
        'invalid-config',
        `neighbour ${peer}, ${family.family}, ${direction}: there is no policy ${JSON.stringify(name)}`,
        { value: name },
      );
    }
  }
}
