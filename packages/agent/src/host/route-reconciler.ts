import { Address, Prefix } from '@causeway/ip';
import {
  causewayProtocol,
  type Route,
  type RouteSpec,
  type RtSocket,
  request,
} from '@causeway/linux';
import type { Operations } from '@causeway/tables';
import { HOST_DEVICE } from './names.ts';
import type { DesiredRoute } from './routes.ts';

const MAIN_TABLE = 254;

/**
 * Routes of the main table that carry our protocol number. Those of anybody else, also for the same
 * prefix, are never changed: a foreign route of the same prefix and metric makes ours fail, and the
 * row says so.
 */
export function routeOperations(socket: RtSocket): Operations<DesiredRoute, string> {
  const observed = (): Map<Prefix, Route> =>
    new Map(
      socket
        .routes({ protocol: causewayProtocol, table: MAIN_TABLE })
        .map((route) => [prefixOf(route), route] as const),
    );

  /** One question for a batch, however many of its routes lead to the device. */
  const hostDevice = (): (() => number | undefined) => {
    let answer: { readonly index: number | undefined } | undefined;
    return () => {
      answer ??= { index: socket.link({ name: HOST_DEVICE })?.index };
      return answer.index;
    };
  };

  const specOf = (row: DesiredRoute, host: () => number | undefined): RouteSpec => {
    if (row.device === 'unreachable') {
      return {
        family: Prefix.family(row.prefix) === 'ipv4' ? 4 : 6,
        destination: Address.toBytes(Prefix.address(row.prefix)),
        prefixLength: Prefix.length(row.prefix),
        table: MAIN_TABLE,
        type: 'unreachable',
      };
    }
    const ifindex = typeof row.device === 'number' ? row.device : host();
    if (ifindex === undefined) throw new Error(`the device ${HOST_DEVICE} does not exist yet`);
    const prefix = row.prefix;
    return {
      family: Prefix.family(prefix) === 'ipv4' ? 4 : 6,
      destination: Address.toBytes(Prefix.address(prefix)),
      prefixLength: Prefix.length(prefix),
      ifindex,
      table: MAIN_TABLE,
      ...(row.via === undefined ? { scope: 'link' as const } : { via: Address.toBytes(row.via) }),
      ...(row.source === undefined ? {} : { source: Address.toBytes(row.source) }),
      ...(row.mtu === undefined ? {} : { mtu: row.mtu }),
    };
  };

  return {
    async update(batch) {
      const have = observed();
      const host = hostDevice();
      const results: (Error | undefined)[] = batch.map(() => undefined);
      const indexes: number[] = [];
      const requests = [];
      for (const [index, { row }] of batch.entries()) {
        try {
          const spec = specOf(row, host);
          const present = have.get(row.prefix);
          if (present !== undefined && same(present, spec)) continue;
          if (present !== undefined) requests.push(request.replaceRoute(spec));
          else requests.push(request.addRoute(spec));
          indexes.push(index);
        } catch (error) {
          results[index] = error as Error;
        }
      }
      socket.tryApply(requests).forEach((error, at) => {
        results[indexes[at]!] = error;
      });
      return results;
    },
    async delete(batch) {
      const have = observed();
      for (const { row } of batch) {
        const present = have.get(row.prefix);
        if (present !== undefined) socket.apply(request.deleteRoute(deletion(present)));
      }
    },
    async prune(rows) {
      const wanted = new Set(rows.map(({ prefix }) => prefix));
      for (const [prefix, route] of observed()) {
        if (!wanted.has(prefix)) socket.apply(request.deleteRoute(deletion(route)));
      }
    },
  };
}

function prefixOf(route: Route): Prefix {
  const zero = route.family === 4 ? new Uint8Array(4) : new Uint8Array(16);
  return Prefix.from(Address.fromBytes(route.destination ?? zero), route.prefixLength);
}

function same(present: Route, wanted: RouteSpec): boolean {
  if (present.type !== (wanted.type ?? 'unicast')) return false;
  // IPv6 says "lo" of a route that leads nowhere, IPv4 nothing.
  if (wanted.type === 'unreachable') return true;
  return (
    present.ifindex === wanted.ifindex &&
    equal(present.via, wanted.via) &&
    equal(present.source, wanted.source) &&
    (present.mtu ?? 0) === (wanted.mtu ?? 0)
  );
}

const equal = (a: Uint8Array | undefined, b: Uint8Array | undefined): boolean =>
  a === undefined || b === undefined ? a === b : Buffer.compare(a, b) === 0;

const deletion = (route: Route): RouteSpec => ({
  family: route.family,
  ...(route.destination === undefined ? {} : { destination: route.destination }),
  prefixLength: route.prefixLength,
  table: route.table,
  protocol: route.protocol,
  ...(route.ifindex === undefined ? {} : { ifindex: route.ifindex }),
  ...(route.metric === undefined ? {} : { metric: route.metric }),
});
