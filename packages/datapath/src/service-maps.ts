import { type MapOperation, PROTOCOLS, type Protocol } from '@causeway/loadbalancing';
import { secondsOf, ticksOf } from './config.ts';
import {
  BackendState,
  type backends,
  type reverseNat,
  ServiceAlgorithm,
  ServiceFlag,
  type services,
  type slots,
} from './maps/services.ts';
import type { MapOf } from './typed-map.ts';

const numberOf = (protocol: Protocol): number => PROTOCOLS[protocol];

const nameOf = (protocol: number): Protocol =>
  (Object.keys(PROTOCOLS) as Protocol[]).find((name) => PROTOCOLS[name] === protocol) ?? 'TCP';

/**
 * The load balancer's maps. Packets read a service's row first and its slots and backends a moment
 * later: what is taken away goes after `graceMs` only, and not at all if it came back until then.
 */
export class ServiceMaps implements Disposable {
  readonly #services: MapOf<typeof services>;
  readonly #slots: MapOf<typeof slots>;
  readonly #backends: MapOf<typeof backends>;
  readonly #reverse: MapOf<typeof reverseNat>;
  readonly #graceMs: number;
  readonly #leaving = new Map<
    string,
    { readonly go: () => void; readonly timer: NodeJS.Timeout }
  >();

  constructor(
    maps: {
      readonly services: MapOf<typeof services>;
      readonly slots: MapOf<typeof slots>;
      readonly backends: MapOf<typeof backends>;
      readonly reverseNat: MapOf<typeof reverseNat>;
    },
    graceMs = 100,
  ) {
    this.#services = maps.services;
    this.#slots = maps.slots;
    this.#backends = maps.backends;
    this.#reverse = maps.reverseNat;
    this.#graceMs = graceMs;
  }

  /** Applies one write. Throws map-full; what was there stays in force. */
  apply(operation: MapOperation): void {
    switch (operation.type) {
      case 'backend-put': {
        const { backendId, address, port, protocol, state } = operation;
        this.#stay(`backend ${backendId}`);
        this.#backends.set(backendId, {
          address,
          port,
          protocol: numberOf(protocol),
          state: BackendState[state],
        });
        return;
      }
      case 'slots-put': {
        const { serviceId: service, generation, chunk, backendIds } = operation;
        this.#stay(`slots ${service} ${generation} ${chunk}`);
        this.#slots.set({ service, generation, chunk }, { backend: backendIds });
        return;
      }
      case 'reverse-put':
        this.#stay(`reverse ${operation.serviceId}`);
        this.#reverse.set(operation.serviceId, {
          address: operation.address,
          port: operation.port,
        });
        return;
      case 'service-put': {
        const { key, row } = operation;
        this.#services.set(
          { address: key.address, port: key.port, protocol: numberOf(key.protocol) },
          {
            id: row.serviceId,
            generation: row.generation,
            algorithm: ServiceAlgorithm[row.algorithm],
            flags: row.affinitySeconds > 0 ? ServiceFlag.affinity : 0,
            slots: row.slots,
            affinityTicks: row.affinitySeconds > 0 ? ticksOf(row.affinitySeconds) : 0,
            backends: row.count,
          },
        );
        return;
      }
      case 'service-delete': {
        const { address, port, protocol } = operation.key;
        this.#services.delete({ address, port, protocol: numberOf(protocol) });
        return;
      }
      case 'slots-delete': {
        const { serviceId: service, generation, chunk } = operation;
        this.#leave(`slots ${service} ${generation} ${chunk}`, () =>
          this.#slots.delete({ service, generation, chunk }),
        );
        return;
      }
      case 'reverse-delete':
        // Connections that go on still need their virtual address in answers; the id is not used again soon.
        this.#leave(`reverse ${operation.serviceId}`, () =>
          this.#reverse.delete(operation.serviceId),
        );
        return;
      case 'backend-delete':
        this.#leave(`backend ${operation.backendId}`, () =>
          this.#backends.delete(operation.backendId),
        );
        return;
      default:
        operation satisfies never;
    }
  }

  /** What the kernel holds, in the form that a restarted balancer takes its numbers from. */
  *services(): IterableIterator<{
    readonly address: string;
    readonly port: number;
    readonly protocol: Protocol;
    readonly serviceId: number;
    readonly generation: number;
    readonly slots: number;
    readonly affinitySeconds: number;
  }> {
    for (const [key, value] of this.#services.entries()) {
      yield {
        address: key.address,
        port: key.port,
        protocol: nameOf(key.protocol),
        serviceId: value.id,
        generation: value.generation,
        slots: value.slots,
        affinitySeconds: Math.round(secondsOf(value.affinityTicks)),
      };
    }
  }

  *backends(): IterableIterator<{
    readonly backendId: number;
    readonly address: string;
    readonly port: number;
    readonly protocol: Protocol;
    readonly state: 'active' | 'terminating';
  }> {
    for (const [backendId, value] of this.#backends.entries()) {
      yield {
        backendId,
        address: value.address,
        port: value.port,
        protocol: nameOf(value.protocol),
        state: value.state === BackendState.terminating ? 'terminating' : 'active',
      };
    }
  }

  /** Deletes slots and reverse rows that no service's row refers to; returns how many. */
  prune(): number {
    this.flush();
    const current = new Map<number, number>();
    for (const [, row] of this.#services.entries()) current.set(row.id, row.generation);
    const slotKeys = [...this.#slots.keys()].filter(
      (key) => current.get(key.service) !== key.generation,
    );
    const reverseKeys = [...this.#reverse.keys()].filter((id) => !current.has(id));
    return this.#slots.deleteAll(slotKeys) + this.#reverse.deleteAll(reverseKeys);
  }

  /** Takes away now what waits to go. */
  flush(): void {
    for (const [name, { go, timer }] of [...this.#leaving]) {
      clearTimeout(timer);
      this.#leaving.delete(name);
      go();
    }
  }

  [Symbol.dispose](): void {
    this.flush();
  }

  #leave(name: string, remove: () => void): void {
    this.#stay(name);
    const go = () => {
      this.#leaving.delete(name);
      remove();
    };
    const timer = setTimeout(go, this.#graceMs);
    timer.unref();
    this.#leaving.set(name, { go: remove, timer });
  }

  #stay(name: string): void {
    const leaving = this.#leaving.get(name);
    if (leaving === undefined) return;
    clearTimeout(leaving.timer);
    this.#leaving.delete(name);
  }
}
