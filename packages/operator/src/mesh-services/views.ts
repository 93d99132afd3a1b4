import type { Kv } from '@causeway/etcd';
import { decodeServiceShard, MeshError, type ServiceShardValue } from '@causeway/mesh';

/** Shards of the clusters that write into this store: its own. */
const PREFIX = 'causeway/state/service-backends/v1/';

/** A service as other clusters are told of it. */
export interface ToldService {
  readonly cluster: string;
  readonly namespace: string;
  readonly name: string;
  readonly backends: number;
  /** Those that new connections may go to. */
  readonly active: number;
  /** The others by state, such as `2 failing, 1 terminating`. */
  readonly others: string;
  readonly expected: number;
  readonly shards: number;
}

/** What stands in the store, whoever leads; a shard that cannot be read is left out. */
export async function toldServices(kv: Kv): Promise<ToldService[]> {
  const shards: ServiceShardValue[] = [];
  for await (const { entries } of kv.pages(PREFIX)) {
    for (const { text } of entries) {
      try {
        shards.push(decodeServiceShard(text));
      } catch (error) {
        if (!(error instanceof MeshError)) throw error;
      }
    }
  }
  const services = Map.groupBy(
    shards,
    ({ cluster, namespace, name }) => `${cluster}/${namespace}/${name}`,
  );
  return Array.from(services.values(), (parts) => {
    const { cluster, namespace, name } = parts[0]!;
    const backends = parts.flatMap((each) => each.backends);
    const states = Map.groupBy(backends, ({ state }) => state);
    const active = states.get('active')?.length ?? 0;
    states.delete('active');
    return {
      ...{ cluster, namespace, name, backends: backends.length, active },
      others: Array.from(states, ([state, list]) => `${list.length} ${state}`).join(', '),
      expected: Math.max(...parts.map((each) => each.expected)),
      shards: parts.length,
    };
  });
}
