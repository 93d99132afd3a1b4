import type { Address } from '@causeway/ip';
import { maglevTable, type Protocol, SLOTS_PER_CHUNK } from '@causeway/loadbalancing';
import type { Datapath } from '../datapath.ts';

export interface TestService {
  readonly id: number;
  readonly address: Address;
  readonly port: number;
  readonly protocol?: Protocol;
  readonly backends: readonly {
    readonly id: number;
    readonly address: Address;
    readonly port: number;
    readonly state?: 'active' | 'terminating';
  }[];
  /** Those that new connections may choose; default: all. */
  readonly chosen?: readonly number[];
  readonly algorithm?: 'random' | 'maglev';
  readonly affinitySeconds?: number;
  readonly generation?: number;
}

/** The writes that the load balancer makes for a service, in its order. */
export function putService(datapath: Datapath, service: TestService): void {
  const { id: serviceId, address, port, protocol = 'TCP', algorithm = 'random' } = service;
  const generation = service.generation ?? 1;
  const ids = service.chosen ?? service.backends.map((backend) => backend.id);
  const { services } = datapath;
  for (const backend of service.backends) {
    services.apply({
      type: 'backend-put',
      backendId: backend.id,
      address: backend.address,
      port: backend.port,
      protocol,
      state: backend.state ?? 'active',
    });
  }
  const slots =
    algorithm === 'random' || ids.length === 0
      ? [...ids]
      : Array.from(
          maglevTable(
            ids.map((id) => ({ key: `backend ${id}`, weight: 1 })),
            251,
          ),
          (index) => ids[index]!,
        );
  for (let chunk = 0; chunk * SLOTS_PER_CHUNK < slots.length; chunk++) {
    const backendIds = new Uint32Array(SLOTS_PER_CHUNK);
    backendIds.set(slots.slice(chunk * SLOTS_PER_CHUNK, (chunk + 1) * SLOTS_PER_CHUNK));
    services.apply({ type: 'slots-put', serviceId, generation, chunk, backendIds });
  }
  services.apply({ type: 'reverse-put', serviceId, address, port });
  services.apply({
    type: 'service-put',
    key: { address, port, protocol },
    row: {
      serviceId,
      generation,
      algorithm,
      slots: slots.length,
      count: ids.length,
      affinitySeconds: service.affinitySeconds ?? 0,
    },
  });
}
