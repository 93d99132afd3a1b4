import { createServer, type Server, type Socket } from 'node:net';
import { Address, Prefix } from '@causeway/ip';
import type { CloseReason } from './errors.ts';
import { Router } from './routers/router.ts';
import type { Station } from './station.ts';

export interface ListenOptions {
  readonly listen: readonly { readonly address: string; readonly port: number }[];
  /** Prefixes that routers may connect from. */
  readonly allow: readonly string[];
  readonly now: () => number;
  readonly onClosed: (router: Router, reason: CloseReason) => void;
}

/** Connections that have been accepted by the kernel and wait for us. */
const BACKLOG = 256;
/** A router whose machine has gone without a word is found out by the kernel. */
const KEEPALIVE_MS = 30_000;

/** The routers' sockets: what comes is handed to the station at once, so that TCP holds a fast router back. */
export class RouterSockets implements AsyncDisposable {
  readonly #station: Station;
  readonly #options: ListenOptions;
  readonly #allow: readonly Prefix[];
  readonly #servers: Server[] = [];
  readonly #sockets = new Map<Router, Socket>();

  private constructor(station: Station, options: ListenOptions) {
    this.#station = station;
    this.#options = options;
    this.#allow = options.allow.map((text) => Prefix.parseLoose(text));
  }

  /** Throws the system's error if an address cannot be listened on; none is then. */
  static async open(station: Station, options: ListenOptions): Promise<RouterSockets> {
    const sockets = new RouterSockets(station, options);
    try {
      for (const { address, port } of options.listen) await sockets.#listen(address, port);
      return sockets;
    } catch (error) {
      await sockets[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Where it listens: ports of 0 have become real. */
  get addresses(): { readonly address: string; readonly port: number }[] {
    return this.#servers.map((server) => {
      const at = server.address();
      return typeof at === 'object' && at !== null ? at : { address: '', port: 0 };
    });
  }

  async #listen(address: string, port: number): Promise<void> {
    const server = createServer({ noDelay: true }, (socket) => this.#accept(socket));
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      // `::` takes IPv4 too unless 0.0.0.0 is listened on beside it.
      const ipv6Only =
        address === '::' && this.#options.listen.some((one) => one.address === '0.0.0.0');
      server.listen({ host: address, port, backlog: BACKLOG, ipv6Only }, () => {
        server.off('error', reject);
        resolve();
      });
    });
    server.on('error', () => {});
    this.#servers.push(server);
  }

  #accept(socket: Socket): void {
    const now = this.#options.now();
    // Gone again before we came to it.
    const address = Address.tryParse((socket.remoteAddress ?? '').replace(/%.*$/, ''));
    if (address === undefined) {
      socket.destroy();
      return;
    }
    socket.on('error', () => {});
    if (!this.#allow.some((prefix) => Prefix.contains(prefix, address))) {
      this.#station.refuse(address, { code: 'not-allowed' }, now);
      socket.destroy();
      return;
    }
    const router = this.#station.accept(address, socket.remotePort ?? 0, now);
    if (!(router instanceof Router)) {
      socket.destroy();
      return;
    }
    socket.setKeepAlive(true, KEEPALIVE_MS);
    this.#sockets.set(router, socket);
    let failure: string | undefined;
    socket.on('data', (chunk: Buffer) => {
      if (router.receive(chunk, this.#options.now()) !== undefined) this.hangUp(router);
    });
    // RFC 7854 section 3.2: nothing is ever sent to the router.
    socket.on('end', () => socket.destroy());
    socket.on('error', (error: NodeJS.ErrnoException) => {
      failure = error.code ?? error.message;
    });
    socket.on('close', () => {
      this.#over(router, { code: 'closed', ...(failure === undefined ? {} : { text: failure }) });
    });
  }

  /** Closes a router's connection for the reason that it has in `closing`. */
  hangUp(router: Router): void {
    this.#sockets.get(router)?.destroy();
    this.#over(router, router.closing ?? { code: 'stopping' });
  }

  #over(router: Router, reason: CloseReason): void {
    if (!this.#sockets.delete(router)) return;
    this.#station.closed(router, reason, this.#options.now());
    this.#options.onClosed(router, reason);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = this.#servers.map(
      (server) => new Promise<void>((resolve) => server.close(() => resolve())),
    );
    for (const router of [...this.#sockets.keys()]) this.hangUp(router);
    await Promise.all(closed);
  }
}
