import { Address } from '@causeway/ip';
import { ByteWriter } from '@causeway/wire';
import { invalidArgument } from '../errors.ts';
import type { AddressBytes } from '../sockets.ts';
import { scopes } from './address.ts';
import { writeAttributes } from './attributes.ts';
import {
  checkIfindex,
  checkPrefixLength,
  checkVersion,
  familyOf,
  fullLength,
  type IpVersion,
  versionOfAddress,
} from './family.ts';
import { NlFlag, type RtRequest } from './message.ts';
import {
  type NextHop,
  onlinkFlag,
  RouteMessageType,
  RouteTable,
  type RouteType,
  routeHeaderSize,
  routeTable,
  routeTypeNumber,
  writeRouteHeader,
} from './route.ts';

/** Our rtm_protocol: marks our routes and rules, so that they can be told from others'. */
export const causewayProtocol = 0xcb;
/** Of routes learned by BGP: the speaker's, apart from the agent's, since each prunes only its own. FRR sweeps 186 to 198. */
export const speakerProtocol = 0xcc;

export interface RouteSpec {
  readonly family: IpVersion;
  /** Absent: the default route. */
  readonly destination?: AddressBytes;
  /** By default the full length with a destination, 0 without. */
  readonly prefixLength?: number;
  readonly type?: RouteType;
  /** A gateway; for an IPv4 route also an IPv6 one (RFC 8950, Linux 5.2). */
  readonly via?: AddressBytes;
  readonly ifindex?: number;
  /** Take the gateway as reachable on the link whatever the routes say. */
  readonly onlink?: boolean;
  /** By default as `ip route` has it: link without a gateway, host for local, else global. */
  readonly scope?: 'global' | 'link' | 'host' | number;
  /** Preferred source address. */
  readonly source?: AddressBytes;
  readonly table?: number;
  /** By default causewayProtocol; for deletion any. */
  readonly protocol?: number;
  readonly metric?: number;
  readonly mtu?: number;
  /** Two or more paths in place of via and ifindex. */
  readonly nextHops?: readonly NextHop[];
}

const schema = { headerSize: routeHeaderSize, table: routeTable };

/** Code exists when there is one to the same destination with the same metric. */
export function addRoute(spec: RouteSpec): RtRequest {
  return newRoute(spec, NlFlag.create | NlFlag.exclusive);
}

export function replaceRoute(spec: RouteSpec): RtRequest {
  return newRoute(spec, NlFlag.create | NlFlag.replace);
}

function newRoute(spec: RouteSpec, flags: number): RtRequest {
  return {
    type: RouteMessageType.new,
    flags,
    name: `new-route${describe(spec)}`,
    body: body(spec, spec.protocol ?? causewayProtocol, spec.type ?? 'unicast', scopeOf(spec)),
    schema,
  };
}

/** Deletes the first route that agrees with all that is given. Code not-found when there is none. */
export function deleteRoute(spec: RouteSpec): RtRequest {
  const scope = spec.scope === undefined ? scopes.nowhere : scopeOf(spec);
  return {
    type: RouteMessageType.delete,
    flags: 0,
    name: `delete-route${describe(spec)}`,
    body: body(spec, spec.protocol ?? 0, spec.type ?? 'unspecified', scope),
    schema,
  };
}

function describe(spec: RouteSpec): string {
  const { destination } = spec;
  if (destination === undefined) return ` default (IPv${spec.family})`;
  if (destination.length !== 4 && destination.length !== 16) return '';
  return ` ${Address.fromBytes(destination)}/${spec.prefixLength ?? fullLength(spec.family)}`;
}

function scopeOf(spec: RouteSpec): number {
  if (typeof spec.scope === 'number') return spec.scope;
  if (spec.scope !== undefined) return scopes[spec.scope];
  if (spec.family === 6) return scopes.global; // IPv6 has no scopes of routes
  if (spec.type === 'local') return scopes.host;
  const unicast = spec.type === undefined || spec.type === 'unicast';
  return unicast && spec.via === undefined && spec.nextHops === undefined
    ? scopes.link
    : scopes.global;
}

function body(spec: RouteSpec, protocol: number, type: RouteType, scope: number): Uint8Array {
  const { family, destination } = spec;
  if (destination !== undefined) checkVersion(destination, family, 'destination');
  const prefixLength = spec.prefixLength ?? (destination === undefined ? 0 : fullLength(family));
  checkPrefixLength(prefixLength, family, 'prefixLength');
  if (prefixLength > 0 && destination === undefined) {
    throw invalidArgument('netlink', 'a route with a prefix length has a destination', spec);
  }
  if (spec.ifindex !== undefined) checkIfindex(spec.ifindex);
  if (spec.source !== undefined) checkVersion(spec.source, family, 'source');
  for (const hop of spec.nextHops ?? []) checkHop(hop, family);
  const table = spec.table ?? RouteTable.main;
  const crossFamily = spec.via !== undefined && versionOfAddress(spec.via, 'via') !== family;
  if (crossFamily && family === 6) {
    throw invalidArgument('netlink', 'an IPv6 route has no IPv4 gateway', spec.via);
  }
  const writer = new ByteWriter('little', 128);
  writeRouteHeader(writer, {
    family: familyOf(family),
    prefixLength,
    table,
    protocol,
    scope,
    type: routeTypeNumber(type),
    flags: spec.onlink ? onlinkFlag : 0,
  });
  writeAttributes(writer, routeTable, {
    destination: prefixLength === 0 ? undefined : destination,
    oif: spec.ifindex,
    gateway: crossFamily ? undefined : spec.via,
    priority: spec.metric,
    preferredSource: spec.source,
    metrics: spec.mtu === undefined ? undefined : { mtu: spec.mtu },
    multipath: spec.nextHops?.map((hop) => ({
      ...hop,
      crossFamily: hop.via !== undefined && versionOfAddress(hop.via, 'nextHops.via') !== family,
    })),
    table,
    via: crossFamily ? spec.via : undefined,
  });
  return writer.finish();
}

function checkHop(hop: NextHop, family: IpVersion): void {
  if (hop.via !== undefined && family === 6) checkVersion(hop.via, 6, 'nextHops.via');
  if (hop.via !== undefined) versionOfAddress(hop.via, 'nextHops.via');
  if (hop.ifindex !== undefined) checkIfindex(hop.ifindex, 'nextHops.ifindex');
  const weight = hop.weight ?? 1;
  if (!Number.isInteger(weight) || weight < 1 || weight > 256) {
    throw invalidArgument('netlink', `nextHops.weight is ${weight}: it is 1 to 256`, weight);
  }
}
