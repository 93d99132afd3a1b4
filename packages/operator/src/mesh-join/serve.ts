import { randomUUID } from 'node:crypto';
import type { GuardedListener } from '@causeway/daemon';
import type { OperatorConfig } from '../config.ts';
import type { Operator } from '../operator.ts';
import { type EndpointParts, joinApi, listenForJoins } from './endpoint.ts';
import { type Bearer, Inviting } from './inviting.ts';
import { forgetPeer, sweepPeers } from './leaving.ts';
import { ownDirectory, rootAuth } from './root.ts';
import { viewPeer } from './view.ts';

export interface JoinServing {
  readonly config: OperatorConfig;
  readonly join: NonNullable<OperatorConfig['mesh']['join']>;
  readonly operator: Operator;
  readonly onError: EndpointParts['onError'];
}

/** Takes other clusters' joins, on every instance: what is decided stands in the store. */
export function serveJoins({
  config,
  join,
  operator,
  onError,
}: JoinServing): Promise<GuardedListener> {
  const { kv, store } = operator;
  const now = () => new Date();
  const inviting = new Inviting({
    kv,
    store,
    cluster: config.cluster.name,
    now,
    uid: randomUUID,
    view: viewPeer,
  });
  const leave = async (peer: string) => {
    await using auth = rootAuth(config);
    return {
      userRemoved: await forgetPeer(peer, {
        kv,
        auth,
        directory: ownDirectory(config),
        now,
      }),
    };
  };
  const renewed = async (bearer: Bearer) => {
    await inviting.renewed(bearer);
    await using auth = rootAuth(config);
    const directory = ownDirectory(config);
    if (auth !== undefined && directory !== undefined)
      await sweepPeers({ kv, auth, directory, now });
  };
  return listenForJoins(joinApi({ inviting, leave, renewed, onError }), join);
}
