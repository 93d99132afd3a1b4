import type { PeerInput } from '../events.ts';
import type { AttributeTable } from '../rib/attribute-table.ts';
import { PathFlag } from '../rib/path-table.ts';
import type { Rib } from '../rib/rib.ts';
import type { FamilyKey } from '../types.ts';
import type { SpeakerConfig } from './config.ts';
import type { SpeakerPeer } from './peer.ts';
import type { Roster } from './roster.ts';

const defaultBytes = 512 << 20;
const restartAfterMs = 300_000;

interface AttributeLimitContext {
  readonly sets: AttributeTable;
  readonly ribs: Readonly<Record<FamilyKey, Rib>>;
  readonly roster: Roster;
  readonly config: () => SpeakerConfig;
  readonly handle: (peer: SpeakerPeer, input: PeerInput, now: number) => void;
}

/**
 * A number of routes bounds no memory while each may have kilobytes of attributes of its own. What all of them need
 * together has a limit; beyond it the session falls whose routes need most, a set that several share being divided
 * between them.
 */
export class AttributeLimit {
  readonly #context: AttributeLimitContext;

  constructor(context: AttributeLimitContext) {
    this.#context = context;
  }

  check(now: number): void {
    const { sets, roster, config, handle } = this.#context;
    const limit = config().attributeBytes ?? defaultBytes;
    if (sets.liveBytes <= limit || this.#isRelieved()) return;
    const needs = this.#needs();
    let worst: SpeakerPeer | undefined;
    for (const peer of roster.all) {
      if (peer.negotiated === undefined) continue;
      if (worst === undefined || (needs[peer.index] ?? 0) > (needs[worst.index] ?? 0)) worst = peer;
    }
    if (worst === undefined) return;
    const mib = (bytes: number) => Math.ceil(bytes / (1 << 20));
    const text = `its routes need ${mib(needs[worst.index] ?? 0)} MiB of distinct path attributes, and all neighbours together may need ${mib(limit)}`;
    handle(
      worst,
      { type: 'stop', how: 'too-many-attributes', text, restartAfter: restartAfterMs },
      now,
    );
  }

  /** Routes of a session that fell are being removed: that comes first. */
  #isRelieved(): boolean {
    for (const { families } of this.#context.roster.all)
      for (const { purge } of families.values()) if (purge !== undefined) return true;
    return false;
  }

  /** Bytes by peer. */
  #needs(): readonly number[] {
    const { sets, ribs } = this.#context;
    const needs: number[] = [];
    for (const { paths } of Object.values(ribs)) {
      for (let slot = 1; slot < paths.end; slot++) {
        if (paths.prefix[slot] === 0 || (paths.flags[slot]! & PathFlag.gone) !== 0) continue;
        const set = paths.received[slot]!;
        const peer = paths.peer[slot]!;
        needs[peer] = (needs[peer] ?? 0) + sets.length[set]! / sets.refs[set]!;
      }
    }
    return needs;
  }
}
