import assert from 'node:assert/strict';
import {
  frontendKey,
  type MapOperation,
  type ServiceRow,
  SLOTS_PER_CHUNK,
  type SlotTable,
} from '../index.ts';

interface BackendRow {
  readonly socket: string;
  readonly state: 'active' | 'terminating';
}

/** The maps as a kernel would hold them. After every single write each service must be whole. */
export class KernelMaps {
  readonly services = new Map<string, ServiceRow>();
  readonly slots = new Map<string, Uint32Array>();
  readonly backends = new Map<number, BackendRow>();
  readonly reverse = new Map<number, string>();
  readonly ranges = new Set<string>();

  apply(operations: readonly MapOperation[]): void {
    for (const operation of operations) {
      this.#write(operation);
      for (const [key, row] of this.services) {
        this.backendsOf(key);
        if (row.localExternal) this.backendsOf(key, 'local');
        const ranges = [...this.ranges].some((each) => each.startsWith(`${row.serviceId} `));
        assert.ok(ranges || !row.sourceRanges, 'ranges are there before the row asks for them');
      }
    }
    for (const [key, row] of this.services) {
      assert.equal(this.backendsOf(key).length, row.count);
    }
    const ids = [...this.services.values()].map((each) => each.serviceId);
    assert.equal(new Set(ids).size, ids.length, 'every service has a number of its own');
    const sockets = [...this.backends.values()].map((each) => each.socket);
    assert.equal(new Set(sockets).size, sockets.length, 'every backend is there once');
    const chunks = [...this.services.values()].reduce(
      (sum, { slots, localSlots }) =>
        sum + Math.ceil(slots / SLOTS_PER_CHUNK) + Math.ceil(localSlots / SLOTS_PER_CHUNK),
      0,
    );
    assert.equal(this.slots.size, chunks, 'no slots stay behind');
    assert.equal(this.reverse.size, this.services.size);
    for (const range of this.ranges) {
      assert.ok(ids.includes(Number.parseInt(range, 10)), 'no range stays behind');
    }
  }

  /** Looks up as the kernel does: row, slots of its generation, backends. */
  backendsOf(key: string, table: SlotTable = 'main'): string[] {
    const found = new Set(this.slotsOf(key, table));
    const row = this.services.get(key)!;
    assert.ok(this.reverse.has(row.serviceId), 'replies find their way back');
    return [...found].sort();
  }

  /** The socket that each slot leads to. */
  slotsOf(key: string, table: SlotTable = 'main'): string[] {
    const row = this.services.get(key);
    assert.ok(row, `no row ${key}`);
    const { serviceId, generation } = row;
    const count = table === 'main' ? row.slots : row.localSlots;
    return Array.from({ length: count }, (_, slot) => {
      const place = Math.floor(slot / SLOTS_PER_CHUNK);
      const chunk = this.slots.get(`${serviceId} ${generation} ${table} ${place}`);
      assert.ok(chunk, `${key} refers to slots that are not there`);
      const backend = this.backends.get(chunk[slot % SLOTS_PER_CHUNK]!);
      assert.ok(backend, `${key} slot ${slot} refers to no backend`);
      return backend.socket;
    });
  }

  #write(operation: MapOperation): void {
    switch (operation.type) {
      case 'backend-put': {
        const { backendId, address, port, state } = operation;
        const before = this.backends.get(backendId);
        const socket = `${address}:${port}`;
        assert.ok(
          before === undefined || before.socket === socket,
          'a number in use is not given to another',
        );
        this.backends.set(backendId, { socket, state });
        break;
      }
      case 'backend-delete':
        assert.ok(this.backends.delete(operation.backendId));
        break;
      case 'slots-put': {
        const { serviceId, generation, table, chunk } = operation;
        const key = `${serviceId} ${generation} ${table} ${chunk}`;
        const inUse = this.slots.has(key);
        assert.ok(operation.live || !inUse, 'what is not said to be in use is not overwritten');
        assert.equal(operation.backendIds.length, SLOTS_PER_CHUNK);
        this.slots.set(key, operation.backendIds);
        break;
      }
      case 'slots-delete': {
        const { serviceId, generation, table, chunk } = operation;
        assert.ok(this.slots.delete(`${serviceId} ${generation} ${table} ${chunk}`));
        break;
      }
      case 'source-range-put':
        this.ranges.add(`${operation.serviceId} ${operation.prefix}`);
        break;
      case 'source-range-delete':
        assert.ok(this.ranges.delete(`${operation.serviceId} ${operation.prefix}`));
        break;
      case 'reverse-put':
        this.reverse.set(operation.serviceId, `${operation.address}:${operation.port}`);
        break;
      case 'reverse-delete':
        assert.ok(this.reverse.delete(operation.serviceId));
        break;
      case 'service-put':
        this.services.set(
          frontendKey(operation.key.address, operation.key.port, operation.key.protocol),
          operation.row,
        );
        break;
      case 'service-delete':
        assert.ok(
          this.services.delete(
            frontendKey(operation.key.address, operation.key.port, operation.key.protocol),
          ),
        );
        break;
      default:
        operation satisfies never;
    }
  }
}
