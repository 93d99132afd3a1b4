import type { Address } from '@causeway/ip';
import { Address as A } from '@causeway/ip';
import { grown } from './grown.ts';

/** How paths of a peer are looked at by decisions; peers have small numbers, 0 being ourselves. */
export const PeerKind = Object.freeze({ local: 0, ebgp: 1, ibgp: 2 } as const);
export type PeerKind = (typeof PeerKind)[keyof typeof PeerKind];

export class PeerColumns {
  kind = new Uint8Array(64);
  routerId = new Uint32Array(64);
  /** Reflector client. */
  client = new Uint8Array(64);
  readonly name: string[] = ['local'];
  readonly address: (Address | undefined)[] = [undefined];
  readonly #free: number[] = [];
  #end = 1;

  /** Most numbers that there can be. */
  static readonly limit = 0xffff;

  get end(): number {
    return this.#end;
  }

  add(name: string): number | undefined {
    const index = this.#free.pop() ?? (this.#end <= PeerColumns.limit ? this.#end++ : undefined);
    if (index === undefined) return undefined;
    if (index >= this.kind.length) {
      this.kind = grown(this.kind, index * 2);
      this.routerId = grown(this.routerId, index * 2);
      this.client = grown(this.client, index * 2);
    }
    this.name[index] = name;
    this.address[index] = undefined;
    return index;
  }

  /** When nothing refers to the number any more. */
  remove(index: number): void {
    this.name[index] = '';
    this.address[index] = undefined;
    this.#free.push(index);
  }

  compareAddress(a: number, b: number): number {
    const x = this.address[a];
    const y = this.address[b];
    if (x === undefined || y === undefined) return a - b;
    return A.compare(x, y) || a - b;
  }
}
