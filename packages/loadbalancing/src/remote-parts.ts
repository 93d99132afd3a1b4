import type { Address } from '@causeway/ip';
import { type ByAddress, byAddress, changedAddresses } from './by-address.ts';
import type { Remote } from './derive.ts';
import { type Endpoint, type RemotePart, serviceName } from './model.ts';

interface Part {
  readonly expected: number;
  readonly endpoints: ByAddress;
}

const NOTHING: Part = { expected: 0, endpoints: new Map() };

/** What a change of a part means: `all`, look at the whole service again; else only these addresses may differ. */
export type PartChange = 'all' | readonly Address[];

export type PartKey = Pick<RemotePart, 'cluster' | 'namespace' | 'name' | 'part'>;

/** What other clusters say of services, in the parts in which they say it. */
export class RemoteParts {
  /** service → cluster → part. */
  readonly #services = new Map<string, Map<string, Map<string, Part>>>();

  set(said: RemotePart): PartChange {
    return this.#replace(said, {
      expected: said.expected,
      endpoints: byAddress(said.endpoints),
    });
  }

  delete(key: PartKey): PartChange {
    return this.#replace(key, undefined);
  }

  #replace(key: PartKey, after: Part | undefined): PartChange {
    const name = serviceName(key);
    const clusters = this.#services.get(name) ?? new Map<string, Map<string, Part>>();
    const parts = clusters.get(key.cluster) ?? new Map<string, Part>();
    const before = parts.get(key.part);
    const usedBefore = usedOf(parts);
    if (after === undefined) parts.delete(key.part);
    else parts.set(key.part, after);
    if (parts.size === 0) clusters.delete(key.cluster);
    else clusters.set(key.cluster, parts);
    if (clusters.size === 0) this.#services.delete(name);
    else this.#services.set(name, clusters);
    // A cluster that comes or goes changes the order; a number that is expected, every share.
    const others = usedBefore !== usedOf(parts) || usedBefore === undefined || parts.size === 0;
    if (others || (before ?? NOTHING).expected !== (after ?? NOTHING).expected) return 'all';
    if (usedBefore === 'shards' && key.part === '') return [];
    return changedAddresses((before ?? NOTHING).endpoints, (after ?? NOTHING).endpoints);
  }

  /** All of a service, or what is said of some addresses. */
  of(service: string, addresses?: ReadonlySet<Address>): Remote {
    const remote = new Map<string, { expected: number; endpoints: Endpoint[] }>();
    for (const [cluster, parts] of this.#services.get(service) ?? []) {
      const share = { expected: 0, endpoints: [] as Endpoint[] };
      const shards = usedOf(parts) === 'shards';
      for (const [part, { expected, endpoints }] of parts) {
        if (shards && part === '') continue;
        share.expected = Math.max(share.expected, expected);
        const wanted = addresses ?? endpoints.keys();
        for (const address of wanted) share.endpoints.push(...(endpoints.get(address) ?? []));
      }
      remote.set(cluster, share);
    }
    return remote;
  }
}

function usedOf(parts: ReadonlyMap<string, Part>): 'whole' | 'shards' | undefined {
  if (parts.size === 0) return undefined;
  return parts.size === 1 && parts.has('') ? 'whole' : 'shards';
}
