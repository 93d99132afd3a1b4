import type { Endpoints, PeerChange, SpeakerApi, SpeakerPeerConfig } from '@causeway/bgp';
import type { Log } from '@causeway/daemon';
import { Address, Prefix } from '@causeway/ip';
import type { BfdSession, BfdState } from '../bfd.ts';
import { instantiate, peerConfigOf, type Surroundings } from '../config/core.ts';
import type { SettingsDiff } from '../config/diff.ts';
import type { DynamicNeighbor, Neighbor, Settings } from '../config/settings.ts';
import type { Fib } from '../kernel/fib.ts';
import { same } from '../same.ts';
import { Slices } from '../slices.ts';
import type { OwnEvent } from '../views/event.ts';
import type { PeerFactsView } from '../views/peer.ts';
import { isLinkLocal, type Target, type TargetFinder } from './targets.ts';

/** How long a neighbour of a range may be without a session before it is forgotten. */
const SWEEP_MS = 1_000;

export interface ChangeRow {
  readonly neighbor: string;
  readonly change: PeerChange;
}

/** A key for TCP MD5: for one address, or for a whole range. */
export interface SessionKey {
  readonly prefix: Prefix;
  readonly password: string;
}

interface Known {
  neighbor: Neighbor;
  /** The range that it came from. */
  readonly range: string | undefined;
  target: Target;
  config: SpeakerPeerConfig;
  bfd: BfdState | undefined;
}

export interface NeighboursOptions {
  readonly core: SpeakerApi;
  readonly fib: Fib;
  readonly targets: TargetFinder;
  readonly log: Log;
  readonly now: () => number;
  readonly onEvent: (event: OwnEvent) => void;
  /** The session that BFD shall watch for a neighbour, if any. */
  readonly onBfd: (peer: string, session: BfdSession | undefined) => void;
  /** Passwords or the addresses that they are for have changed. */
  readonly onKeys: () => void;
}

/**
 * The neighbours that the core has: those of the configuration, and those that ranges made. Says what of a
 * change touches whom, finds the addresses that are left open, and counts who comes from a range.
 */
export class Neighbours implements Disposable {
  readonly #options: NeighboursOptions;
  readonly #known = new Map<string, Known>();
  #settings: Settings;
  /** Neighbours of ranges without a session. */
  readonly #waiting = new Set<string>();
  readonly #counts = new Map<string, number>();
  /** Names by where their neighbours are. */
  readonly #byAddress = new Map<Address, Set<string>>();
  #sweep: NodeJS.Timeout | undefined;

  constructor(settings: Settings, options: NeighboursOptions) {
    this.#settings = settings;
    this.#options = options;
  }

  /** Makes the core's neighbours those of the settings. Only those that differ are touched. */
  async apply(settings: Settings, diff: SettingsDiff): Promise<ChangeRow[]> {
    const slices = new Slices();
    const restartChanged = !same(this.#settings.gracefulRestart, settings.gracefulRestart);
    this.#settings = settings;
    const changes = new Map<string, PeerChange>();
    for (const { name } of diff.neighbors.removed) {
      this.#remove(name, changes);
      await slices.pause();
    }
    for (const { name } of diff.dynamicNeighbors.removed) this.#removeRange(name, changes);
    for (const neighbor of diff.neighbors.changed) {
      changes.set(neighbor.name, this.#update(neighbor));
      await slices.pause();
    }
    for (const range of diff.dynamicNeighbors.changed) this.#updateRange(range, changes);
    for (const neighbor of diff.neighbors.added) {
      this.#add(neighbor, undefined);
      changes.set(neighbor.name, 'added');
      await slices.pause();
    }
    // What every neighbour takes from the speaker's own settings.
    if (restartChanged)
      for (const { neighbor } of [...this.#known.values()])
        if (!changes.has(neighbor.name)) changes.set(neighbor.name, this.#update(neighbor));
    for (const name of this.#known.keys()) if (!changes.has(name)) changes.set(name, 'unchanged');
    this.#options.onKeys();
    return Array.from(changes, ([neighbor, change]) => ({ neighbor, change }));
  }

  /** The neighbour that a connection belongs to, one of those that are known. */
  find({ remoteAddress, localAddress, device }: Endpoints): string | undefined {
    for (const name of this.#byAddress.get(remoteAddress) ?? []) {
      const known = this.#known.get(name);
      if (known === undefined) continue;
      const { target, neighbor } = known;
      const here = target.device === undefined || device === undefined || target.device === device;
      const ours = neighbor.localAddress === undefined || neighbor.localAddress === localAddress;
      if (here && ours) return name;
    }
    return undefined;
  }

  /** Somebody connects whom nobody knows. The neighbour's name, if it may. */
  accept(endpoints: Endpoints): string | undefined {
    return this.#acceptOnLink(endpoints) ?? this.#acceptInRange(endpoints);
  }

  /** The kernel's routes, links or neighbours changed. */
  refresh(): void {
    let moved = false;
    for (const known of this.#known.values()) moved = this.#retarget(known) || moved;
    if (moved) this.#options.onKeys();
  }

  /** A session came up, or an attempt or a session failed. */
  changed(name: string, up: boolean): void {
    const known = this.#known.get(name);
    if (known?.range === undefined) return;
    if (up) {
      this.#waiting.delete(name);
      return;
    }
    this.#waiting.add(name);
    this.#sweep ??= setTimeout(() => this.#sweepWaiting(), SWEEP_MS);
  }

  bfdChanged(name: string, state: BfdState): void {
    const known = this.#known.get(name);
    if (known === undefined || known.bfd === state) return;
    known.bfd = state;
    this.#options.onEvent({ type: 'bfd', peer: name, state });
    this.#options.core.input(name, { type: 'bfd', state }, this.#options.now());
  }

  /** Every session that BFD shall watch is named again: somebody else is to watch them. */
  rewatch(): void {
    for (const [name, { neighbor, target }] of this.#known)
      this.#options.onBfd(name, this.#bfdOf(neighbor, target));
  }

  /** Links on which a neighbour is to be found. */
  links(): Set<string> {
    const links = new Set<string>();
    for (const { peer, adminDown } of this.#settings.neighbors.values())
      if ('interface' in peer && !('address' in peer) && !adminDown) links.add(peer.interface);
    return links;
  }

  facts(name: string): PeerFactsView | undefined {
    const known = this.#known.get(name);
    if (known === undefined) return undefined;
    const { neighbor, range, target, bfd } = known;
    return { neighbor, range, address: target.address, device: target.device, bfd };
  }

  /** Those with a password; a range has one for all who may come. */
  keys(): SessionKey[] {
    const keys: SessionKey[] = [];
    for (const { neighbor, range, target } of this.#known.values()) {
      if (neighbor.password === undefined || range !== undefined || target.address === undefined)
        continue;
      keys.push({ prefix: Prefix.host(target.address), password: neighbor.password });
    }
    for (const { prefix, template } of this.#settings.dynamicNeighbors.values())
      if (template.password !== undefined) keys.push({ prefix, password: template.password });
    return keys;
  }

  countOf(range: string): number {
    return this.#counts.get(range) ?? 0;
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#sweep);
  }

  #add(neighbor: Neighbor, range: string | undefined, target?: Target): void {
    const { core, targets, fib, now } = this.#options;
    const found = target ?? targets.find(neighbor.peer, {}, undefined);
    const config = peerConfigOf(
      neighbor,
      this.#settings,
      fixed(neighbor, found),
      surroundings(found, fib),
    );
    core.addPeer(config, now());
    this.#known.set(neighbor.name, { neighbor, range, target: found, config, bfd: undefined });
    this.#index(neighbor.name, undefined, found.address);
    if (range !== undefined) this.#counts.set(range, this.countOf(range) + 1);
    if (!('address' in neighbor.peer) && found.address !== undefined)
      this.#tellTarget(neighbor.name, found);
    this.#options.onBfd(neighbor.name, this.#bfdOf(neighbor, found));
  }

  #update(neighbor: Neighbor): PeerChange {
    const { core, fib, targets, now } = this.#options;
    const known = this.#known.get(neighbor.name);
    if (known === undefined) {
      this.#add(neighbor, undefined);
      return 'added';
    }
    // Another way to find it is another neighbour.
    const moved = !same(known.neighbor.peer, neighbor.peer);
    const target = moved ? targets.find(neighbor.peer, {}, undefined) : known.target;
    const config = peerConfigOf(
      neighbor,
      this.#settings,
      fixed(neighbor, target),
      surroundings(target, fib),
    );
    known.neighbor = neighbor;
    this.#index(neighbor.name, known.target.address, target.address);
    known.target = target;
    let change: PeerChange = 'unchanged';
    if (!same(known.config, config)) {
      known.config = config;
      change = core.updatePeer(config, now());
    }
    if (moved && !('address' in neighbor.peer)) this.#tellTarget(neighbor.name, target);
    this.#options.onBfd(neighbor.name, this.#bfdOf(neighbor, target));
    return change;
  }

  #remove(name: string, changes: Map<string, PeerChange>, text = 'no longer configured'): void {
    const known = this.#known.get(name);
    if (known === undefined) return;
    const { core, now } = this.#options;
    core.removePeer(name, now(), text);
    this.#known.delete(name);
    this.#index(name, known.target.address, undefined);
    this.#waiting.delete(name);
    if (known.range !== undefined) this.#counts.set(known.range, this.countOf(known.range) - 1);
    this.#options.onBfd(name, undefined);
    changes.set(name, 'removed');
  }

  #ofRange(range: string): string[] {
    return Array.from(this.#known).flatMap(([name, known]) =>
      known.range === range ? [name] : [],
    );
  }

  #removeRange(range: string, changes: Map<string, PeerChange>): void {
    for (const name of this.#ofRange(range)) this.#remove(name, changes);
    this.#counts.delete(range);
  }

  #updateRange(range: DynamicNeighbor, changes: Map<string, PeerChange>): void {
    for (const name of this.#ofRange(range.name)) {
      const peer = this.#known.get(name)?.neighbor.peer;
      if (peer === undefined || !('address' in peer)) continue;
      if (!Prefix.contains(range.prefix, peer.address))
        this.#remove(name, changes, 'no longer in the range');
      else changes.set(name, this.#update(instantiate(range, peer)));
    }
  }

  /** A neighbour on a link that makes itself known by connecting. */
  #acceptOnLink({ remoteAddress, device }: Endpoints): string | undefined {
    if (device === undefined || !isLinkLocal(remoteAddress)) return undefined;
    for (const known of this.#known.values()) {
      const { peer, name } = known.neighbor;
      if (!('interface' in peer) || 'address' in peer || peer.interface !== device) continue;
      const row = this.#options.core.peer(name);
      if (row?.state === 'established') return undefined;
      this.#index(name, known.target.address, remoteAddress);
      known.target = { address: remoteAddress, device };
      this.#tellTarget(name, known.target);
      this.#options.onBfd(name, this.#bfdOf(known.neighbor, known.target));
      return name;
    }
    return undefined;
  }

  #acceptInRange({ remoteAddress, device }: Endpoints): string | undefined {
    const range = this.#rangeFor(remoteAddress);
    if (range === undefined) return undefined;
    const { onEvent, log } = this.#options;
    if (this.countOf(range.name) >= range.limit) {
      const { name, limit } = range;
      log.warn(
        { range: name, address: remoteAddress, limit },
        'a range has as many neighbours as it may',
      );
      onEvent({ type: 'dynamic-refused', range: name, address: remoteAddress, limit });
      return undefined;
    }
    const neighbor = instantiate(range, {
      address: remoteAddress,
      ...(device !== undefined && isLinkLocal(remoteAddress) ? { interface: device } : {}),
    });
    if (this.#known.has(neighbor.name)) return undefined;
    this.#add(neighbor, range.name);
    this.changed(neighbor.name, false);
    return neighbor.name;
  }

  /** The narrowest range that an address is in. */
  #rangeFor(address: Address): DynamicNeighbor | undefined {
    let best: DynamicNeighbor | undefined;
    for (const range of this.#settings.dynamicNeighbors.values()) {
      const { prefix } = range;
      if (Prefix.family(prefix) !== Address.family(address) || !Prefix.contains(prefix, address))
        continue;
      if (best === undefined || Prefix.length(prefix) > Prefix.length(best.prefix)) best = range;
    }
    return best;
  }

  /** Neighbours of ranges that are gone, and whose routes nobody keeps, are forgotten. */
  #sweepWaiting(): void {
    this.#sweep = undefined;
    const { core } = this.#options;
    for (const name of this.#waiting) {
      const row = core.peer(name);
      if (row === undefined || row.state === 'established') this.#waiting.delete(name);
      else if (
        row.restart === undefined &&
        row.state !== 'open-sent' &&
        row.state !== 'open-confirm'
      )
        this.#remove(name, new Map(), 'gone');
    }
    if (this.#waiting.size > 0) this.#sweep = setTimeout(() => this.#sweepWaiting(), SWEEP_MS);
  }

  /** True if the address is another one now. */
  #retarget(known: Known): boolean {
    const { core, fib, targets, now } = this.#options;
    const { neighbor, target } = known;
    const { name, peer } = neighbor;
    const connected = 'address' in peer ? undefined : core.peer(name)?.endpoints?.remoteAddress;
    const found = targets.find(peer, target, connected);
    this.#index(name, target.address, found.address);
    known.target = found;
    const still = found.address === target.address && found.device === target.device;
    const around = surroundings(found, fib);
    const { sharedSubnets, selfAddresses } = known.config;
    if (
      !same(around.sharedSubnets, sharedSubnets ?? []) ||
      !same(around.selfAddresses, selfAddresses ?? [])
    ) {
      known.config = peerConfigOf(neighbor, this.#settings, fixed(neighbor, found), around);
      core.updatePeer(known.config, now());
    }
    if (still) return false;
    if (!('address' in peer)) this.#tellTarget(name, found);
    this.#options.onBfd(name, this.#bfdOf(neighbor, found));
    return true;
  }

  #index(name: string, before: Address | undefined, after: Address | undefined): void {
    if (before === after) return;
    const left = before === undefined ? undefined : this.#byAddress.get(before);
    if (before !== undefined && left?.delete(name) && left.size === 0)
      this.#byAddress.delete(before);
    if (after === undefined) return;
    const there = this.#byAddress.get(after);
    if (there === undefined) this.#byAddress.set(after, new Set([name]));
    else there.add(name);
  }

  #tellTarget(name: string, { address, device }: Target): void {
    this.#options.core.input(
      name,
      { type: 'target', address, ...(device === undefined ? {} : { device }) },
      this.#options.now(),
    );
  }

  #bfdOf(neighbor: Neighbor, { address, device }: Target): BfdSession | undefined {
    const { bfd, localAddress, ttlSecurity, multihopTtl } = neighbor;
    if (bfd === undefined || address === undefined || neighbor.adminDown) return undefined;
    const hops = ttlSecurity ?? multihopTtl;
    // Without a word on distance: one hop, unless the address is on no subnet of ours.
    const multihop =
      bfd.multihop ??
      (hops === undefined
        ? !isLinkLocal(address) && this.#options.fib.subnetOf(address) === undefined
        : hops > 1);
    return {
      remote: address,
      ...(localAddress === undefined ? {} : { local: localAddress }),
      ...(device === undefined ? {} : { interface: device }),
      ...(multihop ? { multihop } : {}),
      txIntervalMs: bfd.intervalMs,
      rxIntervalMs: bfd.intervalMs,
      multiplier: bfd.multiplier,
      ...(bfd.auth === undefined ? {} : { auth: bfd.auth }),
    };
  }
}

/** What the core's configuration says of the address: what is found later goes by `target` instead. */
const fixed = ({ peer }: Neighbor, found: Target): Target =>
  'address' in peer ? found : 'interface' in peer ? { device: peer.interface } : {};

function surroundings({ address, device }: Target, fib: Fib): Surroundings {
  if (address === undefined) return { sharedSubnets: [], selfAddresses: [] };
  if (isLinkLocal(address))
    return { sharedSubnets: [], selfAddresses: device === undefined ? [] : fib.ownOn(device) };
  const subnet = fib.subnetOf(address);
  return {
    sharedSubnets: subnet === undefined ? [] : [subnet],
    selfAddresses: fib.ownBeside(address),
  };
}
