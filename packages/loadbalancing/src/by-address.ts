import type { Address } from '@causeway/ip';
import type { Endpoint } from './model.ts';

/** A list of endpoints, so kept that the difference to the next one is cheap to find. */
export type ByAddress = ReadonlyMap<Address, readonly Endpoint[]>;

export const byAddress = (endpoints: readonly Endpoint[]): ByAddress =>
  Map.groupBy(endpoints, ({ address }) => address);

/** Addresses of which the two lists say different things. */
export function changedAddresses(before: ByAddress, after: ByAddress): Address[] {
  const changed: Address[] = [];
  for (const [address, endpoints] of after) {
    if (!sameEndpoints(before.get(address), endpoints)) changed.push(address);
  }
  for (const address of before.keys()) if (!after.has(address)) changed.push(address);
  return changed;
}

function sameEndpoints(a: readonly Endpoint[] | undefined, b: readonly Endpoint[]): boolean {
  return a?.length === b.length && a.every((each, index) => sameEndpoint(each, b[index]!));
}

const sameEndpoint = (a: Endpoint, b: Endpoint): boolean =>
  a.portName === b.portName &&
  a.protocol === b.protocol &&
  a.port === b.port &&
  a.ready === b.ready &&
  a.serving === b.serving &&
  a.terminating === b.terminating &&
  a.node === b.node &&
  a.zone === b.zone &&
  a.target === b.target &&
  a.weight === b.weight &&
  a.failing === b.failing;
