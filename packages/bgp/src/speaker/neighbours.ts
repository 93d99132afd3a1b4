import { Peer } from '../peer.ts';
import { Family } from '../types.ts';
import type { PeerChange, ResetHow, SpeakerConfig, SpeakerPeerConfig } from './config.ts';
import type { Parts } from './parts.ts';
import { sessionConfig } from './peer.ts';

/** Brings neighbours, changes them, resets them and takes them away, at an operator's word. */
export class Neighbours {
  readonly #parts: Parts;

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  add(config: SpeakerPeerConfig, now: number): void {
    this.#parts.policies.checkNames(config);
    const session = new Peer(sessionConfig(config, this.#parts.config), {
      random: this.#parts.options.random,
      nextConnection: this.#parts.options.nextConnection,
      restarting: this.#parts.deferral.isOn,
    });
    const peer = this.#parts.roster.add(config, session, now);
    const { forwardingKept } = this.#parts.options;
    if (forwardingKept !== undefined) session.setForwarding(forwardingKept);
    this.#parts.sessions.handle(peer, { type: 'start' }, now);
  }

  update(config: SpeakerPeerConfig, now: number): PeerChange {
    const peer = this.#parts.roster.known(config.name);
    if (JSON.stringify(peer.config) === JSON.stringify(config)) return 'unchanged';
    this.#parts.policies.checkNames(config);
    const clientBefore = peer.config.routeReflectorClient === true;
    peer.config = config;
    if (config.target.address !== undefined) this.#parts.roster.locate(peer, config.target.address);
    this.#parts.roster.configureFamilies(peer);
    const change = peer.peer.reconfigure(sessionConfig(config, this.#parts.config), now, (output) =>
      this.#parts.sessions.output(peer, output, now),
    );
    this.#parts.sessions.schedule(peer);
    for (const [key, family] of peer.families) {
      if (config.families.some((one) => one.family === key)) continue;
      // The session is gone if it carried this family: so will be its paths.
      this.#parts.restarts.purge(peer, family);
    }
    let soft = this.#parts.policies.replace(peer);
    if (clientBefore !== (config.routeReflectorClient === true)) {
      this.#parts.columns.client[peer.index] = config.routeReflectorClient === true ? 1 : 0;
      this.#parts.groups.reexamine();
      soft = true;
    }
    if (peer.negotiated !== undefined)
      for (const one of peer.families.values())
        this.#parts.sessions.limits.checkMax(peer, one, now);
    if (change === 'restarted') return 'restarted';
    return soft ? 'soft-reset' : 'updated-live';
  }

  remove(name: string, now: number, text?: string): void {
    const peer = this.#parts.roster.known(name);
    peer.removed = true;
    this.#parts.sessions.handle(
      peer,
      { type: 'stop', how: 'de-configured', ...(text === undefined ? {} : { text }) },
      now,
    );
    this.#parts.roster.remove(peer);
    this.#parts.deferral.removed(name, now);
    // Kept from an earlier fall, if there is no session now.
    for (const family of peer.families.values()) {
      family.restart = undefined;
      if (family.rib.counts(peer.index).received > 0 && family.purge === undefined) {
        this.#parts.restarts.purge(peer, family);
      }
    }
    this.#parts.importers.settle(peer);
    this.#parts.roster.forgetIfGone(peer);
  }

  reset(name: string, how: ResetHow, now: number, text?: string): void {
    const peer = this.#parts.roster.known(name);
    switch (how) {
      case 'hard':
        this.#parts.sessions.handle(
          peer,
          { type: 'stop', how: 'admin-reset', ...(text === undefined ? {} : { text }) },
          now,
        );
        break;
      case 'soft-in':
        this.#parts.policies.reimport([peer], true);
        break;
      case 'soft-out':
        for (const family of peer.families.values())
          this.#parts.groups.refresh(peer, family, false);
        break;
      case 'refresh':
        for (const family of peer.families.values()) {
          if (family.negotiated === undefined) continue;
          const { afi, safi } = Family.row(family.family);
          this.#parts.sessions.handle(
            peer,
            { type: 'route-refresh', message: { family: { afi, safi }, subtype: 'request' } },
            now,
          );
        }
        break;
      default:
        how satisfies never;
    }
  }

  stopAll(how: 'detach' | 'admin-shutdown', now: number, text?: string): void {
    for (const peer of this.#parts.roster.all) {
      this.#parts.sessions.handle(
        peer,
        { type: 'stop', how, ...(text === undefined ? {} : { text }) },
        now,
      );
    }
  }

  /** The speaker's own part of what is said in OPENs has changed. */
  reconfigureAll(config: SpeakerConfig, now: number): void {
    const { roster, sessions } = this.#parts;
    for (const peer of roster.all) {
      peer.peer.reconfigure(sessionConfig(peer.config, config), now, (output) =>
        sessions.output(peer, output, now),
      );
      sessions.schedule(peer);
    }
  }
}
