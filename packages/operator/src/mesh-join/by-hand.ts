import { randomBytes, randomUUID } from 'node:crypto';
import { type Kv, unchanged } from '@causeway/etcd';
import {
  type CheckRow,
  checkJoin,
  checkToken,
  type JoinToken,
  type PeerView,
  passes,
  type StoreOffer,
} from '@causeway/mesh';
import {
  decodeObject,
  encodeObject,
  MESH_SECRETS_NAMESPACE,
  type ResourceStore,
} from '@causeway/resources';
import { OperatorError } from '../errors.ts';
import type { JoinClient, JoinClientOptions } from './client.ts';
import { type OwnSide, readOwnSide } from './facts.ts';
import type { JoinReport } from './joining.ts';
import {
  peerKey,
  putPeer,
  putToken,
  readToken,
  secretKey,
  secretName,
  secretOf,
} from './objects.ts';
import { NOWHERE_TO_TELL, type Told, tellPeer } from './telling.ts';
import { checkUsable, givenToken } from './tokens.ts';

/** What the side that gave the invitation needs, where its operator was out of reach. */
export function returnToken(
  invitation: JoinToken,
  side: OwnSide,
  offer: StoreOffer,
  join: readonly string[],
  now: Date,
): JoinToken {
  return {
    type: 'return',
    id: randomUUID(),
    for: invitation.from.name,
    issuedAt: now.toISOString(),
    expiresAt: invitation.expiresAt,
    from: side.facts,
    offer,
    secret: randomBytes(32).toString('base64url'),
    join: [...join],
    answers: { id: invitation.id, secret: invitation.secret },
  };
}

export interface ByHandOptions {
  readonly kv: Kv;
  readonly store: ResourceStore;
  readonly cluster: string;
  readonly now: () => Date;
  readonly uid: () => string;
  readonly view: (offer: StoreOffer, cluster: string, now: Date) => Promise<PeerView>;
  readonly client: (options: JoinClientOptions) => Pick<JoinClient, 'renewed'>;
}

export interface RenewReport extends JoinReport {
  /** Whether the giver knows that its former certificates are needed no more. */
  readonly told?: Told;
}

/** The other half of a join by hand: in one transaction, if everything fits. */
export async function acceptReturn(token: JoinToken, options: ByHandOptions): Promise<JoinReport> {
  const { kv, store, cluster, now, uid, view } = options;
  const { answers, from, offer } = token;
  checkToken(token, cluster, now());
  if (answers === undefined)
    throw new OperatorError('unknown-token', 'the token answers no invitation', {});
  const given = await givenToken(kv, answers.id, answers.secret);
  checkUsable(given, now());
  if (given.value.peer !== from.name) {
    throw new OperatorError('unknown-token', `the invitation was for ${given.value.peer}`, {
      value: from.name,
    });
  }
  const side = await readOwnSide(kv, store, cluster);
  const mine = checkJoin({
    mine: side.facts,
    myNodes: side.nodes,
    theirs: from,
    view: await view(offer, from.name, now()),
    known: side.known,
    accept: new Set(given.value.accept) as ReadonlySet<CheckRow['check']>,
  });
  if (!passes(mine)) return { type: 'refused', peer: from.name, mine, theirs: undefined };
  const made = putPeer({
    facts: from,
    offer,
    tokenId: answers.id,
    join: token.join,
    uid,
    now: now(),
  });
  const usedAt = now().toISOString();
  const { succeeded } = await kv.txn({
    compare: [given.compare, ...made.compare],
    success: [...made.operations, putToken(answers.id, { ...given.value, usedAt })],
  });
  if (succeeded) return { type: 'joined', peer: from.name, mine, theirs: undefined };
  throw new OperatorError('lost-race', `others changed ${from.name} meanwhile`, {
    value: from.name,
    hint: 'try again',
  });
}

/**
 * New certificates, or another way, to a peer that stays what it is. Nothing changes unless they work; then the peer is
 * told, so that it takes the former ones back.
 */
export async function renewPeer(token: JoinToken, options: ByHandOptions): Promise<RenewReport> {
  const { kv, cluster, now, view } = options;
  const { from, offer } = token;
  checkToken(token, cluster, now());
  if ((await readToken(kv, token.id)) !== undefined)
    throw new OperatorError('token-used', 'this cluster has used the token already', {});
  const entry = await kv.get(peerKey(from.name));
  const decoded = entry === undefined ? undefined : decodeObject('MeshPeer', entry);
  if (entry === undefined || decoded?.type !== 'object') {
    throw new OperatorError('unknown-peer', `${cluster} has no peer ${from.name} to renew`, {
      value: from.name,
      hint: 'ask for an invitation: causeway mesh token without --renew',
    });
  }
  const seen = await view(offer, from.name, now());
  const side = await readOwnSide(kv, options.store, cluster);
  const mine = checkJoin({
    mine: side.facts,
    myNodes: side.nodes,
    theirs: from,
    view: seen,
    known: side.known.filter(({ name }) => name !== from.name),
    accept: new Set(['mtu', 'version']),
  });
  if (!passes(mine)) return { type: 'refused', peer: from.name, mine, theirs: undefined };
  const { object } = decoded;
  const { serverName: _, ...spec } = object.spec;
  const next = {
    ...object,
    spec: {
      ...spec,
      endpoints: [...offer.endpoints],
      secretName: secretName(from.name),
      ...(offer.serverName === undefined ? {} : { serverName: offer.serverName }),
    },
  };
  const meta = {
    uid: options.uid(),
    generation: 1,
    creationTimestamp: now()
      .toISOString()
      .replace(/\.\d+Z$/, 'Z'),
    namespace: MESH_SECRETS_NAMESPACE,
  };
  const { succeeded } = await kv.txn({
    compare: [unchanged(entry)],
    success: [
      { type: 'put', key: peerKey(from.name), value: encodeObject<'MeshPeer'>(next) },
      {
        type: 'put',
        key: secretKey(from.name),
        value: encodeObject<'Secret'>(secretOf(from.name, offer, meta)),
      },
      putToken(token.id, {
        version: 1,
        type: 'taken',
        peer: from.name,
        expiresAt: token.expiresAt,
        usedAt: now().toISOString(),
      }),
    ],
  });
  if (!succeeded)
    throw new OperatorError('lost-race', `others changed ${from.name} meanwhile`, {
      hint: 'try again',
    });
  const { join: urls, id: tokenId, secret } = token;
  const told =
    urls.length === 0
      ? NOWHERE_TO_TELL
      : await tellPeer(() => options.client({ urls, ca: offer.ca }).renewed({ tokenId, secret }));
  return { type: 'joined', peer: from.name, mine, theirs: undefined, told };
}
