import type { EndpointSlice, Service } from '@causeway/resources';
import type { Database, Table } from '@causeway/tables';
import { podKey } from '../sources/pods.ts';

/** Objects as the store has them: the load balancer reads and judges them itself. */
export type ServiceTable = Table<Service>;
export type EndpointSliceTable = Table<EndpointSlice>;

export const serviceTable = (database: Database): ServiceTable =>
  database.table({
    name: 'services',
    key: ({ metadata }: Service) => podKey(metadata.namespace, metadata.name),
    columns: [
      { name: 'namespace', of: ({ metadata }) => metadata.namespace ?? 'default' },
      { name: 'name', of: ({ metadata }) => metadata.name },
      { name: 'type', of: ({ spec }) => spec.type },
      { name: 'addresses', of: ({ spec }) => (spec.clusterIPs ?? []).join(',') },
      {
        name: 'ports',
        of: ({ spec }) =>
          (spec.ports ?? []).map(({ port, protocol }) => `${port}/${protocol}`).join(','),
      },
    ],
  });

export const endpointSliceTable = (database: Database): EndpointSliceTable =>
  database.table({
    name: 'endpoint-slices',
    key: ({ metadata }: EndpointSlice) => podKey(metadata.namespace, metadata.name),
  });
