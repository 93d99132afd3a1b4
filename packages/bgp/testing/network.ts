import { Address } from '@causeway/ip';
import type { ConnectionId, Endpoints } from '../src/events.ts';
import type { SpeakerConfig, SpeakerPeerConfig } from '../src/speaker/config.ts';
import type { SpeakerEffect, SpeakerEvent } from '../src/speaker/types.ts';
import { Speaker } from '../src/speaker.ts';
import type { Random } from './random.ts';

/** One end of a connection between two speakers. */
interface End {
  readonly node: VirtualSpeaker;
  readonly peer: string;
  readonly id: ConnectionId;
  other: End | undefined;
  open: boolean;
  /** When what was sent last arrives: TCP keeps the order. */
  arrival: number;
}

/** A speaker in a virtual network, at an address of its own. */
export interface VirtualSpeaker {
  readonly name: string;
  readonly address: Address;
  readonly speaker: Speaker;
  readonly events: SpeakerEvent[];
}

export interface VirtualNetworkOptions {
  readonly random: Random;
  /** ms that bytes are under way: between these two. */
  readonly delay?: readonly [number, number];
  /** Bytes that `produce` is asked for; default 65536. */
  readonly chunk?: number;
}

/**
 * Speakers that talk over links which delay and can be cut, in virtual time. Everything is decided by the seed, so
 * that a run can be run again.
 */
export class VirtualNetwork {
  now = 0;
  readonly #random: Random;
  readonly #delay: readonly [number, number];
  readonly #chunk: number;
  readonly #nodes = new Map<Address, VirtualSpeaker>();
  readonly #ends = new Map<ConnectionId, End>();
  readonly #cut = new Set<string>();
  #queue: { at: number; order: number; run: () => void }[] = [];
  #order = 0;
  #nextConnection = 1;

  constructor(options: VirtualNetworkOptions) {
    this.#random = options.random;
    this.#delay = options.delay ?? [0, 5];
    this.#chunk = options.chunk ?? 65_536;
  }

  add(
    name: string,
    address: string,
    config: SpeakerConfig,
    restarting?: { readonly expected: readonly string[] },
  ): VirtualSpeaker {
    const events: SpeakerEvent[] = [];
    let node: VirtualSpeaker | undefined;
    const speaker = new Speaker(
      {
        config,
        random: () => this.#random.next(),
        nextConnection: () => this.#nextConnection++,
        emit: (effect) => {
          if (effect.type === 'event') events.push(effect.event);
          else if (node !== undefined) this.#effect(node, effect);
        },
        ...(restarting === undefined ? {} : { restarting }),
      },
      this.now,
    );
    node = { name, address: Address.parse(address), speaker, events };
    this.#nodes.set(node.address, node);
    return node;
  }

  /** The process is gone: its connections close without a word. */
  kill(node: VirtualSpeaker): void {
    this.#nodes.delete(node.address);
    for (const end of [...this.#ends.values()]) if (end.node === node) this.#close(end);
  }

  /** Neighbours of each other, by their names. */
  connect(
    a: VirtualSpeaker,
    b: VirtualSpeaker,
    ofA: Partial<SpeakerPeerConfig> & Pick<SpeakerPeerConfig, 'asn' | 'families'>,
    ofB: Partial<SpeakerPeerConfig> & Pick<SpeakerPeerConfig, 'asn' | 'families'>,
  ): void {
    const timers = { connectRetry: 1, idleHold: 0.1, hold: 90 };
    a.speaker.addPeer({ timers, ...ofA, name: b.name, target: { address: b.address } }, this.now);
    b.speaker.addPeer({ timers, ...ofB, name: a.name, target: { address: a.address } }, this.now);
  }

  #link(a: VirtualSpeaker, b: VirtualSpeaker): string {
    return [a.name, b.name].sort().join(' ');
  }

  /** Connections between the two end with an error, and new ones fail until `mend`. */
  cut(a: VirtualSpeaker, b: VirtualSpeaker): void {
    this.#cut.add(this.#link(a, b));
    for (const end of [...this.#ends.values()]) {
      if (end.node === a && end.other?.node === b) this.#close(end);
    }
  }

  mend(a: VirtualSpeaker, b: VirtualSpeaker): void {
    this.#cut.delete(this.#link(a, b));
  }

  #later(delay: number, run: () => void): void {
    const entry = { at: this.now + delay, order: this.#order++, run };
    const queue = this.#queue;
    let low = 0;
    let high = queue.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      const other = queue[middle]!;
      if (other.at < entry.at || (other.at === entry.at && other.order < entry.order))
        low = middle + 1;
      else high = middle;
    }
    queue.splice(low, 0, entry);
  }

  #wait(): number {
    const [least, most] = this.#delay;
    return least + this.#random.next() * (most - least);
  }

  #effect(node: VirtualSpeaker, effect: Exclude<SpeakerEffect, { type: 'event' }>): void {
    switch (effect.type) {
      case 'connect':
        this.#later(this.#wait(), () => this.#dial(node, effect));
        break;
      case 'send': {
        const end = this.#ends.get(effect.connection);
        if (end !== undefined) this.#send(end, effect.bytes);
        break;
      }
      case 'close': {
        const end = this.#ends.get(effect.connection);
        if (end !== undefined) this.#close(end);
        break;
      }
      case 'wake':
        this.#later(this.#random.next() * 2, () =>
          this.#pull(node, effect.peer, effect.connection),
        );
        break;
      case 'feed':
      case 'options':
        break;
      default:
        effect satisfies never;
    }
  }

  #dial(node: VirtualSpeaker, effect: Extract<SpeakerEffect, { type: 'connect' }>): void {
    if (this.#nodes.get(node.address) !== node) return;
    const target = this.#nodes.get(effect.target.address);
    const peer = target && [...target.speaker.peers()].find(({ name }) => name === node.name)?.name;
    if (target === undefined || peer === undefined || this.#cut.has(this.#link(node, target))) {
      node.speaker.input(
        effect.peer,
        { type: 'connect-failed', connection: effect.connection, error: 'ECONNREFUSED' },
        this.now,
      );
      return;
    }
    const near: End = {
      node,
      peer: effect.peer,
      id: effect.connection,
      other: undefined,
      open: true,
      arrival: 0,
    };
    const far: End = {
      node: target,
      peer,
      id: this.#nextConnection++,
      other: near,
      open: true,
      arrival: 0,
    };
    near.other = far;
    this.#ends.set(near.id, near);
    this.#ends.set(far.id, far);
    const endpoints = (from: VirtualSpeaker, to: VirtualSpeaker): Endpoints => ({
      localAddress: from.address,
      localPort: 1,
      remoteAddress: to.address,
      remotePort: 179,
    });
    target.speaker.input(
      peer,
      { type: 'accepted', connection: far.id, endpoints: endpoints(target, node) },
      this.now,
    );
    node.speaker.input(
      effect.peer,
      { type: 'connected', connection: near.id, endpoints: endpoints(node, target) },
      this.now,
    );
  }

  #send(end: End, bytes: Uint8Array): void {
    const far = end.other;
    if (!end.open || far === undefined) return;
    const copy = bytes.slice();
    end.arrival = Math.max(end.arrival, this.now + this.#wait());
    this.#later(end.arrival - this.now, () => {
      if (far.open) {
        far.node.speaker.input(
          far.peer,
          { type: 'bytes', connection: far.id, bytes: copy },
          this.now,
        );
      }
    });
  }

  /** What was sent before still arrives; then the other end learns of it. */
  #close(end: End): void {
    if (!end.open) return;
    end.open = false;
    this.#ends.delete(end.id);
    const far = end.other;
    const isAlive = this.#nodes.get(end.node.address) === end.node;
    const isCut = far !== undefined && this.#cut.has(this.#link(end.node, far.node));
    if (isCut && isAlive) {
      this.#later(0, () =>
        end.node.speaker.input(
          end.peer,
          { type: 'closed', connection: end.id, error: 'ETIMEDOUT' },
          this.now,
        ),
      );
    }
    if (far === undefined) return;
    this.#later(Math.max(0, end.arrival - this.now), () => {
      if (!far.open) return;
      far.open = false;
      this.#ends.delete(far.id);
      far.node.speaker.input(
        far.peer,
        { type: 'closed', connection: far.id, ...(isCut ? { error: 'ETIMEDOUT' } : {}) },
        this.now,
      );
    });
  }

  #pull(node: VirtualSpeaker, peer: string, connection: ConnectionId): void {
    const end = this.#ends.get(connection);
    if (end === undefined) return;
    const parts = node.speaker.produce(peer, connection, this.#chunk, this.now);
    if (parts.length === 0) return;
    for (const part of parts) this.#send(end, part);
    this.#later(this.#random.next() * 2, () => this.#pull(node, peer, connection));
  }

  /** Lets `ms` go by. */
  run(ms: number): void {
    const end = this.now + ms;
    for (let steps = 0; ; steps++) {
      if (steps > 5_000_000) throw new Error('the network does not come to rest');
      let next = this.#queue[0]?.at ?? Number.POSITIVE_INFINITY;
      let worker: VirtualSpeaker | undefined;
      for (const node of this.#nodes.values()) {
        const { deadline } = node.speaker;
        if (deadline !== undefined && Math.max(deadline, this.now) < next) {
          next = Math.max(deadline, this.now);
          worker = node;
        }
      }
      if (next > end) break;
      this.now = Math.max(this.now, next);
      if (worker !== undefined) worker.speaker.work(this.now);
      else this.#queue.shift()!.run();
    }
    this.now = end;
  }
}
