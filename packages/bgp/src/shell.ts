/**
 * Real sockets for a speaker's core: does its effects, tells it what happened, and decides nothing. UPDATEs are
 * pulled: when a neighbour's buffer is low its next ones are asked for, so a slow one costs nothing but its place.
 */
import { Socket } from 'node:net';
import { Address } from '@causeway/ip';
import {
  connectTcp,
  errnoName,
  Fd,
  LinuxError,
  linkLocalDevice,
  type Netns,
  setTcp,
  socketFd,
} from '@causeway/linux';
import { Copies } from './copies.ts';
import type { ConnectionId, Endpoints, PeerInput, PeerOutput } from './events.ts';
import { type ListenAddress, Listeners, type ListenKey } from './shell/listeners.ts';

/** What drives a core: the part of the speaker's face that sockets need. */
export interface ShellCore {
  /** ms at which `work` wants to be called; in the past: at once. */
  readonly deadline: number | undefined;
  work(now: number): void;
  input(peer: string, input: PeerInput, now: number): void;
  peerFor(endpoints: Endpoints): string | undefined;
  produce(
    peer: string,
    connection: ConnectionId,
    maxBytes: number,
    now: number,
  ): readonly Uint8Array[];
}

export type ShellEffect =
  | ({ readonly peer: string } & Extract<
      PeerOutput,
      { type: 'connect' | 'close' | 'send' | 'options' }
    >)
  | { readonly type: 'wake'; readonly peer: string; readonly connection: ConnectionId };

export interface ShellOptions {
  readonly core?: ShellCore;
  /** ms, monotonic. */
  readonly now?: () => number;
  /** Where sockets live; default: this process's namespace. */
  readonly ns?: Netns;
  /** Somebody connected whom the core does not know. The name of the peer made for it, or undefined: refused. */
  readonly onUnknown?: (endpoints: Endpoints) => string | undefined;
  readonly log?: (message: string, fields: Readonly<Record<string, unknown>>) => void;
}

interface Connection {
  readonly id: ConnectionId;
  readonly peer: string;
  readonly socket: Socket;
  family: 'ipv4' | 'ipv6';
  open: boolean;
  corked: boolean;
  blocked: boolean;
  /** In the list of those to be asked for UPDATEs. */
  waiting: boolean;
  /** Read, and put aside. */
  unread: Uint8Array | undefined;
}

/** Bytes that one connection may be given in one turn of the event loop. */
const turnBytes = 256 * 1024;
const produceBytes = 64 * 1024;
/** With more than this waiting in our process a connection is not asked for more. */
const highWater = 64 * 1024;
/**
 * Ms of one kind of work (what came in, timers and slices of the core, UPDATEs to be written) in one iteration of the
 * event loop; others' sockets and timers have their turn between. The kernel hands over a thousand sockets at once, so
 * what they bring is put aside when the time is used up.
 */
const turnMs = 8;
/** Ms that news may be gathered before it is written. */
const longestPauseMs = 300;
/** Ms that timers may wait for what has been put aside: what a neighbour said counts before its hold timer. */
const patienceMs = 100;
/** Ms that a neighbour has to read our last words. */
const lingerMs = 2000;
const readBuffer = 128 * 1024;

const text = new TextEncoder();

export class BgpShell implements AsyncDisposable {
  readonly #options: ShellOptions;
  readonly #now: () => number;
  #core: ShellCore | undefined;
  readonly #connections = new Map<ConnectionId, Connection>();
  /** Sockets that are being closed, with nobody interested any more. */
  readonly #leaving = new Set<Socket>();
  readonly #listeners: Listeners;
  // Reading is synchronous: one buffer serves every socket.
  readonly #buffer = new Uint8Array(readBuffer);
  readonly #corked: Connection[] = [];
  readonly #waiting: Connection[] = [];
  #next: ConnectionId = 1;
  #timer: NodeJS.Timeout | undefined;
  #timerAt = Number.POSITIVE_INFINITY;
  #immediate: NodeJS.Immediate | undefined;
  /** What came in when the iteration's time was used up, in order. */
  readonly #aside: (() => void)[] = [];
  readonly #copies = new Copies();
  /** ms until which what comes in is looked at at once; undefined: nothing came in this iteration. */
  #until: number | undefined;
  /** Since when timers and work have been due and put off. */
  #dueSince: number | undefined;
  /** Connections being asked for UPDATEs, and what it took so far, ms. */
  #round: Connection[] = [];
  #roundTook = 0;
  #nextRound = 0;
  #pause: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(options: ShellOptions = {}) {
    this.#options = options;
    this.#now = options.now ?? (() => performance.now());
    this.#core = options.core;
    this.#listeners = new Listeners({
      ...this.#namespace(),
      onSocket: (socket, family) => this.#inTime(() => this.#accept(socket, family)),
      log: (message, fields) => this.#log(message, fields),
    });
  }

  /** The core whose effects come to `effect`. Once, before anything else, unless the constructor was given it. */
  attach(core: ShellCore): void {
    this.#core = core;
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
    if (this.#closed) return;
    const deadline = this.#core?.deadline;
    if (deadline === undefined) return;
    const now = this.#now();
    if (deadline <= now) {
      this.#turnSoon();
    } else if (this.#timer === undefined || deadline < this.#timerAt) {
      clearTimeout(this.#timer);
      this.#timerAt = deadline;
      this.#timer = setTimeout(() => {
        this.#timer = undefined;
        // Sockets are read first: what a neighbour said while this process had no processor counts against its hold timer.
        this.#turnSoon();
      }, deadline - now);
    }
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
        if (connection !== undefined) this.#write(connection, effect.bytes);
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
        if (connection !== undefined) this.#ask(connection);
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
    this.#uncork();
    this.#closed = true;
    clearTimeout(this.#timer);
    clearTimeout(this.#pause);
    clearImmediate(this.#immediate);
    // Connections that nobody has looked at yet are closed by it.
    for (const work of this.#aside.splice(0)) work();
    const leaving = [...this.#leaving].map(
      (socket) => new Promise<void>((resolve) => socket.once('close', () => resolve())),
    );
    await Promise.all([this.#listeners[Symbol.asyncDispose](), ...leaving]);
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
    const { peer, connection: id, target, options } = effect;
    const family = Address.family(target.address);
    let fd: Fd;
    try {
      fd = connectTcp({
        ...this.#namespace(),
        remote: { address: Address.toBytes(target.address), port: target.port ?? 179 },
        ...(options.ttl === undefined ? {} : { ttl: options.ttl }),
        ...(options.minTtl === undefined ? {} : { minTtl: options.minTtl }),
        ...(target.device === undefined ? {} : { device: target.device }),
        ...(target.localAddress === undefined
          ? {}
          : {
              local: {
                address: Address.toBytes(target.localAddress),
                ...(target.localPort === undefined ? {} : { port: target.localPort }),
              },
            }),
        ...(options.password === undefined
          ? {}
          : {
              md5: {
                address: Address.toBytes(target.address),
                prefixLength: family === 'ipv4' ? 32 : 128,
                key: text.encode(options.password),
              },
            }),
      });
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
        if (this.#hasTime()) {
          this.#tell(peer, { type: 'bytes', connection: id, bytes: buffer.subarray(0, length) });
          return true;
        }
        // The buffer is everybody's. Nothing more is read until this has been looked at.
        connection.unread = this.#copies.of(buffer.subarray(0, length));
        this.#putAside(() => {
          this.#look(connection);
          if (this.#connections.get(id) === connection) connection.socket.resume();
        });
        return false;
      },
    };
    const settings = { fd: fd.release(), onread, highWaterMark: highWater };
    const socket = new Socket(settings as ConstructorParameters<typeof Socket>[0]);
    const connection: Connection = {
      id,
      peer,
      socket,
      family,
      open: false,
      corked: false,
      blocked: false,
      waiting: false,
      unread: undefined,
    };
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
      this.#goOn(connection);
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
    if (!connection.open || socket.destroyed) {
      socket.destroy();
      return;
    }
    // Read on until the neighbour closes: closing with bytes unread would reset the connection, and a reset
    // takes the NOTIFICATION with it.
    this.#leaving.add(socket);
    const timer = setTimeout(() => socket.destroy(), lingerMs);
    socket.once('close', () => {
      clearTimeout(timer);
      this.#leaving.delete(socket);
    });
    if (connection.corked) {
      connection.corked = false;
      socket.uncork();
    }
    socket.end();
  }

  // Writing

  #write(connection: Connection, bytes: Uint8Array): void {
    const { socket } = connection;
    if (!connection.corked) {
      // What one call of the core says goes out in one segment.
      if (this.#corked.length === 0) process.nextTick(() => this.#uncork());
      connection.corked = true;
      socket.cork();
      this.#corked.push(connection);
    }
    socket.write(bytes);
  }

  #uncork(): void {
    for (const connection of this.#corked.splice(0)) {
      if (!connection.corked) continue;
      connection.corked = false;
      connection.socket.uncork();
      this.#watch(connection);
    }
  }

  /** Tells the core when a socket takes no more. */
  #watch(connection: Connection): void {
    if (connection.blocked || !connection.socket.writableNeedDrain) return;
    connection.blocked = true;
    this.#tell(connection.peer, { type: 'blocked', connection: connection.id });
  }

  #ask(connection: Connection): void {
    if (connection.waiting || connection.blocked) return;
    connection.waiting = true;
    this.#waiting.push(connection);
    this.#turnSoon();
  }

  /** Asks for UPDATEs until there are none, the socket is full, or others should have their turn. */
  #pump(connection: Connection, now: number): void {
    const { id, peer, socket } = connection;
    let written = 0;
    while (written < turnBytes && this.#connections.get(id) === connection) {
      if (socket.writableNeedDrain) {
        this.#watch(connection);
        return;
      }
      const parts = this.#core?.produce(peer, id, produceBytes, now) ?? [];
      if (parts.length === 0) return;
      socket.cork();
      for (const part of parts) {
        socket.write(part);
        written += part.length;
      }
      socket.uncork();
    }
    // There is more, and others should have their turn: it goes on in this round.
    this.#goOn(connection);
  }

  #goOn(connection: Connection): void {
    if (connection.waiting || connection.blocked) return;
    connection.waiting = true;
    this.#round.push(connection);
    this.#turnSoon();
  }

  // Turns of the event loop

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

  /** Whether there is time left for what comes in, and nothing else is before it. */
  #hasTime(): boolean {
    if (this.#aside.length > 0) return false;
    const now = this.#now();
    if (this.#until === undefined) {
      this.#until = now + turnMs;
      setImmediate(() => {
        this.#until = undefined;
      });
    }
    return now < this.#until;
  }

  #inTime(work: () => void): void {
    if (this.#hasTime()) work();
    else this.#putAside(work);
  }

  #putAside(work: () => void): void {
    this.#aside.push(work);
    this.#turnSoon();
  }

  #turnSoon(): void {
    if (this.#closed) return;
    this.#immediate ??= setImmediate(() => {
      this.#immediate = undefined;
      this.#turn();
    });
  }

  /** What was put aside, then timers and work that are due, then writing; then the sockets get their say. */
  #turn(): void {
    const core = this.#core;
    if (core === undefined || this.#closed) return;
    this.#timed(this.#aside, (work) => work());
    this.#work(core);
    this.#say();
    if (this.#aside.length > 0 || this.#round.length > 0) this.#turnSoon();
    this.wakeUp();
  }

  #work(core: ShellCore): void {
    const start = this.#now();
    if ((core.deadline ?? Number.POSITIVE_INFINITY) > start) {
      this.#dueSince = undefined;
      return;
    }
    if (this.#dueSince === undefined) {
      this.#dueSince = start;
      // This process had no processor for a while: what the sockets hold is read before.
      if (start - (core.deadline ?? start) > patienceMs) return;
    }
    if (this.#aside.length > 0 && start - this.#dueSince <= patienceMs) return;
    this.#dueSince = undefined;
    for (let now = start; now - start < turnMs; now = this.#now()) {
      if ((core.deadline ?? Number.POSITIVE_INFINITY) > now) break;
      core.work(now);
    }
  }

  /**
   * Rounds of asking for UPDATEs. A write costs much the same whatever its size, so when many are to be told, what comes
   * up meanwhile is gathered: the next round begins twice as long after the last one as that one took.
   */
  #say(): void {
    const start = this.#now();
    if (this.#round.length === 0 && this.#waiting.length > 0) {
      if (start < this.#nextRound) {
        this.#pause ??= setTimeout(() => {
          this.#pause = undefined;
          this.#turnSoon();
        }, this.#nextRound - start);
        return;
      }
      this.#round = this.#waiting.splice(0);
      this.#roundTook = 0;
    }
    if (this.#round.length === 0) return;
    this.#timed(this.#round, (connection) => {
      connection.waiting = false;
      this.#pump(connection, this.#now());
    });
    const end = this.#now();
    this.#roundTook += end - start;
    if (this.#round.length === 0)
      this.#nextRound = end + Math.min(2 * this.#roundTook, longestPauseMs);
  }

  /** Works a list off from its front for as long as a turn has. What is added meanwhile waits for the next one. */
  #timed<T>(list: T[], work: (item: T) => void): void {
    const end = this.#now() + turnMs;
    const count = list.length;
    let done = 0;
    try {
      while (done < count && this.#now() < end) work(list[done++] as T);
    } finally {
      list.splice(0, done);
    }
  }
}

function endpointsOf(socket: Socket): Endpoints {
  const device = socket.remoteAddress?.startsWith('fe80:')
    ? linkLocalDevice(socketFd(socket))
    : undefined;
  return {
    localAddress: addressOf(socket.localAddress),
    localPort: socket.localPort ?? 0,
    remoteAddress: addressOf(socket.remoteAddress),
    remotePort: socket.remotePort ?? 0,
    ...(device === undefined ? {} : { device }),
  };
}

function addressOf(text: string | undefined): Address {
  return Address.parse((text ?? '').replace(/%.*$/, ''));
}
