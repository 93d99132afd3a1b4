import type { Address, Prefix } from '@causeway/ip';
import type { natExceptions } from './maps/conntrack.ts';
import {
  LifelineDirection,
  type lifelines,
  type protectedSockets,
  type TriePrefix,
} from './maps/ipcache.ts';
import { fromTrie, IPV4_SPACE, toTrie } from './prefixes.ts';
import type { MapOf } from './typed-map.ts';

/** The part of a map that a set needs: keys with a number. */
interface KeyMap<K> {
  setAll(rows: readonly (readonly [K, number])[]): void;
  deleteAll(keys: readonly K[]): number;
  keys(): Iterable<K>;
}

/** A set of rows in a map, brought to what it shall be in few writes. */
export class KernelSet<T, K> {
  readonly #map: KeyMap<K>;
  readonly #toKey: (item: T) => K;
  readonly #fromKey: (key: K) => T;
  readonly #text: (item: T) => string;
  readonly #onChange: () => void;

  constructor(options: {
    readonly map: KeyMap<K>;
    readonly toKey: (item: T) => K;
    readonly fromKey: (key: K) => T;
    readonly text: (item: T) => string;
    readonly onChange?: () => void;
  }) {
    this.#map = options.map;
    this.#toKey = options.toKey;
    this.#fromKey = options.fromKey;
    this.#text = options.text;
    this.#onChange = options.onChange ?? (() => {});
  }

  items(): T[] {
    return Array.from(this.#map.keys(), this.#fromKey);
  }

  add(items: readonly T[]): void {
    this.#map.setAll(items.map((item) => [this.#toKey(item), 1] as const));
    if (items.length > 0) this.#onChange();
  }

  remove(items: readonly T[]): void {
    if (this.#map.deleteAll(items.map(this.#toKey)) > 0) this.#onChange();
  }

  /** Makes the set hold exactly `items`; adds before it removes. */
  replace(items: readonly T[]): void {
    const wanted = new Map(items.map((item) => [this.#text(item), item]));
    const present = new Map(this.items().map((item) => [this.#text(item), item]));
    this.add([...wanted].filter(([text]) => !present.has(text)).map(([, item]) => item));
    this.remove([...present].filter(([text]) => !wanted.has(text)).map(([, item]) => item));
  }
}

/** A socket that no pod may reach. */
export interface ProtectedSocket {
  readonly address: Address;
  readonly port: number;
  /** IANA number. */
  readonly protocol: number;
}

/** Value 0 keeps `::/0` from meaning IPv4 as well. */
export function natExceptionSet(map: MapOf<typeof natExceptions>) {
  const guard = () => {
    if (map.get(IPV4_SPACE) === undefined) map.set(IPV4_SPACE, 0);
  };
  guard();
  return new KernelSet<Prefix, TriePrefix>({
    map: {
      setAll: (rows) => map.setAll(rows),
      deleteAll(keys) {
        const deleted = map.deleteAll(keys);
        guard();
        return deleted;
      },
      *keys() {
        for (const [key, value] of map.entries()) if (value !== 0) yield key;
      },
    },
    toKey: toTrie,
    fromKey: fromTrie,
    text: (prefix) => prefix,
  });
}

export function protectedSocketSet(map: MapOf<typeof protectedSockets>, onChange: () => void) {
  return new KernelSet<ProtectedSocket, ProtectedSocket>({
    map,
    toKey: (socket) => socket,
    fromKey: (key) => key,
    text: (socket) => `${socket.address} ${socket.port} ${socket.protocol}`,
    onChange,
  });
}

/** Connections of the node itself that no policy cuts off. */
export interface Lifeline {
  /** Who begins: the other end, or this node. */
  readonly direction: 'ingress' | 'egress';
  /** The other end; absent: any. */
  readonly peer?: Address | undefined;
  readonly port: number;
  /** IANA number. */
  readonly protocol: number;
}

export function lifelineSet(map: MapOf<typeof lifelines>) {
  return new KernelSet<Lifeline, Parameters<typeof map.set>[0]>({
    map,
    toKey: ({ direction, peer, port, protocol }) => ({
      peer: peer ?? null,
      port,
      protocol,
      direction: LifelineDirection[direction],
    }),
    fromKey: ({ direction, peer, port, protocol }) => ({
      direction: direction === LifelineDirection.ingress ? 'ingress' : 'egress',
      ...(peer !== null && { peer }),
      port,
      protocol,
    }),
    text: ({ direction, peer, port, protocol }) => `${direction} ${peer} ${port} ${protocol}`,
  });
}
