import type { Address, Prefix } from '@causeway/ip';
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
  /** What there is to it from outside. */
  readonly external?: {
    readonly nodePort?: boolean;
    readonly forwarding?: 'snat' | 'dsr';
    /** Those of this node: external traffic policy Local. */
    readonly local?: readonly number[];
    readonly sourceRanges?: readonly Prefix[];
  };
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
  const write = (table: 'main' | 'local', of: readonly number[]): number => {
    const slots =
      algorithm === 'random' || of.length === 0
        ? [...of]
        : Array.from(
            maglevTable(
              of.map((each) => ({ key: `backend ${each}`, weight: 1 })),
              251,
            ),
            (index) => of[index]!,
          );
    for (let chunk = 0; chunk * SLOTS_PER_CHUNK < slots.length; chunk++) {
      const backendIds = new Uint32Array(SLOTS_PER_CHUNK);
      backendIds.set(slots.slice(chunk * SLOTS_PER_CHUNK, (chunk + 1) * SLOTS_PER_CHUNK));
      const at = { serviceId, generation, table, chunk };
      services.apply({ type: 'slots-put', ...at, backendIds, live: false });
    }
    return slots.length;
  };
  const { external } = service;
  const slots = write('main', ids);
  const localSlots = write('local', external?.local ?? []);
  for (const prefix of external?.sourceRanges ?? []) {
    services.apply({ type: 'source-range-put', serviceId, prefix });
  }
  services.apply({ type: 'reverse-put', serviceId, address, port });
  services.apply({
    type: 'service-put',
    key: { address, port, protocol },
    row: {
      serviceId,
      generation,
      algorithm,
      slots,
      count: ids.length,
      affinitySeconds: service.affinitySeconds ?? 0,
      external: external !== undefined,
      nodePort: external?.nodePort ?? false,
      localExternal: external?.local !== undefined,
      localInternal: false,
      localSlots,
      sourceRanges: external?.sourceRanges !== undefined,
      forwarding: external?.forwarding ?? 'snat',
    },
  });
}
