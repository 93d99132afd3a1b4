import { MeshError } from './errors.ts';
import type { StateKind } from './keys.ts';

const MIB = 1024 * 1024;

/** What all clusters together may say at most. */
export interface RoomLimits {
  /** Rows of a kind. */
  readonly rows: Readonly<Record<StateKind, number>>;
  /** Bytes of all keys and values that are kept as rows, of every kind. */
  readonly bytes: number;
  /** Bytes of different sets of named ports. */
  readonly portBytes: number;
}

/** Several times the largest mesh that is planned for: a few gibibytes at the very worst. */
const MESH_LIMITS: RoomLimits = {
  rows: {
    identities: 1_000_000,
    ip: 4_000_000,
    nodes: 100_000,
    services: 200_000,
    'service-backends': 400_000,
  },
  bytes: 1024 * MIB,
  portBytes: 256 * MIB,
};

/**
 * What all peers may take of our memory together, beside what each of them may. Who comes first is served: what
 * stands never goes for another cluster's sake, and what finds no room is refused, whoever says it, until something
 * goes and it is said again.
 */
export class Room {
  readonly limits: RoomLimits;
  readonly #bytes = new Map<string, number>();
  #taken = 0;

  constructor(limits: RoomLimits = MESH_LIMITS) {
    this.limits = limits;
  }

  /** Bytes that all clusters have taken. */
  get taken(): number {
    return this.#taken;
  }

  /** What a cluster has of one kind from now on. */
  set(cluster: string, kind: StateKind, bytes: number): void {
    const key = `${cluster}/${kind}`;
    this.#taken += bytes - (this.#bytes.get(key) ?? 0);
    if (bytes === 0) this.#bytes.delete(key);
    else this.#bytes.set(key, bytes);
  }

  /** Throws MeshError `too-many` where one more row, or so many more bytes, would be too many. */
  require(kind: StateKind, rows: number, bytes: number): void {
    const { rows: most, bytes: mostBytes } = this.limits;
    if (rows >= most[kind]) {
      const message = `all clusters together have ${most[kind]} ${kind} already, and no more are taken`;
      throw new MeshError('too-many', message, most[kind]);
    }
    if (this.#taken + bytes > mostBytes) {
      const message = `all clusters together would have more than ${mostBytes} bytes, and no more are taken`;
      throw new MeshError('too-many', message, mostBytes);
    }
  }

  forget(cluster: string): void {
    for (const key of [...this.#bytes.keys()]) {
      if (!key.startsWith(`${cluster}/`)) continue;
      this.#taken -= this.#bytes.get(key)!;
      this.#bytes.delete(key);
    }
  }
}
