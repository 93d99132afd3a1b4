import { type Address, Prefix } from '@causeway/ip';
import {
  type MapOperation,
  PROTOCOLS,
  type Protocol,
  type ServiceRow,
  type SlotTable,
} from '@causeway/loadbalancing';
import { secondsOf, ticksOf } from './config.ts';
import {
  BackendState,
  type backends,
  type reverseNat,
  ServiceAlgorithm,
  ServiceFlag,
  SLOTS_LOCAL,
  type services,
  type slots,
  type sourceRanges,
} from './maps/services.ts';
import { fromTrie, toTrie } from './prefixes.ts';
import type { MapOf } from './typed-map.ts';

const IPV4_SPACE = Prefix.parse('0.0.0.0/0');

const numberOf = (protocol: Protocol): number => PROTOCOLS[protocol];

const nameOf = (protocol: number): Protocol =>
  (Object.keys(PROTOCOLS) as Protocol[]).find((name) => PROTOCOLS[name] === protocol) ?? 'TCP';

const addressKey = (address: Address) => ({ address, port: 0, protocol: 0 });

const tableOf = (serviceId: number, table: SlotTable): number =>
  table === 'local' ? (serviceId | SLOTS_LOCAL) >>> 0 : serviceId;

const rangeKey = (service: number, prefix: Prefix) => {
  const { length, address } = toTrie(prefix);
  return { service, length: length + 32, address };
};

function flagsOf(row: ServiceRow): number {
  const flags: readonly (keyof typeof ServiceFlag | false)[] = [
    row.affinitySeconds > 0 && 'affinity',
    row.external && 'external',
    row.nodePort && 'nodePort',
    row.localExternal && 'localExternal',
    row.localInternal && 'localInternal',
    row.sourceRanges && 'sourceRanges',
    row.forwarding === 'dsr' && 'dsr',
  ];
  return flags.reduce((sum, name) => (name === false ? sum : sum | ServiceFlag[name]), 0);
}

/** Which kinds of services from outside there are: programs look no further where there is none. */
export interface ExternalUse {
  readonly external: boolean;
  readonly nodePorts: boolean;
}

/**
 * The load balancer's maps. Packets read a service's row first and its slots and backends a moment
 * later: what is taken away goes after `graceMs` only, and not at all if it came back until then.
 */
export class ServiceMaps implements Disposable {
  readonly #services: MapOf<typeof services>;
  readonly #slots: MapOf<typeof slots>;
  readonly #backends: MapOf<typeof backends>;
  readonly #reverse: MapOf<typeof reverseNat>;
  readonly #ranges: MapOf<typeof sourceRanges>;
  readonly #onUse: (use: ExternalUse) => void;
  /** External services by address: each such address has a row of its own. */
  readonly #addresses = new Map<Address, Set<number>>();
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
      readonly sourceRanges: MapOf<typeof sourceRanges>;
    },
    onUse: (use: ExternalUse) => void,
    graceMs = 100,
  ) {
    this.#services = maps.services;
    this.#slots = maps.slots;
    this.#backends = maps.backends;
    this.#reverse = maps.reverseNat;
    this.#ranges = maps.sourceRanges;
    this.#onUse = onUse;
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
        const { serviceId, generation, table, chunk, backendIds } = operation;
        const key = { service: tableOf(serviceId, table), generation, chunk };
        this.#stay(`slots ${key.service} ${generation} ${chunk}`);
        this.#slots.set(key, { backend: backendIds });
        return;
      }
      case 'reverse-put':
        this.#stay(`reverse ${operation.serviceId}`);
        this.#reverse.set(operation.serviceId, {
          address: operation.address,
          port: operation.port,
        });
        return;
      case 'source-range-put': {
        const { serviceId, prefix } = operation;
        // IPv4 lies inside IPv6's space: `::/0` alone must not speak for it.
        const guard = rangeKey(serviceId, IPV4_SPACE);
        if (this.#ranges.get(guard) === undefined) this.#ranges.set(guard, 0);
        this.#ranges.set(rangeKey(serviceId, prefix), 1);
        return;
      }
      case 'source-range-delete': {
        const key = rangeKey(operation.serviceId, operation.prefix);
        if (operation.prefix === IPV4_SPACE) this.#ranges.set(key, 0);
        else this.#ranges.delete(key);
        return;
      }
      case 'service-put':
        this.#putService(operation);
        return;
      case 'service-delete': {
        const { address, port, protocol } = operation.key;
        this.#services.delete({ address, port, protocol: numberOf(protocol) });
        this.#leaveAddress(address, operation.serviceId);
        return;
      }
      case 'slots-delete': {
        const { serviceId, generation, table, chunk } = operation;
        const key = { service: tableOf(serviceId, table), generation, chunk };
        this.#leave(`slots ${key.service} ${generation} ${chunk}`, () => this.#slots.delete(key));
        return;
      }
      case 'reverse-delete':
        // Connections that go on still need their virtual address in answers; the id is not used again soon.
        this.#leave(`reverse ${operation.serviceId}`, () => {
          this.#reverse.delete(operation.serviceId);
          this.#ranges.delete(rangeKey(operation.serviceId, IPV4_SPACE));
        });
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
    readonly localSlots: number;
    readonly affinitySeconds: number;
  }> {
    for (const [key, value] of this.#services.entries()) {
      if (value.flags & ServiceFlag.address) continue;
      yield {
        address: key.address,
        port: key.port,
        protocol: nameOf(key.protocol),
        serviceId: value.id,
        generation: value.generation,
        slots: value.slots,
        localSlots: value.localSlots,
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

  *sourceRanges(): IterableIterator<{ readonly serviceId: number; readonly prefix: Prefix }> {
    for (const [{ service, length, address }, allowed] of this.#ranges.entries()) {
      if (allowed) yield { serviceId: service, prefix: fromTrie({ length: length - 32, address }) };
    }
  }

  /** Deletes what no service's row refers to: slots, reverse rows, ranges, addresses; returns how many. */
  prune(): number {
    this.flush();
    const current = new Map<number, number>();
    const alone: ReturnType<typeof addressKey>[] = [];
    for (const [key, row] of this.#services.entries()) {
      if (row.flags & ServiceFlag.address) {
        if (!this.#addresses.has(key.address)) alone.push(addressKey(key.address));
      } else current.set(row.id, row.generation);
    }
    const slotKeys = [...this.#slots.keys()].filter(
      (key) => current.get((key.service & ~SLOTS_LOCAL) >>> 0) !== key.generation,
    );
    const reverseKeys = [...this.#reverse.keys()].filter((id) => !current.has(id));
    const rangeKeys = [...this.#ranges.keys()].filter(({ service }) => !current.has(service));
    return (
      this.#slots.deleteAll(slotKeys) +
      this.#reverse.deleteAll(reverseKeys) +
      this.#ranges.deleteAll(rangeKeys) +
      this.#services.deleteAll(alone)
    );
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

  #putService({ key, row }: Extract<MapOperation, { type: 'service-put' }>): void {
    const { address, port, protocol } = key;
    // First, for it may load programs, and be refused.
    if (row.external) this.#onUse({ external: true, nodePorts: row.nodePort });
    this.#services.set(
      { address, port, protocol: numberOf(protocol) },
      {
        id: row.serviceId,
        generation: row.generation,
        algorithm: ServiceAlgorithm[row.algorithm],
        flags: flagsOf(row),
        slots: row.slots,
        affinityTicks: row.affinitySeconds > 0 ? ticksOf(row.affinitySeconds) : 0,
        backends: row.count,
        localSlots: row.localSlots,
      },
    );
    if (!row.external) this.#leaveAddress(address, row.serviceId);
    else if (!row.nodePort) this.#joinAddress(address, row.serviceId);
  }

  #joinAddress(address: Address, serviceId: number): void {
    const users = this.#addresses.get(address);
    if (users !== undefined) {
      users.add(serviceId);
      return;
    }
    this.#services.set(addressKey(address), {
      id: 0,
      generation: 0,
      algorithm: 0,
      flags: ServiceFlag.address | ServiceFlag.external,
      slots: 0,
      affinityTicks: 0,
      backends: 0,
      localSlots: 0,
    });
    this.#addresses.set(address, new Set([serviceId]));
  }

  #leaveAddress(address: Address, serviceId: number): void {
    const users = this.#addresses.get(address);
    if (users === undefined || !users.delete(serviceId) || users.size > 0) return;
    this.#addresses.delete(address);
    this.#services.delete(addressKey(address));
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
