import type { NamedPort } from '@causeway/policy';
import type { EndpointRecord } from './record.ts';

/** Who an endpoint is, for everything that depends on labels. */
export interface EndpointIdentity {
  /** The store's form: `k8s:app=web;...;`. */
  readonly labels: string;
  /** `init` (5) while labels or number are not known yet. */
  readonly identity: number;
  readonly namedPorts: readonly NamedPort[];
}

/** Tells who a pod is; never waits longer than its own bound, and never fails. `resolve` waits for no pod. */
export interface EndpointIdentities {
  /** Resolves once the pod is known, or after a while. */
  appear(pod: PodReference): Promise<void>;
  resolve(pod: PodReference): Promise<EndpointIdentity>;
  /** The endpoint is gone: its identity may be given back. */
  release(pod: PodReference): void;
}

export interface PodReference {
  readonly endpointId: number;
  readonly podNamespace?: string | undefined;
  readonly podName?: string | undefined;
  readonly podUid?: string | undefined;
  readonly callerLabels: Readonly<Record<string, string>>;
}

/** Brings an endpoint's rows and policy into the kernel; synchronous, so that order is what is written. */
export interface EndpointEnforcement {
  /** When it returns, every packet of the endpoint meets its policy. */
  put(record: EndpointRecord): void;
  /** No packet of the endpoint passes any more. */
  remove(record: EndpointRecord): void;
  /** What in the kernel differs from what `put` wrote, in words. */
  differences(record: EndpointRecord): string[];
}

/** The programs on the host side of the pod's veth. */
export interface EndpointPrograms {
  attach(hostIfname: string, hostIfindex: number): void;
  /** Idempotent, also when the device is gone. */
  detach(hostIfname: string): void;
  attached(hostIfname: string, hostIfindex: number): boolean;
  /** Devices for which something is pinned. */
  devices(): string[];
}

/** The node's addresses for pods. */
export interface AddressPool {
  /** May wait a while for what is not known or not there yet. */
  allocate(owner: Owner, pod: PodReference): Allocation | Promise<Allocation>;
  release(owner: Owner): void;
  restore(records: readonly EndpointRecord[]): string[];
}

export interface Owner {
  readonly containerId: string;
  readonly ifname: string;
}

export interface Allocation {
  readonly addresses: EndpointRecord['addresses'];
  readonly gateways: EndpointRecord['gateways'];
  /** Another endpoint is the address for now: this one is made ready, and silent. */
  readonly standby?: boolean;
}
