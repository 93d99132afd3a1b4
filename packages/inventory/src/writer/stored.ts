import type { Kv, KvEntry } from '@causeway/etcd';
import { LabelSet } from '@causeway/identity';
import { Address } from '@causeway/ip';
import { decodeIp, type IpValue, statePrefix } from '@causeway/mesh';
import type { Endpoint } from '../core/member.ts';
import { sourceOf } from '../core/publication.ts';

const RESTING = 'causeway/inventory/resting/';
/** Endpoints in the store whose key says nothing of a source: of another writer, or spoilt. */
export const NOBODY = 'nobody';

/** What an inventory finds of itself when it begins to lead. */
export interface Stored {
  readonly identities: ReadonlyMap<number, string>;
  readonly resting: ReadonlyMap<number, string>;
  readonly entries: ReadonlyMap<Address, { readonly value: string; readonly ip: IpValue }>;
  /** Every key under our prefixes, with its value. */
  readonly keys: ReadonlyMap<string, string>;
}

export const emptyStored = (stored: Stored): boolean => stored.keys.size === 0;

/** Throws KvError. Values that cannot be read are left out, and only stand in `keys`. */
export async function readStored(kv: Kv, cluster: string, signal: AbortSignal): Promise<Stored> {
  const keys = new Map<string, string>();
  const each = async (prefix: string, see: (rest: string, entry: KvEntry) => void) => {
    for await (const page of kv.pages(prefix, { signal, pageSize: 1000 })) {
      for (const entry of page.entries) see(entry.key.slice(prefix.length), entry);
    }
  };
  const identities = new Map<number, string>();
  const resting = new Map<number, string>();
  const entries = new Map<Address, { value: string; ip: IpValue }>();
  const numbered = (into: Map<number, string>) => (rest: string, entry: KvEntry) => {
    keys.set(entry.key, entry.text);
    const number = /^[1-9]\d{0,9}$/.test(rest) ? Number(rest) : undefined;
    if (number !== undefined && isLabels(entry.text)) into.set(number, entry.text);
  };
  await each(statePrefix('identities', cluster), numbered(identities));
  await each(RESTING, numbered(resting));
  await each(statePrefix('nodes', cluster), (_, entry) => keys.set(entry.key, entry.text));
  await each(statePrefix('ip', cluster), (rest, entry) => {
    const value = entry.text;
    keys.set(entry.key, value);
    const address = Address.tryParse(rest);
    const ip = address === rest ? readIp(value) : undefined;
    if (address !== undefined && ip?.address === address) entries.set(address, { value, ip });
  });
  return { identities, resting, entries, keys };
}

/** The endpoints that the entries came from, as far as they tell; one item's addresses together. */
export function storedEndpoints(stored: Stored): Endpoint[] {
  const grouped = new Map<string, Endpoint & { addresses: Address[] }>();
  for (const [address, { ip }] of stored.entries) {
    const labels = stored.identities.get(ip.identity);
    if (labels === undefined) continue;
    const owner = sourceOf(ip.metadata) ?? { source: NOBODY, id: address };
    const key = `${owner.source}:${owner.id}`;
    const known = grouped.get(key);
    if (known !== undefined) known.addresses.push(address);
    else {
      grouped.set(key, {
        ...owner,
        name: ip.pod,
        namespace: ip.namespace,
        serviceAccount: ip.serviceAccount,
        labels,
        nodeAddress: ip.hostIP,
        addresses: [address],
      });
    }
  }
  return [...grouped.values()];
}

function isLabels(text: string): boolean {
  try {
    return LabelSet.parse(text).text === text;
  } catch {
    return false;
  }
}

function readIp(text: string): IpValue | undefined {
  try {
    return decodeIp(text);
  } catch {
    return undefined;
  }
}
