/**
 * Real sockets for a speaker's core: does its effects, tells it what happened, and decides nothing. UPDATEs are
 * pulled: when a neighbour's buffer is low its next ones are asked for, so a slow one costs nothing but its place.
 */
import { Socket } from 'node:net';
import { Address } from '@causeway/ip';
import { errnoName, Fd, LinuxError, type Netns, setTcp, socketFd } from '@causeway/linux';
import { Copies } from './copies.ts';
import type { ConnectionId, Endpoints, PeerInput } from './events.ts';
import { type Connection, endpointsOf, newConnection, openSocket } from './shell/connection.ts';
import type { ShellCore, ShellEffect, ShellOptions } from './shell/core.ts';
import { Leaving } from './shell/leaving.ts';
import { type ListenAddress, Listeners, type ListenKey } from './shell/listeners.ts';
import { Turns } from './shell/turns.ts';
import { Writing } from './shell/writing.ts';

export type { ShellCore, ShellEffect, ShellOptions };

/** With more than this waiting in our process a connection is not asked for more. */
const highWater = 64 * 1024;
const readBuffer = 128 * 1024;

export class BgpShell implements AsyncDisposable {
  readonly #options: ShellOptions;
  readonly #now: () => number;
  #core: ShellCore | undefined;
  readonly #connections = new Map<ConnectionId, Connection>();
  readonly #leaving = new Leaving();
  readonly #listeners: Listeners;
  readonly #turns: Turns;
  readonly #writing: Writing;
  // Reading is synchronous: one buffer serves every socket.
  readonly #buffer = new Uint8Array(readBuffer);
  #next: ConnectionId = 1;
  readonly #copies = new Copies();
  #closed = false;

  constructor(options: ShellOptions = {}) {
    this.#options = options;
    this.#now = options.now ?? (() => performance.now());
    this.#core = options.core;
    const now = this.#now;
    this.#turns = new Turns({ now, say: () => this.#writing.say() });
    this.#turns.attach(options.core);
    this.#writing = new Writing({
      now,
      isOpen: (connection) => this.#connections.get(connection.id) === connection,
      produce: ({ peer, id }, maxBytes, at) => this.#core?.produce(peer, id, maxBytes, at) ?? [],
      onBlocked: ({ peer, id }) => this.#tell(peer, { type: 'blocked', connection: id }),
      turnSoon: () => this.#turns.soon(),
    });
    this.#listeners = new Listeners({
      ...this.#namespace(),
      onSocket: (socket, family) => this.#turns.inTime(() => this.#accept(socket, family)),
      log: (message, fields) => this.#log(message, fields),
    });
  }

  /** The core whose effects come to `effect`. Once, before anything else, unless the constructor was given it. */
  attach(core: ShellCore): void {
    this.#core = core;
    this.#turns.attach(core);
    this.wakeUp();
  }

  /** For the core: numbers of connections. */
  readonly nextConnection = (): ConnectionId => this.#next++;

  get connections(): number {
    return this.#connections.size;
  }

  get listening(): readonly ListenAddress[] {
    return this.#listeners.all;
  }

  /** Call after using the core by other ways than this: its deadline may have moved. */
  wakeUp(): void {
    this.#turns.wakeUp();
  }

  /** Does not call the core back: what comes of it is told later. */
  effect(effect: ShellEffect): void {
    if (this.#closed) return;
    switch (effect.type) {
      case 'connect':
        this.#connect(effect);
        break;
      case 'close':
        this.#close(effect.connection);
        break;
      case 'send': {
        const connection = this.#connections.get(effect.connection);
        if (connection !== undefined) this.#writing.write(connection, effect.bytes);
        break;
      }
      case 'options': {
        const connection = this.#connections.get(effect.connection);
        if (connection === undefined) break;
        this.#attempt('set socket options', () =>
          setTcp(socketFd(connection.socket), connection.family, effect.options),
        );
        break;
      }
      case 'wake': {
        const connection = this.#connections.get(effect.connection);
        if (connection !== undefined) this.#writing.ask(connection);
        break;
      }
      default:
        effect satisfies never;
    }
  }

  /** Throws LinuxError when the address or port is not to be had. */
  listen(asked: ListenAddress): Promise<void> {
    return this.#listeners.add(asked);
  }

  /** Connections that came by it stay. False when there was none. */
  unlisten(asked: ListenAddress): boolean {
    return this.#listeners.remove(asked);
  }

  /** TCP MD5 keys of all listeners, those to come included. Sessions that are up are not touched. */
  setKeys(keys: readonly ListenKey[]): void {
    this.#listeners.setKeys(keys);
  }

  /** Sends what is queued, closes, and waits for it for two seconds at most. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#closed) return;
    for (const id of [...this.#connections.keys()]) this.#close(id);
    this.#writing.uncork();
    this.#closed = true;
    this.#writing.close();
    // Connections that nobody has looked at yet are closed by it.
    this.#turns.close();
    await Promise.all([this.#listeners[Symbol.asyncDispose](), this.#leaving.gone()]);
  }

  #namespace(): { ns?: Netns } {
    return this.#options.ns === undefined ? {} : { ns: this.#options.ns };
  }

  #log(message: string, fields: Readonly<Record<string, unknown>>): void {
    this.#options.log?.(message, fields);
  }

  #attempt(what: string, work: () => void): void {
    try {
      work();
    } catch (error) {
      this.#log(`${what} failed`, { error: (error as Error).message });
    }
  }

  // Connections

  #connect(effect: Extract<ShellEffect, { type: 'connect' }>): void {
    const { peer, connection: id, target } = effect;
    const family = Address.family(target.address);
    let fd: Fd;
    try {
      fd = openSocket(effect, this.#options.ns);
    } catch (error) {
      const code =
        error instanceof LinuxError && error.errno !== undefined
          ? errnoName(error.errno)
          : String(error);
      this.#log('connecting failed', { peer, error: (error as Error).message });
      setImmediate(() => this.#tell(peer, { type: 'connect-failed', connection: id, error: code }));
      return;
    }
    const connection = this.#adopt(id, peer, family, fd);
    // Nothing to send, but it waits for the connection.
    connection.socket.write(new Uint8Array(0), (error) => {
      if (!error) this.#opened(connection);
    });
  }

  /** Of a connection that we made. The neighbour's first bytes may show it before the write does. */
  #opened(connection: Connection): void {
    const { id, peer, socket } = connection;
    if (connection.open || this.#connections.get(id) !== connection) return;
    connection.open = true;
    socket.setNoDelay(true);
    this.#tell(peer, { type: 'connected', connection: id, endpoints: endpointsOf(socket) });
  }

  #accept(incoming: Socket, family: 'ipv4' | 'ipv6'): void {
    let fd: Fd | undefined;
    let endpoints: Endpoints | undefined;
    // It may be gone again already: then it has neither address nor descriptor.
    this.#attempt('accept a connection', () => {
      endpoints = endpointsOf(incoming);
      // Node takes the reading buffer only when it makes the socket, so this one is made anew.
      fd = Fd.copyOf(socketFd(incoming), 'accepted connection');
    });
    incoming.destroy();
    if (fd === undefined || endpoints === undefined) return;
    const peer = this.#closed
      ? undefined
      : (this.#core?.peerFor(endpoints) ?? this.#options.onUnknown?.(endpoints));
    if (peer === undefined) {
      this.#log('refused a connection of nobody we know', { ...endpoints });
      fd.close();
      return;
    }
    const connection = this.#adopt(this.nextConnection(), peer, family, fd);
    connection.open = true;
    connection.socket.setNoDelay(true);
    this.#tell(peer, { type: 'accepted', connection: connection.id, endpoints });
  }

  #adopt(id: ConnectionId, peer: string, family: 'ipv4' | 'ipv6', fd: Fd): Connection {
    const onread = {
      buffer: this.#buffer,
      callback: (length: number, buffer: Uint8Array): boolean => {
        this.#opened(connection);
        if (this.#connections.get(id) !== connection) return true;
        if (this.#turns.hasTime()) {
          this.#tell(peer, { type: 'bytes', connection: id, bytes: buffer.subarray(0, length) });
          return true;
        }
        // The buffer is everybody's. Nothing more is read until this has been looked at.
        connection.unread = this.#copies.of(buffer.subarray(0, length));
        this.#turns.putAside(() => {
          this.#look(connection);
          if (this.#connections.get(id) === connection) connection.socket.resume();
        });
        return false;
      },
    };
    const settings = { fd: fd.release(), onread, highWaterMark: highWater };
    const socket = new Socket(settings as ConstructorParameters<typeof Socket>[0]);
    const connection = newConnection(id, peer, family, socket);
    this.#connections.set(id, connection);
    let failure: string | undefined;
    socket.on('error', (error: NodeJS.ErrnoException) => {
      failure = error.code ?? error.message;
    });
    // The neighbour's FIN; what it sent before has been read.
    socket.on('end', () => this.#gone(connection, undefined));
    socket.on('close', () => this.#gone(connection, failure));
    socket.on('drain', () => {
      if (!connection.blocked) return;
      connection.blocked = false;
      this.#tell(peer, { type: 'drained', connection: id });
      this.#writing.goOn(connection);
    });
    return connection;
  }

  #gone(connection: Connection, failure: string | undefined): void {
    const { id, peer } = connection;
    if (this.#connections.get(id) !== connection) return;
    // Its last words, such as a NOTIFICATION, say why.
    this.#look(connection);
    if (!this.#connections.delete(id)) return;
    connection.socket.destroy();
    this.#tell(
      peer,
      connection.open
        ? { type: 'closed', connection: id, ...(failure === undefined ? {} : { error: failure }) }
        : { type: 'connect-failed', connection: id, error: failure ?? 'ECONNABORTED' },
    );
  }

  #close(id: ConnectionId): void {
    const connection = this.#connections.get(id);
    if (connection === undefined) return;
    this.#connections.delete(id);
    const { socket } = connection;
    if (!connection.open || socket.destroyed) socket.destroy();
    else this.#leaving.close(connection);
  }

  #tell(peer: string, input: PeerInput): void {
    if (this.#closed) return;
    this.#core?.input(peer, input, this.#now());
    this.wakeUp();
  }

  #look(connection: Connection): void {
    const { id, peer, unread: bytes } = connection;
    connection.unread = undefined;
    if (bytes === undefined) return;
    this.#tell(peer, { type: 'bytes', connection: id, bytes });
    this.#copies.giveBack(bytes);
  }
}
