/**
 * Peers that meet over TCP-like connections in virtual time: bytes arrive in order and late, or the connection is
 * cut. For tests here and above.
 */
import { Address } from '@causeway/ip';
import type { ConnectionId, Endpoints, Peer, PeerInput, PeerOutput } from '../index.ts';

interface End {
  readonly node: Node;
  readonly connection: ConnectionId;
}

interface Pipe {
  readonly ends: readonly [End, End];
  open: boolean;
  /** Bytes of a direction arrive no earlier than those before them. */
  readonly last: [number, number];
}

interface Node {
  readonly name: string;
  readonly peer: Peer;
  readonly address: Address;
  readonly outputs: PeerOutput[];
  listens: boolean;
}

export interface LinkOptions {
  /** Ms that a segment takes. */
  readonly delay: () => number;
  /** Segments that bytes are cut in. */
  readonly segment?: (length: number) => number;
}

interface Event {
  readonly at: number;
  readonly order: number;
  readonly run: () => void;
}

/** Two peers and the link between them. `nextConnection` of both must be `connectionIds()`'s. */
export class VirtualLink {
  now = 0;
  /** A dead link loses what is sent and refuses nothing: it is just silent. */
  alive = true;
  readonly a: Node;
  readonly b: Node;
  readonly #link: LinkOptions;
  readonly #pipes = new Map<ConnectionId, Pipe>();
  readonly #events: Event[] = [];
  #order = 0;
  #port = 40_000;

  constructor(a: Peer, b: Peer, link: LinkOptions) {
    this.#link = link;
    const node = (name: string, peer: Peer, address: string): Node => ({
      name,
      peer,
      address: Address.parse(address),
      outputs: [],
      listens: true,
    });
    this.a = node('a', a, '192.0.2.1');
    this.b = node('b', b, '192.0.2.2');
  }

  /** Bytes of an UPDATE or of anything else, as the speaker's shell would write them. */
  write(node: Node, bytes: Uint8Array): void {
    const { connection } = node.peer;
    if (connection !== undefined) this.#send(connection, node, bytes);
  }

  input(node: Node, input: PeerInput): void {
    node.peer.handle(input, this.now, (output) => {
      // What an update points at is gone after the call.
      node.outputs.push(output.type === 'update' ? { ...output } : output);
      this.#output(node, output);
    });
  }

  /** Every connection is gone: `silently` as in a pulled cable, else with a reset. */
  cut(silently: boolean): void {
    for (const pipe of new Set(this.#pipes.values())) {
      if (!silently) for (const end of pipe.ends) this.#closed(end, 'ECONNRESET');
      pipe.open = false;
    }
    this.#pipes.clear();
  }

  /** Runs until the time, or until `until` holds. */
  run(ms: number, until: () => boolean = () => false): boolean {
    const end = this.now + ms;
    for (;;) {
      if (until()) return true;
      const next = Math.min(
        this.#events[0]?.at ?? Number.POSITIVE_INFINITY,
        this.a.peer.deadline ?? Number.POSITIVE_INFINITY,
        this.b.peer.deadline ?? Number.POSITIVE_INFINITY,
      );
      if (next > end) break;
      this.now = Math.max(this.now, next);
      if ((this.#events[0]?.at ?? Number.POSITIVE_INFINITY) <= this.now) {
        this.#events.shift()?.run();
        continue;
      }
      for (const node of [this.a, this.b]) {
        if ((node.peer.deadline ?? Number.POSITIVE_INFINITY) <= this.now) {
          this.input(node, { type: 'timer' });
        }
      }
    }
    this.now = end;
    return until();
  }

  get established(): boolean {
    const { a, b } = this;
    if (a.peer.state !== 'established' || b.peer.state !== 'established') return false;
    const pipe = this.#pipes.get(a.peer.connection as ConnectionId);
    return pipe?.open === true && pipe.ends.some((end) => end.connection === b.peer.connection);
  }

  get openConnections(): number {
    return new Set(this.#pipes.values()).size;
  }

  #schedule(at: number, run: () => void): void {
    const event = { at, order: this.#order++, run };
    this.#events.push(event);
    this.#events.sort((x, y) => x.at - y.at || x.order - y.order);
  }

  #other(node: Node): Node {
    return node === this.a ? this.b : this.a;
  }

  #output(node: Node, output: PeerOutput): void {
    if (output.type === 'send') this.#send(output.connection, node, output.bytes);
    else if (output.type === 'close') this.#close(output.connection, node);
    else if (output.type === 'connect') this.#connect(output.connection, node);
  }

  #connect(connection: ConnectionId, node: Node): void {
    const other = this.#other(node);
    if (!this.alive) return; // SYNs into the void: the ConnectRetryTimer ends it
    const port = this.#port++;
    const there = connection + 1_000_000;
    const pipe: Pipe = {
      ends: [
        { node, connection },
        { node: other, connection: there },
      ],
      open: true,
      last: [0, 0],
    };
    const ends = (own: Node, local: number, remote: number): Endpoints => ({
      localAddress: own.address,
      localPort: local,
      remoteAddress: this.#other(own).address,
      remotePort: remote,
    });
    this.#pipes.set(connection, pipe);
    this.#schedule(this.now + this.#link.delay(), () => {
      if (!pipe.open) return;
      if (!other.listens) {
        pipe.open = false;
        this.#pipes.delete(connection);
        this.input(node, { type: 'connect-failed', connection, error: 'ECONNREFUSED' });
        return;
      }
      this.#pipes.set(there, pipe);
      // The SYN-ACK comes before any byte does.
      pipe.last[1] = this.now + this.#link.delay();
      this.#schedule(pipe.last[1], () => {
        if (!pipe.open) return;
        this.input(node, { type: 'connected', connection, endpoints: ends(node, port, 179) });
      });
      this.input(other, { type: 'accepted', connection: there, endpoints: ends(other, 179, port) });
    });
  }

  #send(connection: ConnectionId, node: Node, bytes: Uint8Array): void {
    const pipe = this.#pipes.get(connection);
    if (pipe === undefined || !this.alive) return;
    const copy = bytes.slice();
    for (let at = 0; at < copy.length; ) {
      const size = Math.max(1, this.#link.segment?.(copy.length - at) ?? copy.length);
      const part = copy.slice(at, at + size);
      this.#later(pipe, node, (end) => {
        this.input(end.node, { type: 'bytes', connection: end.connection, bytes: part });
      });
      at += size;
    }
  }

  /** TCP keeps the order and delivers what was sent before a close. */
  #later(pipe: Pipe, from: Node, run: (end: End) => void): void {
    const direction = pipe.ends[0].node === from ? 0 : 1;
    const at = Math.max(this.now + this.#link.delay(), pipe.last[direction]);
    pipe.last[direction] = at;
    const end = pipe.ends[1 - direction] as End;
    this.#schedule(at, () => {
      if (this.#pipes.get(end.connection) === pipe && pipe.open) run(end);
    });
  }

  #close(connection: ConnectionId, node: Node): void {
    const pipe = this.#pipes.get(connection);
    if (pipe === undefined) return;
    this.#pipes.delete(connection);
    // Given up before the neighbour had it: its SYN finds nobody.
    if (!pipe.ends.some((end) => this.#pipes.has(end.connection))) pipe.open = false;
    if (!this.alive) return;
    this.#later(pipe, node, (end) => this.#closed(end, undefined));
  }

  #closed(end: End, error: string | undefined): void {
    this.#pipes.delete(end.connection);
    this.input(end.node, {
      type: 'closed',
      connection: end.connection,
      ...(error === undefined ? {} : { error }),
    });
  }
}

export function connectionIds(first = 1): () => ConnectionId {
  let next = first;
  return () => next++;
}

/** A generator of numbers from 0 to 1 that a seed repeats (mulberry32). */
export function seededRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}
