import { PolicyBinder } from '../policy/bound.ts';
import { AttributeTable } from '../rib/attribute-table.ts';
import { NextHopTable } from '../rib/next-hops.ts';
import { PeerColumns } from '../rib/peer-columns.ts';
import { Rib } from '../rib/rib.ts';
import { type FamilyKey, RouterId } from '../types.ts';
import type { SpeakerOptions } from './api.ts';
import { Collector } from './collector.ts';
import type { SpeakerConfig } from './config.ts';
import { Deferral } from './deferral.ts';
import { Feeds } from './feeds.ts';
import { Groups } from './groups.ts';
import { Importers } from './importers.ts';
import { DecideJob, type Job } from './jobs.ts';
import { LocalPaths } from './locals.ts';
import type { SpeakerPeer } from './peer.ts';
import { Policies } from './policies.ts';
import { Restarts } from './restart.ts';
import { Roster } from './roster.ts';
import { Sessions } from './sessions.ts';
import { Show } from './show.ts';
import { Timers } from './timers.ts';
import type { SpeakerEvent } from './types.ts';

/** What a speaker is made of, put together. */
export class Parts {
  readonly options: SpeakerOptions;
  config: SpeakerConfig;
  readonly columns = new PeerColumns();
  readonly sets = new AttributeTable(new NextHopTable());
  readonly ribs: Readonly<Record<FamilyKey, Rib>>;
  readonly locals: LocalPaths;
  readonly groups: Groups;
  readonly importers: Importers;
  readonly policies: Policies;
  readonly roster: Roster;
  readonly sessions: Sessions;
  readonly timers = new Timers();
  readonly jobs: Job[] = [];
  readonly restarts: Restarts;
  readonly deferral: Deferral;
  readonly feeds: Feeds;
  readonly show: Show;
  readonly collector: Collector;

  /** Throws BgpError `invalid-config`. */
  constructor(options: SpeakerOptions, now: number) {
    const { columns, sets, timers } = this;
    const { emit, random, restarting } = options;
    const addJob = (job: Job) => this.jobs.push(job);
    const event = (one: SpeakerEvent) => this.event(one);
    this.options = options;
    this.config = options.config;
    const policies = new Policies(options.config.policies);
    this.policies = policies;
    const rib = (family: FamilyKey) =>
      new Rib(family, sets, columns, Math.floor(random() * 2 ** 32));
    const ribs = { 'ipv4-unicast': rib('ipv4-unicast'), 'ipv6-unicast': rib('ipv6-unicast') };
    this.ribs = ribs;
    this.configureRibs();
    this.locals = new LocalPaths(ribs);
    const { locals } = this;
    const roster = new Roster(columns, ribs);
    this.roster = roster;
    const binder = new PolicyBinder(sets);
    const config = () => this.config;
    const groups = new Groups(config, policies.get, binder, locals, (index) => this.#wake(index));
    this.groups = groups;
    const importers = new Importers(config, policies.get, binder);
    this.importers = importers;
    policies.attach({ roster, ribs, importers, groups, addJob });
    const settled = (peer: SpeakerPeer) => {
      importers.settle(peer);
      roster.forgetIfGone(peer);
    };
    this.restarts = new Restarts({ timers, addJob, event, settled });
    this.deferral = new Deferral(
      restarting && {
        expected: restarting.expected,
        seconds: options.config.gracefulRestart?.deferral ?? 60,
      },
      now,
      timers,
      (why, at) => this.#undefer(why, at),
    );
    for (const one of Object.values(ribs)) {
      one.deferred = this.deferral.isOn;
      one.held = this.deferral.isOn;
    }
    const seen = { ribs, columns, peers: roster.byName, byIndex: roster.byIndex, locals };
    this.feeds = new Feeds({ ...seen, wake: (feed) => emit({ type: 'feed', feed }) });
    this.show = new Show(seen);
    const { restarts, deferral, feeds } = this;
    this.sessions = new Sessions({
      emit,
      timers,
      addJob,
      columns,
      sets,
      ribs,
      config,
      roster,
      importers,
      groups,
      restarts,
      deferral,
      feeds,
    });
    this.collector = new Collector({
      ribs: Object.values(ribs),
      limit: (one) => feeds.limit(one),
      letGo: (one, pending, at) => this.sessions.letGo(one, pending, at),
      shrink: () => sets.shrink(),
    });
    deferral.start(now);
  }

  event(event: SpeakerEvent): void {
    this.options.emit({ type: 'event', event });
  }

  /** What the configuration says of choosing. */
  configureRibs(): void {
    for (const rib of Object.values(this.ribs)) {
      rib.decision.configure(this.config.decision ?? {});
      rib.choice.configureMultipath(this.config.multipath ?? {});
    }
    this.columns.routerId[0] = RouterId.toNumber(this.config.routerId);
  }

  #wake(index: number): void {
    const peer = this.roster.byIndex[index];
    if (peer?.connection === undefined || peer.awake) return;
    peer.awake = true;
    this.options.emit({ type: 'wake', peer: peer.name, connection: peer.connection });
  }

  /** After our own restart: everybody has said what they have, or was waited for long enough. */
  #undefer(why: 'all-end-of-rib' | 'no-peers' | 'timeout', afterMs: number): void {
    for (const rib of Object.values(this.ribs)) {
      rib.deferred = false;
      this.jobs.push(
        new DecideJob(rib, () => {
          rib.held = false;
          this.groups.rouseAll();
        }),
      );
    }
    for (const peer of this.roster.all) peer.peer.setRestarting(false);
    this.event({ type: 'deferral-over', why, afterMs });
  }
}
