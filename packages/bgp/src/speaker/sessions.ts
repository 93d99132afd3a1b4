import type { PeerInput, PeerOutput } from '../events.ts';
import type { AttributeTable } from '../rib/attribute-table.ts';
import { type PeerColumns, PeerKind } from '../rib/peer-columns.ts';
import type { Rib } from '../rib/rib.ts';
import { Family, type FamilyKey, RouterId } from '../types.ts';
import type { RouteRefreshMessage } from '../wire/route-refresh.ts';
import { AttributeLimit } from './attribute-limit.ts';
import type { SpeakerConfig } from './config.ts';
import type { Deferral } from './deferral.ts';
import type { Feeds } from './feeds.ts';
import type { Groups } from './groups.ts';
import type { Importers } from './importers.ts';
import { type Job, PurgeJob } from './jobs.ts';
import { Limits } from './limits.ts';
import type { PeerFamily, SpeakerPeer } from './peer.ts';
import { receive } from './receive.ts';
import { Refreshed } from './refreshed.ts';
import type { Restarts } from './restart.ts';
import type { Roster } from './roster.ts';
import type { Timers } from './timers.ts';
import type { SpeakerEffect, SpeakerEvent } from './types.ts';

interface SessionsContext {
  readonly emit: (effect: SpeakerEffect) => void;
  readonly timers: Timers;
  readonly addJob: (job: Job) => void;
  readonly columns: PeerColumns;
  readonly sets: AttributeTable;
  readonly ribs: Readonly<Record<FamilyKey, Rib>>;
  readonly config: () => SpeakerConfig;
  readonly roster: Roster;
  readonly importers: Importers;
  readonly groups: Groups;
  readonly restarts: Restarts;
  readonly deferral: Deferral;
  readonly feeds: Feeds;
}

/** Carries inputs to the neighbours' sessions, and what comes of them into the RIBs, the groups and the world. */
export class Sessions {
  readonly limits: Limits;
  readonly #attributes: AttributeLimit;
  readonly #context: SessionsContext;
  readonly #refreshes: Refreshed;

  constructor(context: SessionsContext) {
    this.#context = context;
    this.#refreshes = new Refreshed(context.addJob);
    this.limits = new Limits(
      (event) => this.#event(event),
      (peer, input, now) => this.handle(peer, input, now),
    );
    this.#attributes = new AttributeLimit({
      ...context,
      handle: (peer, input, now) => this.handle(peer, input, now),
    });
  }

  handle(peer: SpeakerPeer, input: PeerInput, now: number): void {
    peer.peer.handle(input, now, (output) => this.output(peer, output, now));
    this.schedule(peer);
  }

  /** Follows the deadline of the neighbour's session, which may have moved. */
  schedule(peer: SpeakerPeer): void {
    const wanted = peer.peer.deadline;
    if (wanted === undefined || (peer.timerAt !== undefined && peer.timerAt <= wanted)) return;
    peer.timerAt = wanted;
    this.#context.timers.add(wanted, (now) => {
      if (peer.timerAt !== wanted) return;
      peer.timerAt = undefined;
      const actual = peer.peer.deadline;
      if (actual !== undefined && actual <= now) this.handle(peer, { type: 'timer' }, now);
      else this.schedule(peer);
    });
  }

  /** Ends the sessions of neighbours that have not taken `pending` changes or more. */
  letGo(rib: Rib, pending: number, now: number): void {
    for (const peer of this.#context.roster.all) {
      const { group, member } = peer.families.get(rib.family) ?? {};
      if (group === undefined || member === undefined) continue;
      if (group.pending(member) < pending) continue;
      this.handle(
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

  #event(event: SpeakerEvent): void {
    this.#context.emit({ type: 'event', event });
  }

  output(peer: SpeakerPeer, output: PeerOutput, now: number): void {
    switch (output.type) {
      case 'update':
        this.#update(peer, output, now);
        break;
      case 'connect':
      case 'options':
      case 'close':
      case 'send':
        this.#context.emit({ ...output, peer: peer.name } as SpeakerEffect);
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
    const { columns, importers, groups, restarts, deferral, feeds } = this.#context;
    const { index } = peer;
    const kind = negotiated.kind === 'external' ? PeerKind.ebgp : PeerKind.ibgp;
    const routerId = RouterId.toNumber(negotiated.peerId);
    if (columns.kind[index] !== kind || columns.routerId[index] !== routerId) {
      // Another speaker than the one whose paths may still be kept.
      for (const family of peer.families.values()) dropAll(peer, family);
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
      this.limits.begin(peer, family);
      importers.assign(peer, family);
    }
    restarts.up(peer);
    importers.settle(peer);
    peer.former = undefined;
    deferral.up(peer.name, negotiated, now);
    for (const family of peer.families.values()) {
      if (family.negotiated !== undefined) groups.join(peer, family);
    }
    feeds.peerUp(peer);
  }

  #down(peer: SpeakerPeer, output: Extract<PeerOutput, { type: 'down' }>, now: number): void {
    const { importers, groups, restarts, deferral, feeds } = this.#context;
    const { reason, established } = output;
    const { negotiated } = peer;
    peer.lastDown = { at: now, reason, established };
    let retained: readonly { readonly family: FamilyKey; readonly until: number }[] = [];
    if (established && negotiated !== undefined) {
      peer.downs++;
      feeds.peerDown(peer);
      for (const family of peer.families.values()) groups.leave(peer, family);
      retained = restarts.down(peer, reason, negotiated, now);
      for (const family of peer.families.values()) family.negotiated = undefined;
      peer.former = negotiated;
      peer.negotiated = undefined;
      importers.settle(peer);
      peer.connection = undefined;
      peer.awake = false;
      deferral.down(peer.name, now);
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
      if (family === undefined) continue;
      this.limits.checkMax(peer, family, now);
      if (block.addPath) this.limits.checkCrowded(peer, family);
    }
    if (update.announced.length > 0) this.#attributes.check(now);
    if (update.endOfRib !== undefined) {
      const family = peer.families.get(update.endOfRib);
      if (family?.negotiated === undefined) return;
      const { restarts, deferral } = this.#context;
      restarts.endOfRib(peer, family);
      this.#event({ type: 'end-of-rib', peer: peer.name, family: family.family, received: true });
      deferral.endOfRib(peer.name, family.family, now);
    }
  }

  #refreshed(peer: SpeakerPeer, message: RouteRefreshMessage, now: number): void {
    const row = Family.of(message.family.afi, message.family.safi);
    const family = row && peer.families.get(row.key);
    if (family?.negotiated === undefined) return;
    switch (message.subtype) {
      case 'request':
        this.#context.groups.refresh(peer, family, peer.negotiated?.enhancedRouteRefresh === true);
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
}

function dropAll(peer: SpeakerPeer, family: PeerFamily): void {
  family.restart = undefined;
  if (family.rib.counts(peer.index).received === 0) return;
  new PurgeJob(family.rib, peer.index, 0xff, () => {}).step(Number.POSITIVE_INFINITY);
}
