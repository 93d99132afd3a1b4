import { type Kv, type StoreAuth, type TxnOperation, unchanged } from '@causeway/etcd';
import {
  AT_WORK,
  dismissPeer,
  LEFT,
  PEERS,
  type PeerRecord,
  peerRecord,
  peerUser,
  RENEWED,
  type StoreDirectory,
} from '@causeway/mesh';
import { decodeObject, secretValue } from '@causeway/resources';
import { OperatorError } from '../errors.ts';
import { atWork } from './at-work.ts';
import type { JoinClient, JoinClientOptions } from './client.ts';
import { peerKey, readJoin, removeJoin, removePeer, secretKey, tokenKey } from './objects.ts';
import { NOWHERE_TO_TELL, type Told, tellPeer } from './telling.ts';
import { listTokens } from './tokens.ts';

export interface LeavingOptions {
  readonly kv: Kv;
  readonly cluster: string;
  readonly auth: StoreAuth | undefined;
  readonly directory: Pick<StoreDirectory, 'removePeer'> | undefined;
  readonly now: () => Date;
  readonly client: (options: JoinClientOptions) => Pick<JoinClient, 'leave'>;
}

export interface LeaveReport {
  readonly peer: string;
  readonly told: Told;
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
      noteLeft(peer, now()),
      { type: 'delete', key: RENEWED + peer },
      ...tokens.slice(0, 100).map(({ id }) => ({ type: 'delete', key: tokenKey(id) }) as const),
    ],
  });
  await directory?.removePeer(peer, now());
  if (auth === undefined) return false;
  await dismissPeer(auth, peer);
  if (directory !== undefined) await kv.delete(LEFT + peer);
  return true;
}

/**
 * Whoever comes with root's certificate and the authority's key finds what is left to do: a certificate that was not
 * revoked would be good again for a user of the same name.
 */
export const noteLeft = (peer: string, now: Date): TxnOperation => ({
  type: 'put',
  key: LEFT + peer,
  value: now.toISOString(),
});

export interface SweepOptions {
  readonly kv: Kv;
  readonly auth: StoreAuth;
  readonly directory: StoreDirectory;
  readonly now: () => Date;
}

export interface Swept {
  /** Peers that have left. */
  readonly removed: readonly string[];
  /** Peers whose former certificates were taken back. */
  readonly renewed: readonly string[];
}

/** Does what waits for who is `root` and has the authority's key: users and certificates of who left, or renewed. */
export async function sweepPeers({ kv, auth, directory, now }: SweepOptions): Promise<Swept> {
  const removed: string[] = [];
  const renewed: string[] = [];
  for (const { key } of (await kv.list(LEFT, { keysOnly: true })).entries) {
    const peer = key.slice(LEFT.length);
    if ((await kv.get(AT_WORK + peer)) !== undefined) continue;
    await using _mine = await atWork(kv, peer);
    // It may have been invited again meanwhile.
    if ((await kv.get(key)) === undefined) continue;
    await dismissPeer(auth, peer);
    await directory.removePeer(peer, now());
    await kv.delete(key);
    removed.push(peer);
  }
  for (const entry of (await kv.list(RENEWED)).entries) {
    const peer = entry.key.slice(RENEWED.length);
    await directory.revokeClients(peer, now(), entry.text);
    // A newer one that was told of meanwhile is for the next sweep.
    await kv.txn({ compare: [unchanged(entry)], success: [{ type: 'delete', key: entry.key }] });
    renewed.push(peer);
  }
  return { removed, renewed };
}

async function tell(
  peer: string,
  record: PeerRecord | undefined,
  { kv, cluster }: LeavingOptions,
  client: LeavingOptions['client'],
): Promise<LeaveReport['told']> {
  const urls = record?.join ?? [];
  const entry = await kv.get(secretKey(peer));
  const decoded = entry === undefined ? undefined : decodeObject('Secret', entry);
  const secret = decoded?.type === 'object' ? decoded.object : undefined;
  const [ca, certificate, key] = ['ca.crt', 'tls.crt', 'tls.key'].map((name) =>
    secret === undefined ? undefined : secretValue(secret, name),
  );
  if (urls.length === 0) return NOWHERE_TO_TELL;
  if (ca === undefined || certificate === undefined || key === undefined)
    return {
      type: 'not-told',
      why: `its Secret is gone, by which ${cluster} would be known there`,
    };
  return tellPeer(() => client({ urls, ca, certificate, key }).leave(cluster));
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
