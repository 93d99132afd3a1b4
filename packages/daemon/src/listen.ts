import fs from 'node:fs';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { ListenOptions } from 'node:net';
import path from 'node:path';
import type { TLSSocket } from 'node:tls';
import type { Api } from './api.ts';
import { DaemonError, errorBody } from './errors.ts';
import { createServer } from './http.ts';
import { serve } from './serve.ts';

/** Longest path of a Unix socket: sun_path without its final zero (unix(7)). */
const MAX_SOCKET_PATH = 107;

/**
 * Serves the API on a Unix socket that only root can open. The caller holds the run directory's lock,
 * so a socket file that is there already belongs to nobody.
 * @throws DaemonError `bad-config` if the path is too long for a socket.
 */
export async function listenOnSocket(api: Api, socketPath: string): Promise<AsyncDisposable> {
  if (Buffer.byteLength(socketPath) > MAX_SOCKET_PATH) {
    throw new DaemonError(
      'bad-config',
      `the API socket's path has more than ${MAX_SOCKET_PATH} bytes`,
      { field: 'runDir', value: socketPath, hint: 'choose a shorter run directory' },
    );
  }
  fs.mkdirSync(path.dirname(socketPath), { recursive: true });
  fs.rmSync(socketPath, { force: true });
  const mask = process.umask(0o177);
  try {
    return await listen(api, { path: socketPath });
  } finally {
    process.umask(mask);
  }
}

/**
 * Serves the API over TCP, to everybody who can reach the address: only for what everybody may ask.
 * Rejects with the system's error if the address cannot be listened on.
 */
export const listenOnTcp = (api: Api, host: string, port: number): Promise<AsyncDisposable> =>
  listen(api, { host, port });

/** Who asks, as far as the connection and the headers tell. */
export interface Caller {
  readonly method: string;
  readonly path: string;
  /** The `Authorization` header. */
  readonly authorization: string | undefined;
  /** Subject CN of a client certificate that the authority has signed. */
  readonly commonName: string | undefined;
  /** Its serial number, hexadecimal: whether it was revoked is for `admit` to say. */
  readonly serial: string | undefined;
  readonly address: string | undefined;
}

export interface GuardedOptions {
  readonly host: string;
  readonly port: number;
  /** PEM. With `clientCa`, clients may show certificates; one that another has signed is as good as none. */
  readonly tls?:
    | { readonly cert: string; readonly key: string; readonly clientCa?: string | undefined }
    | undefined;
  /** @throws ApiError, which is the answer then: the API is not asked. */
  readonly admit: (caller: Caller) => void;
}

export interface GuardedListener extends AsyncDisposable {
  /** As the system gave it, where 0 was asked for. */
  readonly port: number;
}

/** Serves the API over TCP, or TLS, to whom `admit` lets in. Rejects with the system's error, or that of bad PEM. */
export async function listenGuarded(api: Api, options: GuardedOptions): Promise<GuardedListener> {
  const { admit, host, port, tls } = options;
  const onRequest = (incoming: IncomingMessage, outgoing: ServerResponse): void => {
    try {
      admit(callerOf(incoming));
    } catch (error) {
      refuse(error, incoming, outgoing);
      return;
    }
    void serve(api, incoming, outgoing);
  };
  const server =
    tls === undefined
      ? createServer(onRequest)
      : (await import('node:https')).createServer(
          {
            cert: tls.cert,
            key: tls.key,
            minVersion: 'TLSv1.2',
            ...(tls.clientCa === undefined
              ? {}
              : { ca: tls.clientCa, requestCert: true, rejectUnauthorized: false }),
          },
          onRequest,
        );
  const closing = await start(server, { host, port });
  const at = server.address();
  return Object.assign(closing, { port: typeof at === 'object' && at !== null ? at.port : port });
}

function callerOf(incoming: IncomingMessage): Caller {
  const socket = incoming.socket as TLSSocket;
  const shown = socket.authorized ? socket.getPeerCertificate() : undefined;
  const subject = shown?.subject;
  const url = incoming.url ?? '/';
  return {
    method: incoming.method ?? 'GET',
    path: url.split('?', 1)[0] ?? url,
    authorization: incoming.headers.authorization,
    commonName: typeof subject?.CN === 'string' ? subject.CN : undefined,
    serial: shown?.serialNumber,
    address: socket.remoteAddress,
  };
}

/** Without reading what else the stranger sends. */
function refuse(error: unknown, incoming: IncomingMessage, outgoing: ServerResponse): void {
  const { body, status } = errorBody(error);
  const text = JSON.stringify(body);
  outgoing.on('error', () => {});
  outgoing.writeHead(status, {
    'content-type': 'application/json',
    'content-length': Buffer.byteLength(text),
    connection: 'close',
    ...(status === 401 ? { 'www-authenticate': 'Bearer' } : {}),
  });
  outgoing.end(text);
  incoming.resume();
}

async function listen(api: Api, at: ListenOptions): Promise<AsyncDisposable> {
  const server = createServer((incoming, outgoing) => void serve(api, incoming, outgoing));
  return start(server, at);
}

async function start(server: Server, at: ListenOptions): Promise<AsyncDisposable> {
  // A client that sends its headers by the byte must not hold a connection for ever.
  server.headersTimeout = 10_000;
  server.maxConnections = 1024;
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(at, () => {
      server.off('error', reject);
      resolve();
    });
  });
  server.on('error', () => {});
  return {
    async [Symbol.asyncDispose]() {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      server.closeIdleConnections();
      const force = setTimeout(() => server.closeAllConnections(), 5_000);
      await closed;
      clearTimeout(force);
    },
  };
}
