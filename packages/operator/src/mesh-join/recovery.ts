import { ApiError } from '@causeway/daemon';
import type { Kv, StoreAuth, TxnOperation } from '@causeway/etcd';
import {
  AT_WORK,
  dismissPeer,
  JOINS,
  type JoinRecord,
  LEFT,
  recoveryOf,
  type StoreDirectory,
} from '@causeway/mesh';
import type { OperatorError } from '../errors.ts';
import { atWork } from './at-work.ts';
import type { JoinClient, JoinClientOptions } from './client.ts';
import { noteLeft } from './leaving.ts';
import { readJoin, removeJoin, removePeer } from './objects.ts';

export interface RecoveryOptions {
  readonly kv: Kv;
  /** As `root`; without it what needs users to be removed is left to who has it. */
  readonly auth: StoreAuth | undefined;
  readonly directory: StoreDirectory | undefined;
  readonly now: () => Date;
  readonly client: (options: JoinClientOptions) => Pick<JoinClient, 'commit' | 'abort'>;
  /** Our operators' join endpoints. */
  readonly join: readonly string[];
}

export interface Recovered {
  readonly peer: string;
  readonly what: 'finished' | 'undone' | 'waits';
  readonly why: string;
}

/** Answers after which the other side will never have us: what we wrote must go. */
const NEVER = new Set(['unknown-token', 'unknown-join', 'token-expired', 'peer-exists']);

/** Finishes or undoes each join that nobody works on any more. Throws KvError. */
export async function recoverJoins(options: RecoveryOptions): Promise<readonly Recovered[]> {
  const { kv } = options;
  const { entries } = await kv.list(JOINS, { keysOnly: true });
  const done: Recovered[] = [];
  for (const { key } of entries) {
    const peer = key.slice(JOINS.length);
    if ((await kv.get(AT_WORK + peer)) !== undefined) continue;
    await using _mine = await atWork(kv, peer);
    const join = await readJoin(kv, peer);
    if (join === undefined) continue;
    done.push({ peer, ...(await recoverOne(peer, join.value, options)) });
  }
  return done;
}

async function recoverOne(
  peer: string,
  join: JoinRecord,
  options: RecoveryOptions,
): Promise<Omit<Recovered, 'peer'>> {
  const { kv, now, client, auth } = options;
  const recovery = recoveryOf(join, now());
  const bearer = { tokenId: join.tokenId, secret: join.answer?.secret ?? '' };
  switch (recovery.type) {
    case 'wait':
      return { what: 'waits', why: `for ${peer} to say whether it joins, until ${join.expiresAt}` };
    case 'finish': {
      try {
        // By hand, people carry the news.
        if (join.answer !== undefined) await client(join.answer).commit(bearer, options.join);
      } catch (error) {
        const { code, message } = error as OperatorError;
        if (!(error instanceof ApiError && NEVER.has(code)))
          return { what: 'waits', why: `for ${peer} to answer: ${message}` };
        return undo(peer, options, `${peer} will not have it: ${message}`);
      }
      await kv.txn({ compare: [], success: [removeJoin(peer)] });
      return { what: 'finished', why: `${peer} is a peer` };
    }
    case 'undo': {
      if (join.role === 'inviting') {
        await kv.txn({ compare: [], success: [removeJoin(peer)] });
        return { what: 'undone', why: recovery.why };
      }
      if (auth === undefined)
        return { what: 'waits', why: `${recovery.why}; run "causeway mesh join --resume" as root` };
      const { urls = [], ca = '' } = join.answer ?? {};
      await client({ urls, ca })
        .abort(bearer)
        .catch(() => {});
      return undo(peer, options, recovery.why);
    }
    default:
      return recovery satisfies never;
  }
}

async function undo(
  peer: string,
  { kv, auth, directory, now }: RecoveryOptions,
  why: string,
): Promise<Omit<Recovered, 'peer'>> {
  if (auth !== undefined) await dismissPeer(auth, peer);
  await directory?.removePeer(peer, now());
  const left: TxnOperation =
    auth === undefined || directory === undefined
      ? noteLeft(peer, now())
      : { type: 'delete', key: LEFT + peer };
  await kv.txn({ compare: [], success: [...removePeer(peer), removeJoin(peer), left] });
  return { what: 'undone', why };
}
