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

/** The sockets behind the store's endpoints; names are looked up, and those that do not resolve left out. */
export async function storeSockets(endpoints: readonly string[]): Promise<ProtectedSocket[]> {
  const sockets: ProtectedSocket[] = [];
  for (const endpoint of endpoints) {
    const url = new URL(endpoint);
    const port = Number(url.port || (url.protocol === 'https:' ? 443 : 80));
    const host = url.hostname.replace(/^\[|\]$/g, '');
    const literal = Address.tryParse(host);
    const addresses =
      literal === undefined
        ? await dns.lookup(host, { all: true }).then(
            (found) => found.map(({ address }) => Address.tryParse(address)),
            () => [],
          )
        : [literal];
    for (const address of addresses) {
      // A pod's loopback is its own.
      if (address !== undefined && !Address.isLoopback(address))
        sockets.push({ address, port, protocol: 6 });
    }
  }
  return sockets;
}
