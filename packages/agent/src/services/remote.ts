import { Address } from '@causeway/ip';
import type { Endpoint, PartKey, RemotePart } from '@causeway/loadbalancing';
import type { ServiceRow, ServiceShardRow, ShardBackend } from '@causeway/mesh';

/** Beyond the port's own, all that is the same of every backend that a cluster only names. */
const HEALTHY = { ready: true, serving: true, terminating: false } as const;
const WEIGHT = 100;

/** A service as another cluster's value has it, in Cilium's form: all backends that it has are good. */
export function wholePart(row: ServiceRow): RemotePart {
  const endpoints = Object.entries(row.backends).flatMap(([text, ports]) => {
    const address = Address.tryParse(text);
    if (address === undefined) return [];
    const zone = row.zones[text]?.zone || undefined;
    const target = row.hostnames[text] || undefined;
    return endpointsAt(address, ports, { ...HEALTHY, zone, target, weight: WEIGHT });
  });
  const { cluster, namespace, name } = row;
  return { cluster, namespace, name, part: '', expected: 0, endpoints };
}

/** A shard of a service, as our own clusters give them. */
export function shardPart(row: ServiceShardRow): RemotePart {
  const { cluster, namespace, name, shard, expected } = row;
  const endpoints = row.backends.flatMap((backend) =>
    endpointsAt(backend.address, backend.ports, conditionsOf(backend, namespace)),
  );
  return { cluster, namespace, name, part: String(shard), expected, endpoints };
}

/** By the key of a row that is gone. */
export function partOf(rowKey: string): PartKey {
  const [cluster = '', namespace = '', name = '', part = ''] = rowKey.split('/');
  return { cluster, namespace, name, part };
}

type Conditions = Omit<Endpoint, 'portName' | 'protocol' | 'address' | 'port' | 'node'>;

function conditionsOf(
  { state, weight, zone, target }: ShardBackend,
  namespace: string,
): Conditions {
  return {
    ready: state === 'active' || state === 'failing',
    serving: state === 'active' || state === 'failing' || state === 'terminating',
    terminating: state === 'terminating' || state === 'draining',
    zone: zone || undefined,
    target: target === '' ? undefined : `${namespace}/${target}`,
    weight,
    ...(state === 'failing' ? { failing: 'by the checks of its cluster' } : {}),
  };
}

function endpointsAt(
  address: Address,
  ports: ShardBackend['ports'],
  conditions: Conditions,
): Endpoint[] {
  return Object.entries(ports).flatMap(([portName, { protocol, port }]) =>
    // What its node is called means nothing here.
    port === 0 ? [] : [{ ...conditions, portName, protocol, address, port, node: undefined }],
  );
}
