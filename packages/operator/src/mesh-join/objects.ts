import { absent, type Compare, type Kv, type TxnOperation, unchanged } from '@causeway/etcd';
import {
  type ClusterFacts,
  JOINS,
  type JoinRecord,
  joinRecord,
  PEERS,
  type PeerRecord,
  type StoreOffer,
  TOKENS,
  type TokenRecord,
  tokenRecord,
} from '@causeway/mesh';
import {
  encodeObject,
  MESH_SECRETS_NAMESPACE,
  type MeshPeer,
  registryKey,
  type Secret,
} from '@causeway/resources';
import type { z } from 'zod';

/** A record with the version of the key that it was read at. */
export interface Stored<T> {
  readonly value: T;
  /** Holds while nobody has changed it since. */
  readonly compare: Compare;
}

export const secretName = (peer: string): string => `mesh-${peer}`;
export const peerKey = (peer: string): string => registryKey('MeshPeer', { name: peer });
export const secretKey = (peer: string): string =>
  registryKey('Secret', { namespace: MESH_SECRETS_NAMESPACE, name: secretName(peer) });
export const joinKey = (peer: string): string => JOINS + peer;
export const tokenKey = (id: string): string => TOKENS + id;

async function readRecord<T>(
  kv: Kv,
  key: string,
  schema: z.ZodType<T>,
): Promise<Stored<T> | undefined> {
  const entry = await kv.get(key);
  if (entry === undefined) return undefined;
  return { value: schema.parse(JSON.parse(entry.text)), compare: unchanged(entry) };
}

export const readJoin = (kv: Kv, peer: string): Promise<Stored<JoinRecord> | undefined> =>
  readRecord(kv, joinKey(peer), joinRecord);
export const readToken = (kv: Kv, id: string): Promise<Stored<TokenRecord> | undefined> =>
  readRecord(kv, tokenKey(id), tokenRecord);

export const putJoin = (peer: string, record: JoinRecord): TxnOperation =>
  put(joinKey(peer), JSON.stringify(record));
export const putToken = (id: string, record: TokenRecord): TxnOperation =>
  put(tokenKey(id), JSON.stringify(record));

const put = (key: string, value: string): TxnOperation => ({ type: 'put', key, value });
const remove = (key: string): TxnOperation => ({ type: 'delete', key });

export interface NewPeer {
  readonly facts: ClusterFacts;
  readonly offer: StoreOffer;
  readonly tokenId: string;
  readonly join: readonly string[];
  readonly uid: () => string;
  readonly now: Date;
}

/** Everything that a peer is in this cluster's store, written as one. */
export function putPeer(peer: NewPeer): { compare: Compare[]; operations: TxnOperation[] } {
  const { facts, offer, now } = peer;
  const { name, id } = facts;
  const meta = () => ({
    uid: peer.uid(),
    generation: 1,
    creationTimestamp: now.toISOString().replace(/\.\d+Z$/, 'Z'),
  });
  const object: MeshPeer = {
    apiVersion: 'causeway.io/v1',
    kind: 'MeshPeer',
    metadata: { name, ...meta() },
    spec: {
      id,
      endpoints: [...offer.endpoints],
      secretName: secretName(name),
      ...(offer.serverName === undefined ? {} : { serverName: offer.serverName }),
    },
  };
  const record: PeerRecord = {
    version: 1,
    facts,
    joinedAt: now.toISOString(),
    tokenId: peer.tokenId,
    join: [...peer.join],
  };
  return {
    compare: [absent(peerKey(name))],
    operations: [
      put(peerKey(name), encodeObject<'MeshPeer'>(object)),
      put(secretKey(name), encodeObject<'Secret'>(secretOf(name, offer, meta()))),
      put(PEERS + name, JSON.stringify(record)),
    ],
  };
}

const base64 = (text: string): string => Buffer.from(text).toString('base64');

export const secretOf = (peer: string, offer: StoreOffer, meta: object): Secret => ({
  apiVersion: 'v1',
  kind: 'Secret',
  metadata: { name: secretName(peer), namespace: MESH_SECRETS_NAMESPACE, ...meta },
  type: 'Opaque',
  data: {
    'ca.crt': base64(offer.ca),
    'tls.crt': base64(offer.certificate),
    'tls.key': base64(offer.key),
  },
});

/** All of it gone; what is not there is no error. */
export const removePeer = (peer: string): TxnOperation[] => [
  remove(peerKey(peer)),
  remove(secretKey(peer)),
  remove(PEERS + peer),
];

export const removeJoin = (peer: string): TxnOperation => remove(joinKey(peer));
