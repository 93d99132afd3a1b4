import type { Address, Mac } from '@causeway/ip';

/** What an interface in a pod shall be. */
export interface PodInterface {
  readonly hostIfname: string;
  readonly ifname: string;
  readonly mac: Mac;
  readonly hostMac: Mac;
  readonly mtu: number;
  readonly alias: string;
  readonly addresses: { readonly ipv4?: Address | undefined; readonly ipv6?: Address | undefined };
  readonly gateways: { readonly ipv4?: Address | undefined; readonly ipv6?: Address | undefined };
}

/** An opened network namespace. Paths are used again; the identity is not while the handle is open. */
export interface PodNamespace extends Disposable {
  readonly identity: string;
}

export interface HostLink {
  readonly index: number;
  readonly name: string;
  readonly alias: string | undefined;
  readonly kind: string | undefined;
  readonly mac: Mac;
  readonly mtu: number;
  readonly up: boolean;
}

/** The pod's side of a veth that another plugin made. */
export interface FoundInterface {
  readonly mac: Mac;
  readonly mtu: number;
  readonly addresses: { readonly ipv4?: Address; readonly ipv6?: Address };
  readonly host: HostLink;
}

/**
 * What the endpoint life cycle wants of the kernel; all of it synchronous, as rtnetlink is. The
 * real one is `linuxEndpointKernel`, the tests' one keeps a table of namespaces in memory.
 */
export interface EndpointKernel {
  /** @throws AgentError `netns-missing` or `netns-is-node`. */
  openNamespace(path: string): PodNamespace;
  /**
   * Makes the veth pair: the host side down, the pod's side up with addresses and routes. Nothing
   * passes until `raise`. @throws AgentError `interface-exists` if the pod has such an interface.
   */
  createInterface(namespace: PodNamespace, spec: PodInterface): { hostIfindex: number };
  /**
   * The interface of a pod as it is, with its host side.
   * @throws AgentError `interface-missing` if there is none or it is no veth to this node.
   */
  findInterface(namespace: PodNamespace, ifname: string): FoundInterface;
  /** Sets the host side up: from here on packets flow. */
  raise(hostIfindex: number): void;
  /** The host side by name, if there is one. */
  hostLink(name: string): HostLink | undefined;
  /** Every device of the node. */
  hostLinks(): HostLink[];
  /** Removes the pair; false if it was gone already. */
  removeInterface(hostIfname: string): Promise<boolean>;
  /** Everything in which the pod's interface differs from the spec, in words; empty if nothing. */
  differences(namespace: PodNamespace, spec: PodInterface): string[];
}
