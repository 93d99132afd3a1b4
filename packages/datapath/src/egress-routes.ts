import { Address, type Prefix } from '@causeway/ip';
import { EgressFlag, type EgressKey, type EgressValue, type egressRoutes } from './maps/egress.ts';
import { fromTrie, toTrie } from './prefixes.ts';
import type { MapOf } from './typed-map.ts';

/** What a policy says of one pod's way to a part of the world. The longest destination decides. */
export interface EgressRoute {
  /** The pod's. */
  readonly source: Address;
  readonly destination: Prefix;
  /** A node's address; on the gateway itself its own. Undefined: none is alive, the packets are dropped. */
  readonly gateway: Address | undefined;
  /** That the world sees; undefined only without a gateway, or when excluded. */
  readonly egressAddress: Address | undefined;
  /** Leaves as if there were no policy. */
  readonly excluded?: boolean;
}

const keyFor = ({
  source,
  destination,
}: Pick<EgressRoute, 'source' | 'destination'>): EgressKey => {
  const { length, address } = toTrie(destination);
  return { length: 128 + length, pod: Address.toBytes16(source), destination: address };
};

const rowOf = ({ gateway, egressAddress, excluded = false }: EgressRoute): EgressValue => ({
  gateway: gateway ?? null,
  address: egressAddress ?? null,
  flags: excluded ? EgressFlag.excluded : 0,
});

const nameOf = ({ source, destination }: EgressRoute): string => `${source} ${destination}`;

const same = (a: EgressRoute, b: EgressRoute): boolean =>
  a.gateway === b.gateway &&
  a.egressAddress === b.egressAddress &&
  (a.excluded ?? false) === (b.excluded ?? false);

/**
 * The ways out by egress gateways. Another gateway takes over with the next packet, and gives a connection the port that
 * it had, as that depends on the connection alone. A connection that began before there was a policy stays as it is.
 */
export class EgressRoutes {
  readonly #map: MapOf<typeof egressRoutes>;
  readonly #onUse: () => void;

  /** `onUse` before every write: there will be something to look for. Nothing is written if it throws. */
  constructor(map: MapOf<typeof egressRoutes>, onUse: () => void) {
    this.#map = map;
    this.#onUse = onUse;
  }

  /** Throws map-full; what was there stays in force. */
  put(route: EgressRoute): void {
    this.#onUse();
    this.#map.set(keyFor(route), rowOf(route));
  }

  /** False when there was none. */
  delete(route: Pick<EgressRoute, 'source' | 'destination'>): boolean {
    return this.#map.delete(keyFor(route));
  }

  /** Makes these all that there are; adds before it removes. */
  replace(routes: readonly EgressRoute[]): void {
    const present = new Map([...this.routes()].map((each) => [nameOf(each), each]));
    const wanted = new Map(routes.map((each) => [nameOf(each), each]));
    const changed = [...wanted].filter(([name, route]) => {
      const before = present.get(name);
      return before === undefined || !same(before, route);
    });
    const gone = [...present].filter(([name]) => !wanted.has(name));
    if (changed.length > 0) this.#onUse();
    this.#map.setAll(changed.map(([, route]) => [keyFor(route), rowOf(route)] as const));
    this.#map.deleteAll(gone.map(([, route]) => keyFor(route)));
  }

  *routes(): IterableIterator<EgressRoute> {
    for (const [{ length, pod, destination }, value] of this.#map.entries()) {
      yield {
        source: Address.fromBytes(pod),
        destination: fromTrie({ length: length - 128, address: destination }),
        gateway: value.gateway ?? undefined,
        egressAddress: value.address ?? undefined,
        excluded: (value.flags & EgressFlag.excluded) !== 0,
      };
    }
  }
}
