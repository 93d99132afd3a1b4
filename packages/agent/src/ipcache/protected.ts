import { promises as dns } from 'node:dns';
import { Address } from '@causeway/ip';
import type { Database, Table } from '@causeway/tables';

/** A socket of the infrastructure that no pod may reach, whatever policy says. */
export interface ProtectedSocket {
  readonly address: Address;
  readonly port: number;
  /** IANA number. */
  readonly protocol: number;
}

export type ProtectedTable = Table<ProtectedSocket, string, 'address'>;

export const protectedTable = (database: Database): ProtectedTable =>
  database.table({
    name: 'protected-sockets',
    key: ({ address, port, protocol }: ProtectedSocket): string => `${address} ${port}/${protocol}`,
    indexes: { address: { keys: (row) => row.address } },
  });

/** Every address of a host name. Rejects when there is no answer. */
export type Lookup = (host: string) => Promise<readonly string[]>;

const systemLookup: Lookup = async (host) =>
  (await dns.lookup(host, { all: true })).map(({ address }) => address);

/**
 * The sockets behind the store's endpoints. A name that cannot be looked up keeps the addresses that it
 * had: a resolver that is away must not open the store to the pods.
 */
export class StoreSockets {
  readonly #endpoints: readonly string[];
  readonly #lookup: Lookup;
  readonly #known = new Map<string, readonly Address[]>();

  constructor(endpoints: readonly string[], lookup: Lookup = systemLookup) {
    this.#endpoints = endpoints;
    this.#lookup = lookup;
  }

  /** @param more endpoints of the peers' stores. */
  async find(more: readonly string[] = []): Promise<ProtectedSocket[]> {
    const sockets: ProtectedSocket[] = [];
    for (const endpoint of [...this.#endpoints, ...more]) {
      const url = new URL(endpoint);
      const port = Number(url.port || (url.protocol === 'https:' ? 443 : 80));
      for (const address of await this.#addressesOf(url.hostname.replace(/^\[|\]$/g, ''))) {
        // A pod's loopback is its own.
        if (!Address.isLoopback(address)) sockets.push({ address, port, protocol: 6 });
      }
    }
    return sockets;
  }

  async #addressesOf(host: string): Promise<readonly Address[]> {
    const literal = Address.tryParse(host);
    if (literal !== undefined) return [literal];
    try {
      const found = (await this.#lookup(host)).flatMap((text) => Address.tryParse(text) ?? []);
      this.#known.set(host, found);
      return found;
    } catch {
      return this.#known.get(host) ?? [];
    }
  }
}
