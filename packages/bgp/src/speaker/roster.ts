import type { Address } from '@causeway/ip';
import { BgpError } from '../errors.ts';
import type { Endpoints } from '../events.ts';
import type { Peer } from '../peer.ts';
import { PeerColumns } from '../rib/peer-columns.ts';
import type { Rib } from '../rib/rib.ts';
import type { FamilyKey } from '../types.ts';
import type { SpeakerPeerConfig } from './config.ts';
import type { SpeakerPeer } from './peer.ts';

/** All neighbours: by name, by the number that paths know them by, and by where their connections come from. */
export class Roster {
  readonly byName = new Map<string, SpeakerPeer>();
  readonly byIndex: (SpeakerPeer | undefined)[] = [];
  readonly #byAddress = new Map<Address, readonly SpeakerPeer[]>();
  readonly #columns: PeerColumns;
  readonly #ribs: Readonly<Record<FamilyKey, Rib>>;

  constructor(columns: PeerColumns, ribs: Readonly<Record<FamilyKey, Rib>>) {
    this.#columns = columns;
    this.#ribs = ribs;
  }

  get all(): Iterable<SpeakerPeer> {
    return this.byName.values();
  }

  /** Throws BgpError `invalid-config` when there is none of the name. */
  known(name: string): SpeakerPeer {
    const peer = this.byName.get(name);
    if (peer === undefined) {
      throw new BgpError('invalid-config', `there is no neighbour ${JSON.stringify(name)}`, {
        value: name,
      });
    }
    return peer;
  }

  /** Throws BgpError `invalid-config`: the name is taken, or all numbers are. */
  add(config: SpeakerPeerConfig, session: Peer, now: number): SpeakerPeer {
    const { name } = config;
    if (this.byName.has(name)) {
      throw new BgpError('invalid-config', `there is a neighbour ${name} already`, { value: name });
    }
    const index = this.#columns.add(name);
    if (index === undefined) {
      throw new BgpError('invalid-config', `no more than ${PeerColumns.limit} neighbours at once`, {
        value: name,
      });
    }
    const peer: SpeakerPeer = {
      name,
      index,
      config,
      peer: session,
      families: new Map(),
      state: 'idle',
      since: now,
      negotiated: undefined,
      former: undefined,
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
    this.configureFamilies(peer);
    this.byName.set(name, peer);
    this.byIndex[index] = peer;
    this.locate(peer, config.target.address);
    return peer;
  }

  /** What the neighbour's present configuration says of its families; those it names no more stay. */
  configureFamilies(peer: SpeakerPeer): void {
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

  /** It is no neighbour any more; its number stays its own until `forgetIfGone`. */
  remove(peer: SpeakerPeer): void {
    this.byName.delete(peer.name);
    this.locate(peer, undefined);
  }

  /** A removed neighbour's number is free when none of its paths is left. */
  forgetIfGone(peer: SpeakerPeer): void {
    if (!peer.removed || this.byIndex[peer.index] !== peer) return;
    for (const { rib } of peer.families.values()) if (rib.counts(peer.index).received > 0) return;
    this.byIndex[peer.index] = undefined;
    this.#columns.remove(peer.index);
  }

  /** Where its connections come from: a configured address, or one that was learned (unnumbered). */
  locate(peer: SpeakerPeer, address: Address | undefined): void {
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

  /** The neighbour that a connection belongs to. */
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
}
