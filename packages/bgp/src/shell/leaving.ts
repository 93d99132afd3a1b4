import type { Socket } from 'node:net';
import type { Connection } from './connection.ts';

/** Ms that a neighbour has to read our last words. */
const lingerMs = 2000;

/** Sockets that are being closed, with nobody interested in them any more. */
export class Leaving {
  readonly #sockets = new Set<Socket>();

  close(connection: Connection): void {
    const { socket } = connection;
    // Read on until the neighbour closes: closing with bytes unread would reset the connection, and a reset
    // takes the NOTIFICATION with it.
    this.#sockets.add(socket);
    const timer = setTimeout(() => socket.destroy(), lingerMs);
    socket.once('close', () => {
      clearTimeout(timer);
      this.#sockets.delete(socket);
    });
    if (connection.corked) {
      connection.corked = false;
      socket.uncork();
    }
    socket.end();
  }

  /** Resolves when all have gone. */
  async gone(): Promise<void> {
    await Promise.all(
      [...this.#sockets].map(
        (socket) => new Promise<void>((resolve) => socket.once('close', () => resolve())),
      ),
    );
  }
}
