import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';

/** A TCP path to a server, which can be cut and mended. */
export class Link implements AsyncDisposable {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  #up = true;
  #stall:
    | { left: number; readonly held: Map<Socket, Socket>; readonly reached: () => void }
    | undefined;

  private constructor(host: string) {
    const [name, port] = host.split(':');
    this.#server = createServer((near) => {
      if (!this.#up) {
        near.destroy();
        return;
      }
      const far = connect(Number(port), name ?? '');
      for (const socket of [near, far]) {
        this.#sockets.add(socket);
        socket.on('error', () => {});
        socket.on('close', () => {
          this.#sockets.delete(socket);
          near.destroy();
          far.destroy();
        });
      }
      near.pipe(far);
      far.pipe(near);
      far.on('data', ({ length }) => {
        const stall = this.#stall;
        if (stall === undefined) return;
        stall.left -= length;
        if (stall.left > 0) return;
        far.unpipe(near);
        far.pause();
        stall.held.set(far, near);
        stall.reached();
      });
    });
  }

  static async to(host: string): Promise<Link> {
    const link = new Link(host);
    link.#server.listen(0, '127.0.0.1');
    await once(link.#server, 'listening');
    return link;
  }

  get host(): string {
    const address = this.#server.address();
    if (address === null || typeof address === 'string') throw new Error('no TCP port');
    return `127.0.0.1:${address.port}`;
  }

  get connections(): number {
    return this.#sockets.size / 2;
  }

  cut(): void {
    this.#up = false;
    for (const socket of this.#sockets) socket.destroy();
  }

  mend(): void {
    this.#up = true;
  }

  /** Nothing comes from the server any more once it has sent so much; resolves then. */
  stallAfter(bytes: number): Promise<void> {
    return new Promise((resolve) => {
      this.#stall = { left: bytes, held: new Map(), reached: resolve };
    });
  }

  /** What a stall held back goes on. */
  flow(): void {
    const held = this.#stall?.held ?? [];
    this.#stall = undefined;
    for (const [far, near] of held) far.pipe(near);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.cut();
    this.#server.close();
    await once(this.#server, 'close');
  }
}
