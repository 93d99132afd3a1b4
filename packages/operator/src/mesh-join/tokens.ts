import { createHash, randomBytes, randomUUID, timingSafeEqual } from 'node:crypto';
import { absent, type Kv, type StoreAuth } from '@causeway/etcd';
import {
  type CheckName,
  type ClusterFacts,
  dismissPeer,
  type JoinToken,
  LEFT,
  type StoreOffer,
  TOKENS,
  type TokenRecord,
  tokenRecord,
} from '@causeway/mesh';
import { inspectCertificate } from '@causeway/pki';
import { OperatorError } from '../errors.ts';
import { joinKey, peerKey, putToken, readToken, type Stored, tokenKey } from './objects.ts';

/** How long after its end a token is remembered, so that who comes late is told why. */
const KEPT_MS = 7 * 86_400_000;

export interface NewToken {
  readonly type: 'invite' | 'renew';
  readonly peer: string;
  readonly from: ClusterFacts;
  readonly offer: StoreOffer;
  readonly join: readonly string[];
  readonly minutes: number;
  readonly accept: ReadonlySet<CheckName>;
  readonly now: Date;
}

/**
 * Makes a token and remembers its secret's hash. Those that the peer got before and has not used are void; what came
 * with them the caller has revoked.
 */
export async function giveToken(kv: Kv, about: NewToken): Promise<JoinToken> {
  const { peer, now, type, from, offer, join, minutes, accept } = about;
  const secret = randomBytes(32).toString('base64url');
  const id = randomUUID();
  const expiresAt = new Date(now.getTime() + minutes * 60_000).toISOString();
  const record: TokenRecord = {
    version: 1,
    type: 'given',
    peer,
    secretHash: hashOf(secret),
    ...(type === 'renew' ? { renews: inspectCertificate(offer.certificate).serial } : {}),
    accept: [...accept],
    expiresAt,
  };
  const void_ = (await listTokens(kv)).filter(
    ({ value }) => value.type === 'given' && value.peer === peer && value.usedAt === undefined,
  );
  await kv.txn({
    compare: [],
    success: [
      ...void_.slice(0, 100).map((each) => ({ type: 'delete', key: tokenKey(each.id) }) as const),
      // One that ended meanwhile must not take the new one's user with it.
      { type: 'delete', key: LEFT + peer },
      putToken(id, record),
    ],
  });
  return {
    type,
    id,
    for: peer,
    issuedAt: now.toISOString(),
    expiresAt,
    from,
    offer,
    secret,
    join: [...join],
  };
}

export const hashOf = (secret: string): string =>
  createHash('sha256').update(secret).digest('base64url');

/** The token that this cluster gave. Throws OperatorError `unknown-token` for a wrong secret too. */
export async function givenToken(kv: Kv, id: string, secret: string): Promise<Stored<TokenRecord>> {
  const token = await readToken(kv, id);
  const wanted = Buffer.from(token?.value.secretHash ?? hashOf(''));
  const same = timingSafeEqual(wanted, Buffer.from(hashOf(secret)));
  if (token === undefined || token.value.type !== 'given' || !same) {
    throw new OperatorError(
      'unknown-token',
      'this cluster gave no such token, or gave a newer one',
      {
        hint: 'ask for a new token',
      },
    );
  }
  return token;
}

/** Throws OperatorError `token-used`, `token-expired`. */
export function checkUsable({ value }: Stored<TokenRecord>, now: Date): void {
  const { usedAt, expiresAt } = value;
  if (usedAt !== undefined) {
    throw new OperatorError('token-used', `the token was used at ${usedAt}`, {
      hint: 'a token joins once; ask for a new one',
    });
  }
  if (now.getTime() > new Date(expiresAt).getTime()) {
    throw new OperatorError('token-expired', `the token's time ended at ${expiresAt}`, {
      hint: 'ask for a new one',
    });
  }
}

export async function listTokens(
  kv: Kv,
): Promise<readonly { readonly id: string; readonly value: TokenRecord }[]> {
  const { entries } = await kv.list(TOKENS);
  return entries.flatMap(({ key, text }) => {
    const parsed = tokenRecord.safeParse(parse(text));
    return parsed.success ? [{ id: key.slice(TOKENS.length), value: parsed.data }] : [];
  });
}

/**
 * Ends invitations that nobody took in time, and forgets tokens whose time ended long ago. `auth` as `root`; without
 * it the users are left to whoever sweeps, as the certificates are.
 */
export async function forgetTokens(kv: Kv, auth: StoreAuth | undefined, now: Date): Promise<void> {
  for (const { id, value } of await listTokens(kv)) {
    const over = now.getTime() - new Date(value.expiresAt).getTime();
    if (over > 0) await endInvitation(kv, auth, id, now);
    if (over > KEPT_MS) await kv.delete(tokenKey(id));
  }
}

/** What came with an invitation is good for longer than the invitation: it goes, unless its peer has joined or is about to. */
async function endInvitation(
  kv: Kv,
  auth: StoreAuth | undefined,
  id: string,
  now: Date,
): Promise<void> {
  const token = await readToken(kv, id);
  if (token === undefined) return;
  const { type, peer, usedAt, endedAt, renews } = token.value;
  if (type !== 'given' || usedAt !== undefined || endedAt !== undefined) return;
  // Whether the peer took it and could not say so nobody knows here: to guess wrong would cut it off.
  if (renews !== undefined) return;
  const at = now.toISOString();
  const { succeeded } = await kv.txn({
    compare: [token.compare, absent(peerKey(peer)), absent(joinKey(peer))],
    success: [
      { type: 'put', key: LEFT + peer, value: at },
      putToken(id, { ...token.value, endedAt: at }),
    ],
  });
  if (succeeded && auth !== undefined) await dismissPeer(auth, peer);
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
