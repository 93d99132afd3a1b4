import fs from 'node:fs';
import type { ListenOptions } from 'node:net';
import path from 'node:path';
import type { Api } from './api.ts';
import { DaemonError } from './errors.ts';
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

async function listen(api: Api, at: ListenOptions): Promise<AsyncDisposable> {
  const server = createServer((incoming, outgoing) => void serve(api, incoming, outgoing));
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
