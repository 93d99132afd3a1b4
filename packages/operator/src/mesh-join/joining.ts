import { absent, type Kv, type StoreAuth } from '@causeway/etcd';
import {
  admitPeer,
  type CheckName,
  type CheckRow,
  checkJoin,
  checkToken,
  dismissPeer,
  type JoinRecord,
  type JoinToken,
  LEFT,
  type PeerView,
  passes,
  type StoreDirectory,
  type StoreOffer,
} from '@causeway/mesh';
import type { ResourceStore } from '@causeway/resources';
import { OperatorError } from '../errors.ts';
import { atWork, busy } from './at-work.ts';
import type { JoinClient, JoinClientOptions } from './client.ts';
import { type OwnSide, readOwnSide } from './facts.ts';
import {
  joinKey,
  putJoin,
  putPeer,
  putToken,
  readJoin,
  readToken,
  removeJoin,
  removePeer,
  tokenKey,
} from './objects.ts';

/** Steps at which a test may end the program. */
export type JoinStep = 'checked' | 'begun' | 'admitted' | 'prepared' | 'decided' | 'committed';

export interface JoiningOptions {
  readonly kv: Kv;
  readonly store: ResourceStore;
  readonly auth: StoreAuth;
  readonly directory: StoreDirectory;
  /** How our own store is reached by the other cluster. */
  readonly own: {
    readonly endpoints: readonly string[];
    readonly serverName?: string;
    /** Our operators' join endpoints. */
    readonly join: readonly string[];
  };
  readonly accept: ReadonlySet<CheckName>;
  readonly now: () => Date;
  readonly uid: () => string;
  readonly view: (offer: StoreOffer, cluster: string, now: Date) => Promise<PeerView>;
  readonly client: (
    options: JoinClientOptions,
  ) => Pick<JoinClient, 'check' | 'prepare' | 'commit' | 'abort'>;
  readonly at?: (step: JoinStep) => void | Promise<void>;
}

/** What each side says of the other; `theirs` is undefined where that side was not asked. */
export interface JoinReport {
  readonly type: 'joined' | 'refused';
  readonly peer: string;
  readonly mine: readonly CheckRow[];
  readonly theirs: readonly CheckRow[] | undefined;
}

/**
 * The side that was given the token. It looks, and writes nothing while anything is wrong; then lets the other side
 * look, which takes a user of ours; then decides by one transaction, from which on the join will be finished
 * whatever dies. Throws MeshError `bad-token`, OperatorError, KvError.
 */
export async function joinMesh(token: JoinToken, options: JoiningOptions): Promise<JoinReport> {
  const { kv, store, directory, view, client, now } = options;
  const own = directory.cluster;
  const peer = token.from.name;
  checkToken(token, own, now());
  const taken = await readToken(kv, token.id);
  if (taken !== undefined) throw used(taken.value.usedAt ?? 'an earlier join');
  const side = await readOwnSide(kv, store, own);
  const seen = await view(token.offer, peer, now());
  const mine = checkJoin({
    mine: side.facts,
    myNodes: side.nodes,
    theirs: token.from,
    view: seen,
    known: side.known,
    accept: options.accept,
  });
  if (!passes(mine)) return { type: 'refused', peer, mine, theirs: undefined };
  const other = client({ urls: token.join, ca: token.offer.ca });
  const bearer = { tokenId: token.id, secret: token.secret };
  const said = await other.check(bearer, side.facts);
  if (!passes(said.rows)) return { type: 'refused', peer, mine, theirs: said.rows };
  await options.at?.('checked');

  await using _mine = await atWork(kv, peer);
  await begin(token, options);
  let decided = false;
  try {
    await options.at?.('begun');
    const offer = await ownOffer(peer, options);
    await options.at?.('admitted');
    const prepared = await other.prepare(bearer, side.facts, offer);
    if (!prepared.prepared) {
      await undoJoin(peer, options);
      return { type: 'refused', peer, mine, theirs: prepared.rows };
    }
    await options.at?.('prepared');
    await decide(token, options);
    decided = true;
    await options.at?.('decided');
    await other.commit(bearer, options.own.join);
    await options.at?.('committed');
    await kv.delete(joinKey(peer));
    return { type: 'joined', peer, mine, theirs: prepared.rows };
  } catch (error) {
    // After the decision it is for whoever looks after joins to finish it.
    if (decided) throw unfinished(peer, error);
    await other.abort(bearer).catch(() => {});
    await undoJoin(peer, options);
    throw error;
  }
}

/** The same where the other side's operator is out of reach: our half at once, and what the other half needs. */
export async function joinOneWay(
  token: JoinToken,
  options: JoiningOptions,
): Promise<JoinReport & { readonly side: OwnSide; readonly offer?: StoreOffer }> {
  const { kv, store, directory, view, now } = options;
  const own = directory.cluster;
  const peer = token.from.name;
  checkToken(token, own, now());
  const taken = await readToken(kv, token.id);
  if (taken !== undefined) throw used(taken.value.usedAt ?? 'an earlier join');
  const side = await readOwnSide(kv, store, own);
  const mine = checkJoin({
    mine: side.facts,
    myNodes: side.nodes,
    theirs: token.from,
    view: await view(token.offer, peer, now()),
    known: side.known,
    accept: options.accept,
  });
  if (!passes(mine)) return { type: 'refused', peer, mine, theirs: undefined, side };
  await using _mine = await atWork(kv, peer);
  await begin(token, options, 'by hand');
  try {
    const offer = await ownOffer(peer, options);
    await decide(token, options);
    await kv.delete(joinKey(peer));
    return { type: 'joined', peer, mine, theirs: undefined, side, offer };
  } catch (error) {
    await undoJoin(peer, options);
    throw error;
  }
}

/** Takes back what was written before the decision. */
export async function undoJoin(
  peer: string,
  { kv, auth, directory, now }: Pick<JoiningOptions, 'kv' | 'auth' | 'directory' | 'now'>,
): Promise<void> {
  await dismissPeer(auth, peer);
  await directory.removePeer(peer, now());
  await kv.txn({ compare: [], success: [...removePeer(peer), removeJoin(peer)] });
}

async function begin(
  token: JoinToken,
  { kv, now }: JoiningOptions,
  told: 'by us' | 'by hand' = 'by us',
): Promise<void> {
  const peer = token.from.name;
  const record: JoinRecord = {
    version: 1,
    role: 'joining',
    state: 'preparing',
    tokenId: token.id,
    startedAt: now().toISOString(),
    expiresAt: token.expiresAt,
    facts: token.from,
    offer: token.offer,
    ...(told === 'by hand'
      ? {}
      : { answer: { urls: [...token.join], ca: token.offer.ca, secret: token.secret } }),
  };
  const { succeeded } = await kv.txn({
    compare: [absent(joinKey(peer)), absent(tokenKey(token.id))],
    success: [putJoin(peer, record)],
  });
  if (!succeeded) throw busy(peer);
}

async function ownOffer(peer: string, options: JoiningOptions): Promise<StoreOffer> {
  const { kv, auth, directory, own, now } = options;
  // What an invitation gave that this peer never took would else be good again.
  await directory.revokeClients(peer, now());
  await kv.delete(LEFT + peer);
  await admitPeer(auth, directory.cluster, peer);
  const { certificate, key } = await directory.issuePeer(peer, now());
  return {
    endpoints: [...own.endpoints],
    ...(own.serverName === undefined ? {} : { serverName: own.serverName }),
    ca: directory.trust,
    certificate,
    key,
  };
}

/** One transaction: before it nothing of the peer is in force, after it everything. */
async function decide(token: JoinToken, { kv, now, uid }: JoiningOptions): Promise<void> {
  const { name: peer } = token.from;
  const join = await readJoin(kv, peer);
  if (join === undefined) throw busy(peer);
  const made = putPeer({
    facts: token.from,
    offer: token.offer,
    tokenId: token.id,
    join: token.join,
    uid,
    now: now(),
  });
  const { succeeded } = await kv.txn({
    compare: [join.compare, absent(tokenKey(token.id)), ...made.compare],
    success: [
      ...made.operations,
      putJoin(peer, { ...join.value, state: 'committing' }),
      putToken(token.id, {
        version: 1,
        type: 'taken',
        peer,
        expiresAt: token.expiresAt,
        usedAt: now().toISOString(),
      }),
    ],
  });
  if (!succeeded) throw busy(peer);
}

const used = (when: string): OperatorError =>
  new OperatorError('token-used', `this cluster has used the token already: ${when}`, {
    hint: 'a token joins once; ask for a new one',
  });

const unfinished = (peer: string, cause: unknown): OperatorError =>
  new OperatorError(
    'not-ready',
    `${peer} is a peer now, and has not heard of it yet: ${(cause as Error).message}`,
    {
      value: peer,
      hint: 'the operator goes on telling it; "causeway mesh join --resume" does it now',
      cause,
    },
  );
