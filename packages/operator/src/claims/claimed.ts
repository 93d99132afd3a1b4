import type { Kv } from '@causeway/etcd';
import { CLAIMS } from '@causeway/ipam';
import type { Clock } from '@causeway/tables';

export interface ClaimedAddressesOptions {
  readonly kv: Kv;
  readonly clock: Clock;
  /** Older knowledge than this, in milliseconds, does not count. */
  readonly maxAgeMs: number;
  /** The keeper's knowledge, which is newer where it works; undefined where it does not. */
  readonly kept: (address: string) => boolean | undefined;
}

/**
 * Which addresses are kept for somebody, for those who give CIDRs: of what is kept none may become a gateway. The
 * keeper of claims knows it; before its first look, and while its looks fail, the claims are read here.
 */
export class ClaimedAddresses {
  readonly #options: ClaimedAddressesOptions;
  #addresses = new Set<string>();
  #readAt = Number.NEGATIVE_INFINITY;

  constructor(options: ClaimedAddressesOptions) {
    this.#options = options;
  }

  /** Call it before `has` is asked. Throws KvError: then nothing is known that may be relied on. */
  async refresh(signal: AbortSignal): Promise<void> {
    const { kv, clock, maxAgeMs, kept } = this.#options;
    const now = clock.now();
    if (kept('') !== undefined || now - this.#readAt < maxAgeMs) return;
    const found = new Set<string>();
    for await (const { entries } of kv.pages(CLAIMS, { signal })) {
      for (const { key } of entries) found.add(key.slice(CLAIMS.length));
    }
    this.#addresses = found;
    this.#readAt = now;
  }

  has(address: string): boolean {
    return this.#options.kept(address) ?? this.#addresses.has(address);
  }
}
