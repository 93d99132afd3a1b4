import { messageWithCauses } from '@causeway/daemon';
import type { Kv, StoreAuth, TxnOperation } from '@causeway/etcd';
import {
  dismissPeer,
  LEFT,
  PEERS,
  type PeerRecord,
  peerRecord,
  peerUser,
  type StoreDirectory,
} from '@causeway/mesh';
import { decodeObject, secretValue } from '@causeway/resources';
import { OperatorError } from '../errors.ts';
import type { JoinClient, JoinClientOptions } from './client.ts';
import { peerKey, readJoin, removeJoin, removePeer, secretKey, tokenKey } from './objects.ts';
import { listTokens } from './tokens.ts';

export interface LeavingOptions {
  readonly kv: Kv;
  readonly cluster: string;
  readonly auth: StoreAuth | undefined;
  readonly directory: StoreDirectory | undefined;
  readonly now: () => Date;
  readonly client: (options: JoinClientOptions) => Pick<JoinClient, 'leave'>;
}

export interface LeaveReport {
  readonly peer: string;
  /** Whether the other side knows; why not. */
  readonly told: { readonly type: 'told' } | { readonly type: 'not-told'; readonly why: string };
  /** Whether it can read our store no more, but for watches that run. */
  readonly userRemoved: boolean;
}

/**
 * Tells the other side if that can be, then forgets it here either way. Done again it does what is left. Throws
 * OperatorError `unknown-peer` if nothing here is about such a peer.
 */
export async function leaveMesh(peer: string, options: LeavingOptions): Promise<LeaveReport> {
  const { kv, cluster, auth, client } = options;
  const record = await readPeer(kv, peer);
  const there = record !== undefined || (await kv.get(peerKey(peer))) !== undefined;
  const join = await readJoin(kv, peer);
  const user = auth === undefined ? undefined : await auth.rolesOf(peerUser(peer));
  if (!there && join === undefined && user === undefined) {
    throw new OperatorError('unknown-peer', `${cluster} has no peer ${peer}`, {
      field: 'peer',
      value: peer,
      hint: '"causeway get meshpeers" lists those it has',
    });
  }
  const told = await tell(peer, record, options, client);
  return { peer, told, userRemoved: await forgetPeer(peer, options) };
}

/** Everything about a peer gone from our store. Returns whether its user is gone too. */
export async function forgetPeer(
  peer: string,
  { kv, auth, directory, now }: Pick<LeavingOptions, 'kv' | 'auth' | 'directory' | 'now'>,
): Promise<boolean> {
  const tokens = (await listTokens(kv)).filter(
    ({ value }) => value.type === 'given' && value.peer === peer,
  );
  await kv.txn({
    compare: [],
    success: [
      ...removePeer(peer),
      removeJoin(peer),
      noteLeft(peer, { auth, directory, now }),
      ...tokens.slice(0, 100).map(({ id }) => ({ type: 'delete', key: tokenKey(id) }) as const),
    ],
  });
  await directory?.removePeer(peer, now());
  if (auth === undefined) return false;
  await dismissPeer(auth, peer);
  return true;
}

/**
 * Whoever comes with root's certificate and the authority's key finds what is left to do: a certificate that was not
 * revoked would be good again for a user of the same name.
 */
export const noteLeft = (
  peer: string,
  { auth, directory, now }: Pick<LeavingOptions, 'auth' | 'directory' | 'now'>,
): TxnOperation =>
  auth === undefined || directory === undefined
    ? { type: 'put', key: LEFT + peer, value: now().toISOString() }
    : { type: 'delete', key: LEFT + peer };

/** Removes users and revokes certificates of those who left while nobody could. Returns their names. */
export async function sweepLeft({
  kv,
  auth,
  directory,
  now,
}: Pick<LeavingOptions, 'kv' | 'directory' | 'now'> & { readonly auth: StoreAuth }): Promise<
  readonly string[]
> {
  const { entries } = await kv.list(LEFT, { keysOnly: true });
  const peers = entries.map(({ key }) => key.slice(LEFT.length));
  for (const peer of peers) {
    await dismissPeer(auth, peer);
    await directory?.removePeer(peer, now());
    await kv.delete(LEFT + peer);
  }
  return peers;
}

async function tell(
  peer: string,
  record: PeerRecord | undefined,
  { kv, cluster }: LeavingOptions,
  client: LeavingOptions['client'],
): Promise<LeaveReport['told']> {
  const urls = record?.join ?? [];
  if (urls.length === 0) return { type: 'not-told', why: 'no address of its operators is known' };
  const entry = await kv.get(secretKey(peer));
  const decoded = entry === undefined ? undefined : decodeObject('Secret', entry);
  const secret = decoded?.type === 'object' ? decoded.object : undefined;
  const [ca, certificate, key] = ['ca.crt', 'tls.crt', 'tls.key'].map((name) =>
    secret === undefined ? undefined : secretValue(secret, name),
  );
  if (ca === undefined || certificate === undefined || key === undefined)
    return {
      type: 'not-told',
      why: `its Secret is gone, by which ${cluster} would be known there`,
    };
  try {
    await client({ urls, ca, certificate, key }).leave(cluster);
    return { type: 'told' };
  } catch (error) {
    return { type: 'not-told', why: messageWithCauses(error) };
  }
}

async function readPeer(kv: Kv, peer: string): Promise<PeerRecord | undefined> {
  const entry = await kv.get(PEERS + peer);
  if (entry === undefined) return undefined;
  try {
    return peerRecord.parse(JSON.parse(entry.text));
  } catch {
    return undefined;
  }
}
