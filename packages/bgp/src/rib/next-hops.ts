import { Address } from '@causeway/ip';

const UNSPECIFIED = Address.parse('::');

/**
 * Next hops in use, each with a small number: 4 bytes, 16, or 32 (global and link-local, RFC 2545). Whether
 * one can be reached, and by which metric, is told from outside; what nobody told about is reachable at 0.
 */
export class NextHopTable {
  readonly #ids = new Map<string, number>();
  readonly #rows: (Row | undefined)[] = [undefined];
  readonly #free: number[] = [];
  /** By number. 1: can be used. */
  reachable = new Uint8Array(64).fill(1);
  metric = new Uint32Array(64);
  readonly #states = new Map<Address, { readonly reachable: boolean; readonly metric: number }>();
  readonly #asked = new Set<Address>();
  #last = 0;

  /** Number for these bytes; the caller holds one reference to it. */
  intern(bytes: Uint8Array, start: number, length: number): number {
    // One message after another has the same next hop.
    const last = this.#rows[this.#last];
    if (last !== undefined && same(last.bytes, bytes, start, length)) {
      last.refs++;
      return this.#last;
    }
    let key = '';
    for (let i = 0; i < length; i++) key += String.fromCharCode(bytes[start + i]!);
    const known = this.#ids.get(key);
    if (known !== undefined) {
      this.#rows[known]!.refs++;
      this.#last = known;
      return known;
    }
    const id = this.#free.pop() ?? this.#rows.length;
    const copy = bytes.slice(start, start + length);
    const first =
      length === 0 ? undefined : Address.fromBytes(copy.subarray(0, Math.min(16, length)));
    const linkLocal = length === 32 ? Address.fromBytes(copy.subarray(16)) : undefined;
    // Routers without a global address on the link (BIRD) fill its place with zeros, for which RFC 2545 has no word.
    const address = linkLocal !== undefined && first === UNSPECIFIED ? linkLocal : first;
    this.#rows[id] = { key, bytes: copy, address, linkLocal, refs: 1 };
    this.#ids.set(key, id);
    if (id >= this.reachable.length) {
      const reachable = new Uint8Array(id * 2).fill(1);
      reachable.set(this.reachable);
      this.reachable = reachable;
      const metric = new Uint32Array(id * 2);
      metric.set(this.metric);
      this.metric = metric;
    }
    const state = address === undefined ? undefined : this.#states.get(address);
    this.reachable[id] = state === undefined || state.reachable ? 1 : 0;
    this.metric[id] = state?.metric ?? 0;
    if (address !== undefined && state === undefined) this.#asked.add(address);
    this.#last = id;
    return id;
  }

  retain(id: number): void {
    this.#rows[id]!.refs++;
  }

  release(id: number): void {
    const row = this.#rows[id]!;
    if (--row.refs > 0) return;
    this.#ids.delete(row.key);
    this.#rows[id] = undefined;
    this.#free.push(id);
    if (row.address !== undefined && !this.#isUsed(row.address)) {
      this.#asked.delete(row.address);
      this.#states.delete(row.address);
    }
  }

  #isUsed(address: Address): boolean {
    return this.#rows.some((row) => row?.address === address);
  }

  bytes(id: number): Uint8Array {
    return this.#rows[id]!.bytes;
  }

  /** The global one of two, if there is one; undefined for routes that have none (originated with next hop self). */
  address(id: number): Address | undefined {
    return this.#rows[id]!.address;
  }

  linkLocal(id: number): Address | undefined {
    return this.#rows[id]!.linkLocal;
  }

  /** In use and not answered for. */
  unresolved(): Address[] {
    return [...this.#asked];
  }

  /** Numbers of the next hops that this changes. */
  set(address: Address, reachable: boolean, metric: number): number[] {
    const changed: number[] = [];
    for (let id = 1; id < this.#rows.length; id++) {
      if (this.#rows[id]?.address !== address) continue;
      this.#states.set(address, { reachable, metric });
      this.#asked.delete(address);
      const value = reachable ? 1 : 0;
      if (this.reachable[id] === value && this.metric[id] === metric) continue;
      this.reachable[id] = value;
      this.metric[id] = metric;
      changed.push(id);
    }
    return changed;
  }
}

interface Row {
  readonly key: string;
  readonly bytes: Uint8Array;
  readonly address: Address | undefined;
  readonly linkLocal: Address | undefined;
  refs: number;
}

function same(a: Uint8Array, b: Uint8Array, start: number, length: number): boolean {
  if (a.length !== length) return false;
  for (let i = 0; i < length; i++) if (a[i] !== b[start + i]) return false;
  return true;
}
