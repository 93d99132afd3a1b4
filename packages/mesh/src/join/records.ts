import * as z from 'zod';
import { clusterFacts } from './facts.ts';
import { storeOffer } from './token.ts';

/**
 * What stands in a cluster's own store about joining, where no peer may read. Credentials in it are the same that the
 * Secrets beside it hold.
 */
const ROOT = 'causeway/mesh/';

export const TOKENS = `${ROOT}tokens/`;
export const JOINS = `${ROOT}joins/`;
export const PEERS = `${ROOT}peers/`;
/** Peers that have left and whose user or certificates may still be good: whoever may take those back does, then deletes this. */
export const LEFT = `${ROOT}left/`;
/**
 * Peers that have taken new certificates into use, with the serial of the one that counts: the others are to be revoked
 * by whoever has the authority's key.
 */
export const RENEWED = `${ROOT}renewed/`;
/** On a lease: somebody works on the join. */
export const AT_WORK = `${ROOT}at-work/`;

/** A token that this cluster gave, or has used. */
export const tokenRecord = z.strictObject({
  version: z.literal(1),
  type: z.enum(['given', 'taken']),
  peer: z.string(),
  /** SHA-256 of the secret, base64url; of given ones. */
  secretHash: z.string().exactOptional(),
  /** Of given ones that renew: the serial of the certificate that came with it. */
  renews: z.string().exactOptional(),
  /** Of given ones: checks whose failure is meant. */
  accept: z.array(z.string()).exactOptional(),
  expiresAt: z.iso.datetime(),
  usedAt: z.iso.datetime().exactOptional(),
  /** Of given, unused ones: when it was noted that its user and certificate have to go. */
  endedAt: z.iso.datetime().exactOptional(),
});

/**
 * A join under way. `joining` is the side that was given the token and decides: once it is `committing`, both sides
 * will have each other; before, neither. `inviting` waits for that word when it is `prepared`.
 */
export const joinRecord = z.strictObject({
  version: z.literal(1),
  role: z.enum(['joining', 'inviting']),
  state: z.enum(['preparing', 'prepared', 'committing']),
  tokenId: z.uuid(),
  startedAt: z.iso.datetime(),
  /** After it, what is only prepared is forgotten. */
  expiresAt: z.iso.datetime(),
  facts: clusterFacts,
  offer: storeOffer,
  /** Of `joining`: how the other side is told; absent where people tell it. */
  answer: z
    .strictObject({
      urls: z.array(z.string()),
      ca: z.string(),
      secret: z.string(),
    })
    .exactOptional(),
});

/** A cluster that this one has joined with. */
export const peerRecord = z.strictObject({
  version: z.literal(1),
  facts: clusterFacts,
  joinedAt: z.iso.datetime(),
  tokenId: z.uuid(),
  /** Where its operators can be told that we leave. */
  join: z.array(z.string()),
});

export type TokenRecord = z.infer<typeof tokenRecord>;
export type JoinRecord = z.infer<typeof joinRecord>;
export type PeerRecord = z.infer<typeof peerRecord>;

/** What is to become of a join that nobody works on. */
export type Recovery =
  /** The other side is told again, until it has heard; then the record goes. */
  | { readonly type: 'finish' }
  /** All that was written goes. */
  | { readonly type: 'undo'; readonly why: string }
  /** The other side decides. */
  | { readonly type: 'wait' };

export function recoveryOf(join: JoinRecord, now: Date): Recovery {
  const { role, state } = join;
  if (role === 'joining') {
    if (state === 'committing') return { type: 'finish' };
    return { type: 'undo', why: 'it ended before both sides had agreed' };
  }
  if (now.getTime() <= new Date(join.expiresAt).getTime()) return { type: 'wait' };
  return { type: 'undo', why: `the other side said nothing until ${join.expiresAt}` };
}
