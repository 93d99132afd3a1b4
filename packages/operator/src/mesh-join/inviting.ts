import { absent, type Kv } from '@causeway/etcd';
import {
  type CheckName,
  type CheckRow,
  type ClusterFacts,
  checkJoin,
  type JoinRecord,
  type PeerView,
  passes,
  RENEWED,
  type StoreOffer,
} from '@causeway/mesh';
import type { ResourceStore } from '@causeway/resources';
import { OperatorError } from '../errors.ts';
import { readOwnSide } from './facts.ts';
import { joinKey, putJoin, putPeer, putToken, readJoin, removeJoin } from './objects.ts';
import { checkUsable, givenToken } from './tokens.ts';

/** How often a write that lost a race is tried. */
const TRIES = 5;

export interface InvitingOptions {
  readonly kv: Kv;
  readonly store: ResourceStore;
  readonly cluster: string;
  readonly now: () => Date;
  readonly uid: () => string;
  /** Tries what the other side gave. */
  readonly view: (offer: StoreOffer, cluster: string, now: Date) => Promise<PeerView>;
}

/** Shows that one has the token. */
export interface Bearer {
  readonly tokenId: string;
  readonly secret: string;
}

export interface PrepareReport {
  readonly rows: readonly CheckRow[];
  readonly prepared: boolean;
}

/**
 * The side that gave the token: checks the other, writes down what it was given when it agrees, and makes it a peer
 * when the other says that it has done so itself. Every call may be repeated.
 */
export class Inviting {
  readonly #options: InvitingOptions;

  constructor(options: InvitingOptions) {
    this.#options = options;
  }

  /** What the other cluster says of itself, held against ours. Writes nothing. */
  async check(bearer: Bearer, facts: ClusterFacts): Promise<PrepareReport> {
    const token = await this.#usable(bearer, facts);
    const rows = await this.#rows(facts, undefined, token.accept);
    return { rows, prepared: false };
  }

  /** The same and its store too; if all fits it is remembered until `commit`, `abort` or the token's end. */
  async prepare(bearer: Bearer, facts: ClusterFacts, offer: StoreOffer): Promise<PrepareReport> {
    const { kv, now, view } = this.#options;
    const { accept, stored } = await this.#usable(bearer, facts);
    const before = await readJoin(kv, facts.name);
    const busy = before !== undefined && before.value.tokenId !== bearer.tokenId;
    if (busy && new Date(before.value.expiresAt) > now()) {
      throw new OperatorError('join-busy', `another join with ${facts.name} is under way`, {
        value: facts.name,
        hint: `it ends by itself at ${before.value.expiresAt}`,
      });
    }
    const rows = await this.#rows(facts, await view(offer, facts.name, now()), accept);
    if (!passes(rows)) return { rows, prepared: false };
    const record: JoinRecord = {
      version: 1,
      role: 'inviting',
      state: 'prepared',
      tokenId: bearer.tokenId,
      startedAt: now().toISOString(),
      expiresAt: stored.value.expiresAt,
      facts,
      offer,
    };
    const { succeeded } = await kv.txn({
      compare: [stored.compare, before?.compare ?? absent(joinKey(facts.name))],
      success: [putJoin(facts.name, record)],
    });
    if (!succeeded) throw lostRace(facts.name);
    return { rows, prepared: true };
  }

  /** The other side has us as its peer: now it is ours. */
  async commit({ tokenId, secret }: Bearer, join: readonly string[]): Promise<void> {
    const { kv, now, uid } = this.#options;
    for (let tries = 0; tries < TRIES; tries++) {
      const token = await givenToken(kv, tokenId, secret);
      const { peer, usedAt } = token.value;
      // It was done, and the answer was lost.
      if (usedAt !== undefined) return;
      const prepared = await readJoin(kv, peer);
      if (prepared?.value.tokenId !== tokenId) {
        throw new OperatorError('unknown-join', `nothing is prepared with ${peer}`, {
          value: peer,
          hint: 'prepare again',
        });
      }
      const { facts, offer } = prepared.value;
      const made = putPeer({ facts, offer, tokenId, join, uid, now: now() });
      const { succeeded } = await kv.txn({
        compare: [token.compare, prepared.compare, ...made.compare],
        success: [
          ...made.operations,
          removeJoin(peer),
          putToken(tokenId, { ...token.value, usedAt: now().toISOString() }),
        ],
      });
      if (succeeded) return;
    }
    throw lostRace(tokenId);
  }

  /** The peer's programs have the certificates that came with a token that renews: those before count no more. */
  async renewed({ tokenId, secret }: Bearer): Promise<void> {
    const { kv, now } = this.#options;
    const token = await givenToken(kv, tokenId, secret);
    const { renews, peer, usedAt } = token.value;
    // It was done, and the answer was lost.
    if (usedAt !== undefined) return;
    if (renews === undefined)
      throw new OperatorError(
        'unknown-token',
        'the token is an invitation, and renews nothing',
        {},
      );
    const { succeeded } = await kv.txn({
      compare: [token.compare],
      success: [
        { type: 'put', key: RENEWED + peer, value: renews },
        putToken(tokenId, { ...token.value, usedAt: now().toISOString() }),
      ],
    });
    if (!succeeded) throw lostRace(peer);
  }

  /** The other side has given it up. Throws OperatorError `token-used` if it was committed. */
  async abort({ tokenId, secret }: Bearer): Promise<void> {
    const { kv } = this.#options;
    const token = await givenToken(kv, tokenId, secret);
    if (token.value.usedAt !== undefined) {
      throw new OperatorError('token-used', 'the join was committed: leave instead', {});
    }
    const prepared = await readJoin(kv, token.value.peer);
    if (prepared?.value.tokenId !== tokenId) return;
    await kv.txn({ compare: [prepared.compare], success: [removeJoin(token.value.peer)] });
  }

  async #usable(bearer: Bearer, facts: ClusterFacts) {
    const { kv, now } = this.#options;
    const stored = await givenToken(kv, bearer.tokenId, bearer.secret);
    checkUsable(stored, now());
    const { peer } = stored.value;
    if (facts.name !== peer) {
      throw new OperatorError('unknown-token', `the token is for ${peer}, not for ${facts.name}`, {
        field: 'facts.name',
        value: facts.name,
      });
    }
    return { stored, accept: new Set(stored.value.accept) as ReadonlySet<CheckName> };
  }

  async #rows(
    theirs: ClusterFacts,
    view: PeerView | undefined,
    accept: ReadonlySet<CheckName>,
  ): Promise<CheckRow[]> {
    const { kv, store, cluster } = this.#options;
    const { facts: mine, nodes: myNodes, known } = await readOwnSide(kv, store, cluster);
    return checkJoin({ mine, myNodes, theirs, view, known, accept });
  }
}

const lostRace = (value: string): OperatorError =>
  new OperatorError('lost-race', `others changed the join with ${value} meanwhile`, {
    value,
    hint: 'try again',
  });
