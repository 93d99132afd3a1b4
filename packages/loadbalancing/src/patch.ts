import type { Address } from '@causeway/ip';
import { isHealthy, tierOf } from './clusters.ts';
import {
  backendsByPort,
  backendsOfFrontend,
  type DeriveContext,
  type FailingOf,
  type Remote,
} from './derive.ts';
import type { Backend, Endpoint, Frontend, Service } from './model.ts';

/** What a patch did to a frontend's backends, by key; undefined: gone. */
export type BackendChanges = ReadonlyMap<string, Backend | undefined>;

export interface PatchedFrontend {
  readonly frontend: Frontend;
  readonly changes: BackendChanges;
}

/** More are looked at together with all others. */
const MAX_ADDRESSES = 32;

/**
 * A service's frontends after what is known of a few addresses has changed: the same as if they were derived anew,
 * without a look at the thousands of other backends. Undefined where the change decides more than the backends of these
 * addresses, such as which cluster is next, or what each gets of the whole.
 *
 * @param endpoints, remote of these addresses only
 */
export function patchFrontends(
  service: Service,
  before: readonly Frontend[],
  addresses: ReadonlySet<Address>,
  endpoints: Iterable<Endpoint>,
  context: DeriveContext,
  failingOf: FailingOf,
  remote: Remote,
): PatchedFrontend[] | undefined {
  if (addresses.size > MAX_ADDRESSES) return undefined;
  const found = backendsByPort(service, endpoints, context, failingOf, remote);
  const patched: PatchedFrontend[] = [];
  for (const frontend of before) {
    const port = service.ports.findIndex(
      ({ name, protocol }) => name === frontend.portName && protocol === frontend.protocol,
    );
    const { family, type, trafficPolicy } = frontend;
    const fresh = backendsOfFrontend(found[port] ?? [], family, type, trafficPolicy, context);
    const after = patchFrontend(frontend, addresses, fresh);
    if (after === undefined) return undefined;
    patched.push(after);
  }
  return patched;
}

function patchFrontend(
  frontend: Frontend,
  addresses: ReadonlySet<Address>,
  fresh: readonly Backend[],
): PatchedFrontend | undefined {
  const { tiers, spillOver, chosen, chosenLocal } = frontend;
  const [leader] = chosen;
  if (chosenLocal !== undefined || (spillOver !== undefined && tiers.length > 1)) return undefined;
  if (leader === undefined || !isHealthy(leader)) return undefined;
  const tier = tierOf(tiers, leader.cluster);
  const healthy = fresh.filter(isHealthy);
  if (healthy.some(({ cluster }) => tierOf(tiers, cluster) < tier)) return undefined;
  const changes = new Map<string, Backend | undefined>();
  const backends = replaceAt(frontend.backends, addresses, fresh, changes);
  const used = replaceAt(
    chosen,
    addresses,
    healthy.filter(({ cluster }) => tierOf(tiers, cluster) === tier),
  );
  // Who serves then is another question.
  if (used.length === 0) return undefined;
  return { frontend: { ...frontend, backends, chosen: used }, changes };
}

/** A list sorted by key, with the members of these addresses replaced. */
function replaceAt(
  list: readonly Backend[],
  addresses: ReadonlySet<Address>,
  fresh: readonly Backend[],
  changes?: Map<string, Backend | undefined>,
): Backend[] {
  const copy = list.slice();
  for (const address of addresses) {
    // Keys begin with the address, so that those of one address stand side by side.
    const prefix = address.includes(':') ? `[${address}]:` : `${address}:`;
    const from = lowerBound(copy, prefix);
    let to = from;
    for (; copy[to]?.key.startsWith(prefix); to++) changes?.set(copy[to]!.key, undefined);
    copy.splice(from, to - from);
  }
  for (const backend of fresh) {
    copy.splice(lowerBound(copy, backend.key), 0, backend);
    changes?.set(backend.key, backend);
  }
  return copy;
}

function lowerBound(list: readonly Backend[], key: string): number {
  let low = 0;
  let high = list.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (list[middle]!.key < key) low = middle + 1;
    else high = middle;
  }
  return low;
}
