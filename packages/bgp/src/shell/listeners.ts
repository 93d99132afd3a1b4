/** Listening sockets and their TCP MD5 keys, by neighbour or by range of neighbours (RFC 2385, TCP_MD5SIG_EXT). */
import { createServer, type Server, type Socket } from 'node:net';
import { Address, Prefix } from '@causeway/ip';
import { listenTcp, type Netns, setTcp, setTcpMd5, socketFd } from '@causeway/linux';

export interface ListenAddress {
  readonly address: string;
  readonly port: number;
}

/** A password for the neighbours of a prefix; a host's prefix for one neighbour. */
export interface ListenKey {
  readonly prefix: Prefix;
  readonly password: string;
}

export interface ListenersOptions {
  /** Where sockets live; default: this process's namespace. */
  readonly ns?: Netns;
  /** A paused socket that the caller takes over. */
  readonly onSocket: (socket: Socket, family: 'ipv4' | 'ipv6') => void;
  readonly log: (message: string, fields: Readonly<Record<string, unknown>>) => void;
}

interface Listener {
  readonly at: ListenAddress;
  readonly server: Server;
  readonly family: 'ipv4' | 'ipv6';
  readonly keys: Map<Prefix, string>;
}

const text = new TextEncoder();
const nameOf = ({ address, port }: ListenAddress): string => `${address} ${port}`;

export class Listeners implements AsyncDisposable {
  readonly #options: ListenersOptions;
  readonly #listeners = new Map<string, Listener>();
  #keys: ReadonlyMap<Prefix, string> = new Map();

  constructor(options: ListenersOptions) {
    this.#options = options;
  }

  get all(): readonly ListenAddress[] {
    return [...this.#listeners.values()].map(({ at }) => at);
  }

  /** Throws LinuxError when the address or port is not to be had. */
  async add(asked: ListenAddress): Promise<void> {
    const name = nameOf(asked);
    if (this.#listeners.has(name)) return;
    const { ns, onSocket, log } = this.#options;
    const address = Address.parse(asked.address);
    const family = Address.family(address);
    const fd = listenTcp({
      ...(ns === undefined ? {} : { ns }),
      address: Address.toBytes(address),
      port: asked.port,
      backlog: 4096,
      freeBind: true,
    });
    try {
      // A neighbour with TTL security drops a SYN-ACK that has less; accepted sockets get their own.
      setTcp(fd.number, family, { ttl: 255 });
      const keys = new Map<Prefix, string>();
      this.#setKeys(fd.number, family, keys);
      const server = createServer({ pauseOnConnect: true }, (socket) => {
        // Nobody listens to it yet, and it may be gone before its turn comes.
        socket.on('error', () => {});
        onSocket(socket, family);
      });
      await new Promise<void>((resolve, reject) => {
        server.once('error', reject);
        server.listen({ fd: fd.release() }, () => {
          server.off('error', reject);
          resolve();
        });
      });
      server.on('error', (error) => log('accepting failed', { error: error.message }));
      const bound = server.address();
      const port = typeof bound === 'object' && bound !== null ? bound.port : asked.port;
      this.#listeners.set(name, { at: { ...asked, port }, server, family, keys });
    } finally {
      fd.close();
    }
  }

  /** Connections that came by it stay. False when there was none. */
  remove(asked: ListenAddress): boolean {
    const listener = this.#listeners.get(nameOf(asked));
    if (listener === undefined) return false;
    this.#listeners.delete(nameOf(asked));
    listener.server.close();
    return true;
  }

  /** Keys of all listeners, those to come included. Sessions that are up are not touched. */
  setKeys(keys: readonly ListenKey[]): void {
    this.#keys = new Map(keys.map(({ prefix, password }) => [prefix, password]));
    for (const { server, family, keys: held } of this.#listeners.values()) {
      this.#setKeys(socketFd(server), family, held);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closing = [...this.#listeners.values()].map(
      ({ server }) => new Promise<void>((resolve) => server.close(() => resolve())),
    );
    this.#listeners.clear();
    await Promise.all(closing);
  }

  #setKeys(fd: number, family: 'ipv4' | 'ipv6', held: Map<Prefix, string>): void {
    const set = (prefix: Prefix, password: string): boolean => {
      try {
        setTcpMd5(fd, {
          address: Address.toBytes(Prefix.address(prefix)),
          prefixLength: Prefix.length(prefix),
          key: text.encode(password),
        });
        return true;
      } catch (error) {
        const { message } = error as Error;
        this.#options.log('setting a TCP MD5 key failed', { prefix, error: message });
        return false;
      }
    };
    for (const prefix of [...held.keys()]) {
      if (this.#keys.has(prefix)) continue;
      set(prefix, '');
      held.delete(prefix);
    }
    for (const [prefix, password] of this.#keys) {
      if (Prefix.family(prefix) !== family || held.get(prefix) === password) continue;
      if (set(prefix, password)) held.set(prefix, password);
    }
  }
}
