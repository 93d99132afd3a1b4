import { readFileSync } from 'node:fs';
import {
  type Api,
  type Caller,
  createApi,
  DaemonError,
  type GuardedListener,
  listenGuarded,
  readBody,
} from '@causeway/daemon';
import { clusterFacts, peerUser, storeOffer } from '@causeway/mesh';
import { type IsRevoked, loadRevocations } from '@causeway/pki';
import { z } from 'zod';
import type { OperatorConfig } from '../config.ts';
import { OperatorError } from '../errors.ts';
import type { Bearer, Inviting } from './inviting.ts';

/** Facts of a cluster and its credentials; a stranger sends no more than this. */
const MAX_BODY = 2 * 1024 * 1024;

const bearer = { tokenId: z.uuid(), secret: z.string().max(128) };
const checkBody = z.strictObject({ ...bearer, facts: clusterFacts });
const prepareBody = z.strictObject({ ...bearer, facts: clusterFacts, offer: storeOffer });
const commitBody = z.strictObject({
  ...bearer,
  join: z.array(z.url({ protocol: /^https$/ }).max(2048)).max(16),
});
const bearerBody = z.strictObject(bearer);

export interface EndpointParts {
  readonly inviting: Inviting;
  /** A peer says that it leaves, and has shown that it is that peer. */
  readonly leave: (peer: string) => Promise<{ readonly userRemoved: boolean }>;
  /** A peer's programs have what came with a token that renews. */
  readonly renewed: (bearer: Bearer) => Promise<void>;
  readonly onError: (error: unknown, request: { method: string; path: string }) => void;
}

/** What other clusters may ask of this one. A token's secret or the peer's certificate says who asks. */
export function joinApi({ inviting, leave, renewed, onError }: EndpointParts): Api {
  const api = createApi({ program: 'operator', requestBytes: MAX_BODY, onError });
  api.post('/v1/mesh/join/check', async (c) => {
    const { tokenId, secret, facts } = await readBody(c, checkBody);
    return c.json(await inviting.check({ tokenId, secret }, facts));
  });
  api.post('/v1/mesh/join/prepare', async (c) => {
    const { tokenId, secret, facts, offer } = await readBody(c, prepareBody);
    return c.json(await inviting.prepare({ tokenId, secret }, facts, offer));
  });
  api.post('/v1/mesh/join/commit', async (c) => {
    const { tokenId, secret, join } = await readBody(c, commitBody);
    await inviting.commit({ tokenId, secret }, join);
    return c.json({ committed: true });
  });
  api.post('/v1/mesh/join/abort', async (c) => {
    await inviting.abort(await readBody(c, bearerBody));
    return c.json({ aborted: true });
  });
  api.post('/v1/mesh/join/renewed', async (c) => {
    await renewed(await readBody(c, bearerBody));
    return c.json({ renewed: true });
  });
  api.post('/v1/mesh/peers/:peer/leave', async (c) => c.json(await leave(c.req.param('peer'))));
  return api;
}

/**
 * Only the peer itself may say that it leaves, by a certificate that was not revoked; all else asks for a token in its
 * body.
 */
export function admitToJoin({ path, commonName, serial }: Caller, isRevoked: IsRevoked): void {
  const leaving = /^\/v1\/mesh\/peers\/([^/]*)\/leave$/.exec(path)?.[1];
  if (leaving === undefined) return;
  const known = commonName === peerUser(leaving) && serial !== undefined;
  if (known && !isRevoked(serial)) return;
  throw new OperatorError('not-your-peer', `only ${leaving} itself can say that it leaves`, {
    value: commonName,
    hint: 'show the certificate that this cluster gave it last',
  });
}

type JoinConfig = NonNullable<OperatorConfig['mesh']['join']>;

/** Serves it over TLS. Rejects with the system's error, or DaemonError `bad-config` for files that cannot be read. */
export async function listenForJoins(api: Api, config: JoinConfig): Promise<GuardedListener> {
  const { address, port, certFile, keyFile, caFile, revokedFile } = config;
  const read = (field: string, file: string): string => {
    try {
      return readFileSync(file, 'utf8');
    } catch (cause) {
      throw new DaemonError('bad-config', `mesh.join.${field} cannot be read`, {
        field: `mesh.join.${field}`,
        value: file,
        hint: '"causeway mesh expose" writes it',
        cause,
      });
    }
  };
  const parse = await loadRevocations();
  const isRevoked: IsRevoked = (serial) => parse(read('revokedFile', revokedFile))(serial);
  // Told at the start rather than by the first peer that leaves.
  isRevoked('0');
  return listenGuarded(api, {
    host: address,
    port,
    tls: {
      cert: read('certFile', certFile),
      key: read('keyFile', keyFile),
      clientCa: read('caFile', caFile),
    },
    admit: (caller) => admitToJoin(caller, isRevoked),
  });
}
