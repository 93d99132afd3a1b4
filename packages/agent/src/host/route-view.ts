import { Address, Prefix } from '@causeway/ip';
import { causewayProtocol, type Route, type RouteSpec, type RtSocket } from '@causeway/linux';

/** The main table, RT_TABLE_MAIN. */
export const MAIN_TABLE = 254;

/**
 * Our routes in the kernel's main table as they were last seen, or made since. One look serves until somebody doubts it: a
 * node of a large mesh has tens of thousands of routes, and a list of them takes longer than hundreds of changes.
 */
export class RouteView {
  readonly #socket: Pick<RtSocket, 'routes'>;
  /** Routes differ in few ways but for where they lead: each way is kept once. */
  readonly #ways = new Map<string, string>();
  #known: Map<Prefix, string> | undefined;

  constructor(socket: Pick<RtSocket, 'routes'>) {
    this.#socket = socket;
  }

  /** What was seen is not believed any longer. */
  forget(): void {
    this.#known = undefined;
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
    this.#known?.set(prefix, this.#once(wayOf(spec)));
  }

  gone(prefix: Prefix): void {
    this.#known?.delete(prefix);
  }

  #read(): Map<Prefix, string> {
    if (this.#known !== undefined) return this.#known;
    this.#ways.clear();
    const known = new Map<Prefix, string>();
    for (const route of this.#socket.routes({ protocol: causewayProtocol, table: MAIN_TABLE })) {
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
