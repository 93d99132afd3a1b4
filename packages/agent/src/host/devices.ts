import { Address, Prefix } from '@causeway/ip';
import { isOwnDevice } from './names.ts';

/** What the plan needs to know of a link of the node. */
export interface DeviceView {
  readonly index: number;
  readonly name: string;
  readonly mac: Uint8Array;
  readonly mtu: number;
  readonly up: boolean;
  readonly loopback: boolean;
  /** Global addresses with their prefix lengths. */
  readonly addresses: readonly { readonly address: Address; readonly prefixLength: number }[];
  readonly hasDefaultRoute: boolean;
  /** Where its default routes lead. */
  readonly defaultGateways?: readonly Address[];
}

/**
 * The devices that carry traffic between nodes and to the world: those that the configuration
 * names, or else those with one of the node's addresses or a default route.
 * @returns also the configured patterns that match nothing, for the status.
 */
export function chooseDevices(
  links: readonly DeviceView[],
  patterns: readonly string[],
  nodeAddresses: readonly Address[],
): { devices: readonly DeviceView[]; unmatched: readonly string[] } {
  const candidates = links.filter((link) => !link.loopback && !isOwnDevice(link.name));
  if (patterns.length > 0) {
    const unmatched = patterns.filter(
      (pattern) => !candidates.some((link) => matches(pattern, link.name)),
    );
    return {
      devices: candidates.filter((link) => patterns.some((pattern) => matches(pattern, link.name))),
      unmatched,
    };
  }
  const wanted = new Set<string>(nodeAddresses);
  return {
    devices: candidates.filter(
      (link) =>
        link.up &&
        (link.hasDefaultRoute || link.addresses.some(({ address }) => wanted.has(address))),
    ),
    unmatched: [],
  };
}

const matches = (pattern: string, name: string): boolean =>
  pattern.endsWith('*') ? name.startsWith(pattern.slice(0, -1)) : name === pattern;

/** Addresses of the devices in order, link-local and loopback ones left out: the node's own when nobody says. */
export function addressesOf(devices: readonly DeviceView[]): Address[] {
  return devices.flatMap((device) =>
    device.addresses
      .map(({ address }) => address)
      .filter((address) => !Address.isLinkLocal(address) && !Address.isLoopback(address)),
  );
}

/**
 * The device on whose layer 2 an address lies: it is inside a subnet of one of the device's own
 * addresses (a host prefix is no subnet).
 */
export function deviceReaching(
  devices: readonly DeviceView[],
  address: Address,
): DeviceView | undefined {
  return devices.find((device) =>
    device.addresses.some(
      (own) =>
        own.address !== address &&
        own.prefixLength < Address.width(Address.family(own.address)) &&
        Address.family(own.address) === Address.family(address) &&
        Prefix.contains(Prefix.from(own.address, own.prefixLength), address),
    ),
  );
}
