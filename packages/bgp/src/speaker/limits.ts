import type { PeerInput } from '../events.ts';
import { mostOfOne } from '../rib/peer-counts.ts';
import type { MaxPrefixes } from './config.ts';
import type { PeerFamily, SpeakerPeer } from './peer.ts';
import type { SpeakerEvent } from './types.ts';

/**
 * Some times what the Internet has, so that no neighbour of a network that is run well comes near it, and far less than
 * there are numbers for: one that announces without end falls before others cannot be served.
 */
const unlessConfigured: MaxPrefixes = { limit: 4_000_000, action: 'reset', restartAfter: 300 };

/** How many routes a neighbour may have, and what comes of more. */
export class Limits {
  readonly #event: (event: SpeakerEvent) => void;
  readonly #handle: (peer: SpeakerPeer, input: PeerInput, now: number) => void;

  constructor(
    event: (event: SpeakerEvent) => void,
    handle: (peer: SpeakerPeer, input: PeerInput, now: number) => void,
  ) {
    this.#event = event;
    this.#handle = handle;
  }

  /** A session begins: what was said in the last one may be said again. */
  begin(peer: SpeakerPeer, family: PeerFamily): void {
    family.warned = false;
    family.limited = false;
    family.rib.counts(peer.index).crowded = 'no';
  }

  /** Says once that a prefix had more paths than are taken (RFC 7911). */
  checkCrowded(peer: SpeakerPeer, family: PeerFamily): void {
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

  checkMax(peer: SpeakerPeer, family: PeerFamily, now: number): void {
    const max = family.config.maxPrefixes ?? unlessConfigured;
    if (family.limited) return;
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
}
