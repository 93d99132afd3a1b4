import { Address, Prefix } from '@causeway/ip';
import { causewayProtocol, type Route, type RouteSpec, type RtSocket } from '@causeway/linux';

/** The main table, RT_TABLE_MAIN. */
export const MAIN_TABLE = 254;

const OURS = { protocol: causewayProtocol, table: MAIN_TABLE };

/**
 * Our routes in the kernel's main table as they were last seen, or made since. One look serves until somebody doubts it: a
 * node of a large mesh has tens of thousands of routes, and a list of them takes longer than hundreds of changes.
 */
export class RouteView {
  readonly #socket: Pick<RtSocket, 'routes' | 'routeDigest'>;
  /** Routes differ in few ways but for where they lead: each way is kept once. */
  readonly #ways = new Map<string, string>();
  #known: Map<Prefix, string> | undefined;
  /** The kernel's routes when a comparison of all began, for as long as that found nothing to do. */
  #standing: string | undefined;

  constructor(socket: Pick<RtSocket, 'routes' | 'routeDigest'>) {
    this.#socket = socket;
  }

  /** What was seen is not believed any longer. */
  forget(): void {
    this.#known = undefined;
  }

  /** A route that is wanted does not stand, whatever the kernel's routes are. */
  lack(): void {
    this.#standing = undefined;
  }

  /** The kernel has something else than was seen. */
  doubt(): void {
    this.#known = undefined;
    this.#standing = undefined;
  }

  /**
   * Whether the kernel's routes are those that the last comparison of all found as they were wanted. If not, a
   * comparison of all is to follow. Taken before its list: what changes in between makes another digest next time.
   */
  unchanged(): boolean {
    const before = this.#standing;
    try {
      this.#standing = this.#socket.routeDigest(OURS);
    } catch {
      // The comparison that follows will meet the fault, and tell it.
      this.#standing = undefined;
    }
    return before !== undefined && before === this.#standing;
  }

  has(prefix: Prefix): boolean {
    return this.#read().has(prefix);
  }

  /** Whether the route stands as it is wanted. */
  stands(prefix: Prefix, wanted: RouteSpec): boolean {
    return this.#read().get(prefix) === wayOf(wanted);
  }

  prefixes(): IterableIterator<Prefix> {
    return this.#read().keys();
  }

  /** The kernel has taken it. */
  made(prefix: Prefix, spec: RouteSpec): void {
    this.#standing = undefined;
    this.#known?.set(prefix, this.#once(wayOf(spec)));
  }

  gone(prefix: Prefix): void {
    this.#standing = undefined;
    this.#known?.delete(prefix);
  }

  #read(): Map<Prefix, string> {
    if (this.#known !== undefined) return this.#known;
    this.#ways.clear();
    const known = new Map<Prefix, string>();
    for (const route of this.#socket.routes(OURS)) {
      known.set(prefixOf(route), this.#once(wayOf(route)));
    }
    this.#known = known;
    return known;
  }

  #once(way: string): string {
    const same = this.#ways.get(way);
    if (same !== undefined) return same;
    this.#ways.set(way, way);
    return way;
  }
}

function prefixOf(route: Route): Prefix {
  const zero = route.family === 4 ? new Uint8Array(4) : new Uint8Array(16);
  return Prefix.from(Address.fromBytes(route.destination ?? zero), route.prefixLength);
}

/** Where a route leads and how, in one text: all that is compared of it. */
function wayOf({
  type = 'unicast',
  ifindex,
  via,
  source,
  mtu,
}: Pick<RouteSpec, 'type' | 'ifindex' | 'via' | 'source' | 'mtu'> | Route): string {
  // IPv6 says "lo" of a route that leads nowhere, IPv4 nothing.
  if (type === 'unreachable') return type;
  return `${type} ${ifindex} ${via?.toString()} ${source?.toString()} ${mtu ?? 0}`;
}
