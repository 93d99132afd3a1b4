import { type Address, Mac } from '@causeway/ip';
import { type CgroupHook, type Features, RtSocket } from '@causeway/linux';
import type { Attachments } from './attachments.ts';
import { Connections } from './connections.ts';
import { type CounterRow, readCounters } from './counters.ts';
import { type EdgeDevice, EdgeLinks, type EdgeSpec } from './edge.ts';
import { EgressRoutes } from './egress-routes.ts';
import { EnforcementMaps } from './enforcement.ts';
import { DatapathError } from './errors.ts';
import { type DatapathEvent, MonitorFlag, type MonitorType, readEvents } from './events.ts';
import { IpcacheMaps } from './ipcache-maps.ts';
import { lifelineSet, natExceptionSet, protectedSocketSet } from './kernel-sets.ts';
import { allMaps, type MapName, maps } from './maps/all.ts';
import { type Runtime, UseFlag } from './maps/conntrack.ts';
import { DeviceFlag, EndpointFlag } from './maps/endpoints.ts';
import type { ObjectSet } from './objects.ts';
import { ServiceMaps } from './service-maps.ts';
import { type MapOf, TypedMap } from './typed-map.ts';

/** A device that is not a pod's: where programs go, and what masquerading takes its address from. */
export interface DeviceSpec {
  readonly ifindex: number;
  readonly ifname: string;
  /** Addresses to masquerade with; of 'network' devices. */
  readonly ipv4?: Address;
  readonly ipv6?: Address;
}

export type DeviceRole = 'network' | 'host' | 'overlay';

/** Uses whose packets go on to the programs of `external`. */
export const NEEDS_EXTERNAL = UseFlag.external | UseFlag.egress;

const MONITOR_MASK = Object.values(MonitorFlag).reduce((sum, flag) => sum | flag, 0);

const CGROUP_HOOKS = [
  'connect4',
  'connect6',
  'sendmsg4',
  'sendmsg6',
  'recvmsg4',
  'recvmsg6',
  'getpeername4',
  'getpeername6',
] as const satisfies readonly CgroupHook[];

/** The node itself as an endpoint. What only its policy set's row says ("audit") counts as off here. */
export interface HostEndpoint {
  readonly id: number;
  readonly identity: number;
  readonly policyId: number;
  readonly policyRevision: number;
  readonly ingress: 'off' | 'enforced';
  readonly egress: 'off' | 'enforced';
}

/** The kernel side of one node: programs, maps, and where they are attached. */
export class Datapath implements Disposable {
  readonly enforcement: EnforcementMaps;
  readonly ipcache: IpcacheMaps;
  readonly services: ServiceMaps;
  readonly connections: Connections;
  /** Pods that leave the cluster by a node and with an address of choice. */
  readonly egress: EgressRoutes;
  /** Prefixes that are not masqueraded. */
  readonly natExceptions: ReturnType<typeof natExceptionSet>;
  /** Sockets that no pod may reach; their addresses' rows must say `isProtected`. */
  readonly protectedSockets: ReturnType<typeof protectedSocketSet>;
  #lifelines: ReturnType<typeof lifelineSet> | undefined;
  /** Names of maps that took the place of pinned ones of another shape: they are empty. */
  readonly replacedMaps: readonly string[];
  /** Links that had the programs of an earlier run and have these now. */
  readonly updatedLinks: readonly string[];
  readonly objects: ObjectSet;
  readonly #attachments: Attachments;
  readonly #edge: EdgeLinks;
  readonly #features: Features;
  #used = 0;

  constructor(objects: ObjectSet, attachments: Attachments, features: Features, updated: string[]) {
    this.objects = objects;
    this.replacedMaps = objects.replacedMaps;
    this.updatedLinks = updated;
    this.#attachments = attachments;
    this.#edge = new EdgeLinks(attachments.directory, () => objects.program('xdp_lb'));
    this.#features = features;
    const forget = () => this.bumpEpoch();
    this.enforcement = new EnforcementMaps(
      this.map('endpoints'),
      this.map('policy'),
      this.map('policyInfo'),
    );
    this.ipcache = new IpcacheMaps(this.map('ipcache'), this.map('ipcacheCidr'), forget);
    this.services = new ServiceMaps(
      {
        services: this.map('services'),
        slots: this.map('slots'),
        backends: this.map('backends'),
        reverseNat: this.map('reverseNat'),
        sourceRanges: this.map('sourceRanges'),
      },
      ({ nodePorts }) => this.#use(UseFlag.external | (nodePorts ? UseFlag.nodePorts : 0)),
    );
    this.egress = new EgressRoutes(this.map('egressRoutes'), () => this.#use(UseFlag.egress));
    this.connections = new Connections(this.map('conntrack'), this.map('nat'));
    this.natExceptions = natExceptionSet(this.map('natExceptions'));
    this.protectedSockets = protectedSocketSet(this.map('protectedSockets'), forget);
  }

  /** Any map by its typed face. */
  map<N extends MapName>(name: N): MapOf<(typeof maps)[N]> {
    const declaration = maps[name];
    return new TypedMap(declaration as never, this.objects.map(declaration.name)) as MapOf<
      (typeof maps)[N]
    >;
  }

  /**
   * Puts the programs on the host side of a pod's veth, in the calling thread's namespace. Idempotent.
   * First what is sent to the pod, then what it sends: it can hear nothing unchecked.
   */
  attachPod(ifname: string, ifindex: number): void {
    const mac = macOf(ifname, ifindex);
    this.map('devices').set(ifindex, { ipv4: null, ipv6: null, mac, flags: DeviceFlag.pod });
    this.#attachments.attach(this.objects.program('to_pod'), ifindex, ifname, 'egress');
    this.#attachments.attach(this.objects.program('from_pod'), ifindex, ifname, 'ingress');
  }

  /** Idempotent, also when the device is gone; `ifindex` if known. */
  detachPod(ifname: string, ifindex?: number): void {
    // Links know their device even when it is gone; filters go with it.
    const index = ifindex ?? this.#attachments.indexOf(ifname) ?? indexOf(ifname);
    this.#attachments.detach(ifname, index);
    if (index !== undefined && index !== 0) this.map('devices').delete(index);
  }

  /** True when both of a pod's programs stand on this very device, and are those of this run. */
  podAttached(ifname: string, ifindex: number): boolean {
    return (
      this.#attachments.programId(ifname, ifindex, 'ingress') ===
        this.objects.program('from_pod').info.id &&
      this.#attachments.programId(ifname, ifindex, 'egress') ===
        this.objects.program('to_pod').info.id
    );
  }

  /** Devices for which links are pinned; `ifindex` 0: the device is gone. */
  attachedDevices(): { readonly ifname: string; readonly ifindex: number }[] {
    return this.#attachments.devices();
  }

  /** Idempotent. 'network': any number of devices; 'host' and 'overlay': those of the configuration. */
  attachDevice(role: DeviceRole, device: DeviceSpec): void {
    const { ifname, ifindex } = device;
    const put = (program: Parameters<ObjectSet['program']>[0], direction: 'ingress' | 'egress') =>
      this.#attachments.attach(this.objects.program(program), ifindex, ifname, direction);
    switch (role) {
      case 'network':
        this.setDeviceAddresses(device);
        put('to_network', 'egress');
        put('from_network', 'ingress');
        return;
      case 'host':
        put('from_host', 'egress');
        return;
      case 'overlay':
        put('from_overlay', 'ingress');
        return;
      default:
        role satisfies never;
    }
  }

  /** A network device's addresses changed: new connections are masqueraded with the new ones. */
  setDeviceAddresses({ ifname, ifindex, ipv4, ipv6 }: DeviceSpec): void {
    this.map('devices').set(ifindex, {
      ipv4: ipv4 ?? null,
      ipv6: ipv6 ?? null,
      mac: macOf(ifname, ifindex),
      flags: DeviceFlag.network,
    });
  }

  detachDevice(ifname: string, ifindex?: number): void {
    this.detachPod(ifname, ifindex);
  }

  /**
   * Takes services for clients outside on this network device in XDP, which must have its other programs too. In the
   * calling thread's namespace; idempotent.
   */
  attachEdge(spec: EdgeSpec): EdgeDevice {
    return this.#edge.attach(spec);
  }

  detachEdge(ifname: string): void {
    this.#edge.detach(ifname);
  }

  /** Devices with XDP, and whether it is in their driver. */
  edgeDevices(): EdgeDevice[] {
    return this.#edge.devices();
  }

  /** Socket hooks for all processes in a cgroup (v2) and below. Idempotent; moves them from another cgroup. */
  attachCgroup(path: string): void {
    for (const hook of CGROUP_HOOKS) {
      if (hook.startsWith('getpeername') && !this.#features.has('cgroup-getpeername')) continue;
      this.#attachments.attachCgroup(this.objects.program(`sock_${hook}`), path, hook);
    }
  }

  detachCgroup(): void {
    for (const hook of CGROUP_HOOKS) this.#attachments.detachCgroup(hook);
  }

  /** Puts the node's own traffic by this device under its policy as an endpoint, which `putNodeAddress` names. */
  attachHostPolicy({ ifname, ifindex }: Pick<DeviceSpec, 'ifname' | 'ifindex'>): void {
    this.#attachments.attach(
      this.objects.program('host_ingress'),
      ifindex,
      ifname,
      'ingress',
      'last',
    );
    this.#attachments.attach(
      this.objects.program('host_egress'),
      ifindex,
      ifname,
      'egress',
      'last',
    );
  }

  /** Idempotent, also when the device is gone; `ifindex` if known. */
  detachHostPolicy(ifname: string, ifindex?: number): void {
    this.#attachments.detachPlace(ifname, 'last', ifindex ?? indexOf(ifname));
  }

  /** Devices whose own traffic is under policy; empty where filters are in place of links. */
  hostPolicyDevices(): string[] {
    return this.#attachments.lastDevices();
  }

  /** What no policy cuts the node itself off from. Loads the programs for that if they are not there. */
  get lifelines(): ReturnType<typeof lifelineSet> {
    this.objects.load('host_policy');
    this.#lifelines ??= lifelineSet(this.map('lifelines'));
    return this.#lifelines;
  }

  /** An address of the node itself: what pods send there goes to its stack. */
  putNodeAddress(
    address: Address,
    options: { readonly isProtected?: boolean; readonly endpoint?: HostEndpoint } = {},
  ): void {
    const { endpoint } = options;
    const enforced =
      (endpoint?.ingress === 'enforced' ? EndpointFlag.ingressEnforced : 0) |
      (endpoint?.egress === 'enforced' ? EndpointFlag.egressEnforced : 0);
    const zero = Mac.parse('00:00:00:00:00:00');
    this.map('endpoints').set(
      { address },
      {
        ifindex: 0,
        id: endpoint?.id ?? 0,
        identity: endpoint?.identity ?? 1,
        policyId: endpoint?.policyId ?? 0,
        policyRevision: endpoint?.policyRevision ?? 0,
        mac: zero,
        hostMac: zero,
        flags: EndpointFlag.host | enforced | (options.isProtected ? EndpointFlag.protected : 0),
      },
    );
  }

  deleteNodeAddress(address: Address): void {
    this.map('endpoints').delete({ address });
  }

  *nodeAddresses(): IterableIterator<{
    readonly address: Address;
    readonly isProtected: boolean;
    readonly endpoint?: HostEndpoint;
  }> {
    for (const [{ address }, row] of this.map('endpoints').entries()) {
      if ((row.flags & EndpointFlag.host) === 0) continue;
      const isProtected = (row.flags & EndpointFlag.protected) !== 0;
      if (row.id === 0) {
        yield { address, isProtected };
        continue;
      }
      const { id, identity, policyId, policyRevision } = row;
      const ingress = row.flags & EndpointFlag.ingressEnforced ? 'enforced' : 'off';
      const egress = row.flags & EndpointFlag.egressEnforced ? 'enforced' : 'off';
      const endpoint = { id, identity, policyId, policyRevision, ingress, egress } as const;
      yield { address, isProtected, endpoint };
    }
  }

  /** Makes every connection's kept verdicts be taken anew, once, by its next packet. */
  bumpEpoch(): void {
    this.#setRuntime((now) => ({ epoch: (now.epoch + 1) >>> 0 }));
  }

  /** Which events the kernel sends. Drops and audits are cheap and limited; verdicts and traces are neither. */
  setMonitor(types: Iterable<MonitorType>): void {
    let monitor = 0;
    for (const type of types) monitor |= MonitorFlag[type];
    this.#setRuntime(({ flags }) => ({ flags: ((flags & ~MONITOR_MASK) | monitor) >>> 0 }));
  }

  setDropEventRate(perSecondAndCpu: number): void {
    this.#setRuntime(() => ({ dropEventsPerSecond: perSecondAndCpu }));
  }

  /** Follows events until the returned reader is disposed. One reader at a time. */
  readEvents(onEvent: (event: DatapathEvent) => void, onError?: (error: unknown) => void) {
    return readEvents(this.map('events').map, onEvent, onError);
  }

  counters(): CounterRow[] {
    return [...readCounters(this.map('metrics'))];
  }

  /** Entries and capacity of each map, for status. Walks them: not for every second. */
  usage(): { readonly map: string; readonly entries: number; readonly limit: number }[] {
    return allMaps
      .filter(({ type }) => type === 'hash' || type === 'lru_hash' || type === 'lpm_trie')
      .filter(({ name }) => this.objects.hasMap(name))
      .map(({ name }) => {
        const map = this.objects.map(name);
        return { map: name, entries: map.count(), limit: map.info.maxEntries };
      });
  }

  /** From now on programs look for what they could leave out until now; what they go on to then is loaded first. */
  #use(use: number): void {
    if ((this.#used & use) >>> 0 === use) return;
    if ((use & NEEDS_EXTERNAL) !== 0) this.objects.load('external');
    this.#used |= use;
    this.#setRuntime(({ flags }) => ({ flags: (flags | use) >>> 0 }));
  }

  #setRuntime(change: (now: Runtime) => Partial<Runtime>): void {
    const map = this.map('runtime');
    const now = map.get(0)!;
    map.set(0, { ...now, ...change(now) });
  }

  /** Gives descriptors back. Pinned maps and attached programs go on working. */
  [Symbol.dispose](): void {
    this.services[Symbol.dispose]();
    this.objects[Symbol.dispose]();
  }
}

function indexOf(ifname: string): number | undefined {
  using socket = RtSocket.open();
  return socket.link({ name: ifname })?.index;
}

function macOf(ifname: string, ifindex: number): Mac {
  using socket = RtSocket.open();
  const link = socket.link({ index: ifindex });
  if (link === undefined || link.name !== ifname) {
    throw new DatapathError('device-gone', `there is no device ${ifname} (index ${ifindex})`, {
      value: ifindex,
    });
  }
  return Mac.fromBytes(link.mac);
}
