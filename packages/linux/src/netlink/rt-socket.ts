import { ByteWriter } from '@causeway/wire';
import { invalidArgument, NetlinkBatchError, type NetlinkError } from '../errors.ts';
import type { Netns } from '../netns.ts';
import type { AddressBytes } from '../sockets.ts';
import { AddressType, decodeAddress, type InterfaceAddress } from './address.ts';
import { writeAttributes } from './attributes.ts';
import { checkVersion, familyOf, fullLength, type IpVersion, versionOfAddress } from './family.ts';
import { decodeLink, type Link, LinkType } from './link.ts';
import { getLink, type LinkSelector } from './link-requests.ts';
import type { RtRequest } from './message.ts';
import { decodeNeighbour, type Neighbour, NeighbourType, proxyFlag } from './neighbour.ts';
import {
  decodeRoute,
  type Route,
  RouteFlag,
  RouteMessageType,
  routeHeaderSize,
  routeTable,
  writeRouteHeader,
} from './route.ts';
import { digestOf, hashRoute } from './route-digest.ts';
import { decodeRule, type Rule, RuleType } from './rule.ts';
import { NetlinkTransport } from './socket.ts';

export interface RouteFilter {
  readonly family?: IpVersion;
  readonly table?: number;
  readonly protocol?: number;
  readonly ifindex?: number;
  /** The kernel does not filter by it; others are passed over before they are decoded. */
  readonly prefixLength?: number;
}

/** Everything rtnetlink of one network namespace, synchronously. */
export class RtSocket implements Disposable {
  readonly #transport: NetlinkTransport;

  private constructor(ns: Netns | undefined) {
    this.#transport = new NetlinkTransport(ns);
  }

  /** Of the calling thread's namespace, or of `ns`, which need not stay open. */
  static open(ns?: Netns): RtSocket {
    return new RtSocket(ns);
  }

  /**
   * Does one request, or several in one system call. Of several each is tried; those refused are
   * thrown together as NetlinkBatchError, and the others have taken effect. A single one throws its
   * NetlinkError.
   */
  apply(requests: RtRequest | readonly RtRequest[]): void {
    if (!Array.isArray(requests)) {
      const [error] = this.#transport.exchange([requests as RtRequest]);
      if (error !== undefined) throw error;
      return;
    }
    const failures = this.tryApply(requests).flatMap((error, index) =>
      error === undefined ? [] : [{ index, error }],
    );
    if (failures.length > 0) throw new NetlinkBatchError(failures);
  }

  /** As apply, with an answer for each request: undefined for done. */
  tryApply(requests: readonly RtRequest[]): (NetlinkError | undefined)[] {
    return this.#transport.exchange(requests);
  }

  links(): Link[] {
    return this.#dump(LinkType.get, 'links', 16, () => {}, decodeLink);
  }

  link(which: LinkSelector): Link | undefined {
    const { answer, error } = this.#transport.ask(getLink(which));
    if (error !== undefined && error.code !== 'not-found') throw error;
    return answer && decodeLink(answer);
  }

  addresses(
    filter: { readonly family?: IpVersion; readonly ifindex?: number } = {},
  ): InterfaceAddress[] {
    // struct ifaddrmsg
    const header = (writer: ByteWriter) =>
      writer
        .u8(dumpFamily(filter.family))
        .u8(0)
        .u8(0)
        .u8(0)
        .u32(filter.ifindex ?? 0);
    return this.#dump(AddressType.get, 'addresses', 0, header, decodeAddress);
  }

  /** The kernel filters; routes of other tables than main are included unless `table` says one. */
  routes(filter: RouteFilter = {}): Route[] {
    return this.#dumpRoutes(filter, decodeRoute);
  }

  /** A text that differs when the routes that `routes` would list differ, for a small part of its cost. */
  routeDigest(filter: RouteFilter = {}): string {
    return digestOf(this.#dumpRoutes(filter, hashRoute));
  }

  #dumpRoutes<T>(filter: RouteFilter, read: (payload: Uint8Array) => T | undefined): T[] {
    const families: IpVersion[] = filter.family === undefined ? [4, 6] : [filter.family];
    const { prefixLength } = filter;
    const decode = (payload: Uint8Array): T | undefined =>
      prefixLength === undefined || payload[1] === prefixLength ? read(payload) : undefined;
    return families.flatMap((family) => {
      const header = (writer: ByteWriter) => {
        writeRouteHeader(writer, {
          family: familyOf(family),
          protocol: filter.protocol ?? 0,
        });
        writeAttributes(writer, routeTable, { oif: filter.ifindex, table: filter.table });
      };
      try {
        return this.#dump(RouteMessageType.get, 'routes', 0, header, decode);
      } catch (error) {
        // A table that never had a route is no error: it has none.
        if (filter.table !== undefined && (error as NetlinkError).errno === 2) return [];
        throw error;
      }
    });
  }

  /** The route that the kernel would take, as it stands in its table (a "fib match"). */
  lookupRoute(
    destination: AddressBytes,
    options: {
      readonly source?: AddressBytes;
      readonly ifindex?: number;
      readonly mark?: number;
    } = {},
  ): Route | undefined {
    const family = versionOfAddress(destination, 'destination');
    if (options.source !== undefined) checkVersion(options.source, family, 'source');
    const writer = new ByteWriter('little');
    writeRouteHeader(writer, {
      family: familyOf(family),
      prefixLength: fullLength(family),
      sourceLength: options.source === undefined ? 0 : fullLength(family),
      flags: RouteFlag.fibMatch,
    });
    writeAttributes(writer, routeTable, {
      destination,
      source: options.source,
      oif: options.ifindex,
      mark: options.mark,
    });
    const { answer, error } = this.#transport.ask({
      type: RouteMessageType.get,
      flags: 0,
      name: 'get-route',
      body: writer.finish(),
      schema: { headerSize: routeHeaderSize, table: routeTable },
    });
    // ENETUNREACH, EHOSTUNREACH: no route.
    if (error !== undefined && error.errno !== 101 && error.errno !== 113) throw error;
    return answer && decodeRoute(answer);
  }

  neighbours(
    filter: {
      readonly family?: IpVersion;
      readonly ifindex?: number;
      readonly proxy?: boolean;
    } = {},
  ): Neighbour[] {
    const { ifindex } = filter;
    // struct ndmsg. The kernel takes the interface as attribute only; we filter ourselves.
    const header = (writer: ByteWriter) =>
      writer
        .u8(dumpFamily(filter.family))
        .zeros(9)
        .u8(filter.proxy ? proxyFlag : 0)
        .u8(0);
    const rows = this.#dump(NeighbourType.get, 'neighbours', 0, header, decodeNeighbour);
    return ifindex === undefined ? rows : rows.filter((row) => row.ifindex === ifindex);
  }

  rules(filter: { readonly family?: IpVersion } = {}): Rule[] {
    const families: IpVersion[] = filter.family === undefined ? [4, 6] : [filter.family];
    return families.flatMap((family) => {
      const header = (writer: ByteWriter) => writeRouteHeader(writer, { family: familyOf(family) });
      return this.#dump(RuleType.get, 'rules', 0, header, decodeRule);
    });
  }

  close(): void {
    this.#transport.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  /** `zeros` bytes of header, or what `header` writes. */
  #dump<T>(
    type: number,
    name: string,
    zeros: number,
    header: (writer: ByteWriter) => unknown,
    decode: (payload: Uint8Array) => T | undefined,
  ): T[] {
    const writer = new ByteWriter('little');
    writer.zeros(zeros);
    header(writer);
    return this.#transport.dump(
      { type, flags: 0, name: `dump ${name}`, body: writer.finish() },
      decode,
    );
  }
}

function dumpFamily(version: IpVersion | undefined): number {
  if (version !== undefined && version !== 4 && version !== 6) {
    throw invalidArgument('netlink', `family is ${String(version)}: it is 4 or 6`, version);
  }
  return version === undefined ? 0 : familyOf(version);
}
