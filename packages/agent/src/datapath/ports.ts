import type { EgressRoute, HostEndpoint, Lifeline } from '@causeway/datapath';
import type { Address, Family, Mac, Prefix } from '@causeway/ip';
import type { Assignment, MapOperation } from '@causeway/loadbalancing';
import type { EndpointPrograms } from '../endpoints/ports.ts';
import type { ProtectedSocket } from '../ipcache/protected.ts';
import type { IpcacheMaps } from '../ipcache/reconcilers.ts';
import type { EnforcementMaps } from '../policy/maps.ts';

/** What the programs are told at load; another value means loading them anew, under traffic. */
export interface DatapathSettings {
  readonly families: readonly Family[];
  /** The device with the gateway addresses. */
  readonly hostDevice: { readonly index: number; readonly mac: Mac };
  /** The tunnel device, in tunnel mode. */
  readonly tunnel: { readonly index: number; readonly mtu: number } | undefined;
  /** The same device in native mode, where only what leaves by egress gateways goes by it. */
  readonly egressTunnel: { readonly index: number; readonly mtu: number } | undefined;
  readonly gateways: { readonly ipv4?: Address | undefined; readonly ipv6?: Address | undefined };
  readonly masquerade: boolean;
  readonly natPorts: readonly [number, number];
  readonly socketLB: { readonly enabled: boolean; readonly pods: boolean };
  readonly allowLocalhost: boolean;
}

/** A device to other nodes and the world. */
export interface NetworkDevice {
  readonly index: number;
  readonly name: string;
  readonly mac: Mac;
  /** What pods are masqueraded as when they leave by it. */
  readonly ipv4: Address | undefined;
  readonly ipv6: Address | undefined;
}

export interface DatapathCounter {
  readonly reason: string;
  /** A drop, in contrast to a way on or a verdict that was counted. */
  readonly drop: boolean;
  readonly direction: string;
  readonly packets: bigint;
  readonly bytes: bigint;
}

/** One packet's fate, as the programs tell it. */
export interface DatapathEvent {
  readonly type: 'drop' | 'verdict' | 'trace';
  readonly reason: string;
  /** The reason in words. */
  readonly sentence: string;
  readonly hook: string;
  readonly direction: 'ingress' | 'egress' | 'transit';
  readonly source: Address;
  readonly destination: Address;
  readonly sourcePort: number;
  readonly destinationPort: number;
  readonly protocol: number;
  readonly icmpType: number;
  readonly length: number;
  readonly sourceIdentity: number;
  readonly destinationIdentity: number;
  /** 0: no rule decided. */
  readonly rule: number;
  /** The local endpoint whose policy was asked; 0: none. */
  readonly endpoint: number;
  readonly ifindex: number;
}

export interface MonitorWish {
  readonly verdicts: boolean;
  readonly traces: boolean;
}

/** The eBPF side of a node. Maps and links are pinned: disposal lets go of them and stops nothing. */
export interface NodeDatapath extends Disposable {
  readonly programs: EndpointPrograms;
  readonly enforcement: EnforcementMaps;
  readonly ipcache: IpcacheMaps;
  applyService(operation: MapOperation): void;
  /** Makes these all ways out by egress gateways. Throws when there is no room; what was there stays. */
  applyEgress(routes: readonly EgressRoute[]): void;
  /** Takes away what an earlier run left half written and no service refers to. */
  pruneServices(): number;
  /** Numbers that an earlier run gave, from the maps. */
  serviceAssignment(): Assignment;
  /** Loads the programs, or loads them anew and replaces those that are attached, each atomically. */
  configure(settings: DatapathSettings): void;
  /** Attaches to these devices, and lets go of all others that were attached before. */
  setDevices(devices: readonly NetworkDevice[]): void;
  /**
   * Takes services for clients outside in XDP on these devices, after `setDevices`, and on no others.
   * @returns the devices with the mode that XDP runs in. Throws for the first that cannot have it.
   */
  setEdge(
    devices: readonly NetworkDevice[],
    mode: 'auto' | 'native' | 'generic',
  ): readonly { readonly ifname: string; readonly mode: 'native' | 'generic' }[];
  setHostAddresses(addresses: readonly Address[]): void;
  /** What the node is as an endpoint of its own. */
  /** `on-trial`: what an earlier run enforced is enforced no more; what the node is has no number yet. */
  setHostEndpoint(endpoint: HostEndpoint | 'on-trial'): void;
  /** Puts the node's own traffic by these devices under policy, after `setDevices`, and by no others. */
  setHostPolicy(devices: readonly { readonly index: number; readonly name: string }[]): void;
  /** What no policy cuts the node itself off from. */
  setLifelines(lifelines: readonly Lifeline[]): void;
  setProtected(sockets: readonly ProtectedSocket[]): void;
  setNatExceptions(prefixes: readonly Prefix[]): void;
  setMonitor(wish: MonitorWish): void;
  onEvent(listener: (event: DatapathEvent) => void): void;
  counters(): DatapathCounter[];
}
