import { Address } from '@causeway/ip';
import { IpcacheFlag, ipcache } from './maps/ipcache.ts';

const KEY = ipcache.key.size;
const VALUE = ipcache.value.size;

/** Rows of the ipcache for single addresses in the kernel's form, to be filled again and again. */
export class IpcacheBatch {
  readonly capacity: number;
  /** For the caller to write the address of the last row into, as 16 bytes from `keyOffset`. */
  readonly keys: DataView<ArrayBuffer>;
  readonly #values: DataView<ArrayBuffer>;
  #count = 0;

  constructor(capacity: number) {
    this.capacity = capacity;
    this.keys = new DataView(new ArrayBuffer(capacity * KEY));
    this.#values = new DataView(new ArrayBuffer(capacity * VALUE));
  }

  get count(): number {
    return this.#count;
  }

  get keyOffset(): number {
    return (this.#count - 1) * KEY;
  }

  /** @param tunnelEndpoint 16 bytes, or undefined for none. */
  add(
    identity: number,
    isProtected: boolean,
    noMasquerade: boolean,
    tunnelEndpoint: Uint8Array | undefined,
  ): void {
    const at = this.#count++ * VALUE;
    this.#values.setUint32(at, identity, true);
    const flags =
      (isProtected ? IpcacheFlag.protected : 0) | (noMasquerade ? IpcacheFlag.noMasquerade : 0);
    this.#values.setUint32(at + 4, flags, true);
    const end = new Uint8Array(this.#values.buffer, at + 8, 16);
    if (tunnelEndpoint === undefined) end.fill(0);
    else end.set(tunnelEndpoint);
  }

  /** Takes the last row back. */
  removeLast(): void {
    this.#count--;
  }

  clear(): void {
    this.#count = 0;
  }

  address(row: number): Address {
    return Address.fromBytes(this.keyBytes(row, 1));
  }

  keyBytes(from = 0, count = this.#count): Uint8Array<ArrayBuffer> {
    return new Uint8Array(this.keys.buffer, from * KEY, count * KEY);
  }

  valueBytes(from = 0, count = this.#count): Uint8Array<ArrayBuffer> {
    return new Uint8Array(this.#values.buffer, from * VALUE, count * VALUE);
  }
}
