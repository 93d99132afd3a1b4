import { Address, Prefix } from '@causeway/ip';
import {
  causewayProtocol,
  type NetlinkError,
  type RouteSpec,
  type RtSocket,
  request,
} from '@causeway/linux';
import type { Operations } from '@causeway/tables';
import { HOST_DEVICE } from './names.ts';
import { MAIN_TABLE, RouteView } from './route-view.ts';
import type { DesiredRoute } from './routes.ts';

/**
 * Routes of the main table that carry our protocol number. Those of anybody else, also for the same
 * prefix, are never changed: a foreign route of the same prefix and metric makes ours fail, and the
 * row says so.
 */
export function routeOperations(socket: RtSocket): Operations<DesiredRoute, string> {
  const view = new RouteView(socket);

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
    unchanged: () => view.unchanged(),
    renew: () => view.forget(),
    async update(batch) {
      const host = hostDevice();
      const results: (Error | undefined)[] = batch.map(() => undefined);
      const asked: { readonly at: number; readonly prefix: Prefix; readonly spec: RouteSpec }[] =
        [];
      for (const [at, { row }] of batch.entries()) {
        const { prefix } = row;
        try {
          const spec = specOf(row, host);
          if (!view.stands(prefix, spec)) asked.push({ at, prefix, spec });
        } catch (error) {
          results[at] = error as Error;
          view.lack();
        }
      }
      const requests = asked.map(({ prefix, spec }) =>
        view.has(prefix) ? request.replaceRoute(spec) : request.addRoute(spec),
      );
      const errors = socket.tryApply(requests);
      for (const [index, { at, prefix, spec }] of asked.entries()) {
        results[at] = errors[index];
        if (errors[index] === undefined) view.made(prefix, spec);
      }
      if (errors.some((error) => error !== undefined)) view.doubt();
      return results;
    },
    async delete(batch) {
      return remove(batch.map(({ row }) => row.prefix));
    },
    async prune(rows) {
      const wanted = new Set(rows.map(({ prefix }) => prefix));
      const gone = [...view.prefixes()].filter((prefix) => !wanted.has(prefix));
      const failure = remove(gone).find((error) => error !== undefined);
      if (failure !== undefined) throw failure;
    },
  };

  /** Takes away those that stand, and tells of each that the kernel keeps. */
  function remove(prefixes: readonly Prefix[]): (NetlinkError | undefined)[] {
    const standing = prefixes.filter((prefix) => view.has(prefix));
    const errors = socket.tryApply(standing.map((prefix) => request.deleteRoute(deletion(prefix))));
    const failed = new Map<Prefix, NetlinkError>();
    for (const [index, prefix] of standing.entries()) {
      const error = errors[index];
      if (error === undefined || error.code === 'not-found') view.gone(prefix);
      else failed.set(prefix, error);
    }
    if (failed.size > 0) view.doubt();
    return prefixes.map((prefix) => failed.get(prefix));
  }
}

/** Of ours alone, whichever metric the kernel has given it. */
const deletion = (prefix: Prefix): RouteSpec => ({
  family: Prefix.family(prefix) === 'ipv4' ? 4 : 6,
  destination: Address.toBytes(Prefix.address(prefix)),
  prefixLength: Prefix.length(prefix),
  table: MAIN_TABLE,
  protocol: causewayProtocol,
});
