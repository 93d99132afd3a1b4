import { readFileSync } from 'node:fs';
import { type Log, messageWithCauses } from '@causeway/daemon';
import {
  type CounterRow,
  type Datapath,
  type DatapathConfig,
  DatapathError,
  type EgressRoute,
  type EventType,
  type HostEndpoint,
  type Lifeline,
  type MapLimits,
  openDatapath,
} from '@causeway/datapath';
import { NumericIdentity, scopeOf } from '@causeway/identity';
import type { Address, Prefix } from '@causeway/ip';
import { ensureBpffs, type Features, UnsupportedError } from '@causeway/linux';
import type { Assignment, MapOperation } from '@causeway/loadbalancing';
import { frontendKey, socketKey } from '@causeway/loadbalancing';
import type { AgentConfig } from '../config/schema.ts';
import type { EndpointPrograms } from '../endpoints/ports.ts';
import { AgentError } from '../errors.ts';
import { HOST_DEVICE, isPodDevice, VXLAN_DEVICE } from '../host/names.ts';
import type { ProtectedSocket } from '../ipcache/protected.ts';
import type { IpcacheMaps } from '../ipcache/reconcilers.ts';
import type { EnforcementMaps } from '../policy/maps.ts';
import { quickly } from './grace-periods.ts';
import { HostRows } from './host-rows.ts';
import type {
  DatapathCounter,
  DatapathEvent,
  DatapathSettings,
  MonitorWish,
  NetworkDevice,
  NodeDatapath,
} from './ports.ts';

/** Scope 1 of identities: prefixes of this node's policies. */
const isLocal = (identity: number): boolean => scopeOf(NumericIdentity(identity)) !== 'global';

/**
 * The real datapath. Settings are constants of the programs, so other settings mean programs loaded
 * anew around the same maps; each program on a device is exchanged in one step, under traffic.
 */
export class EbpfDatapath implements NodeDatapath {
  readonly programs: EndpointPrograms;
  readonly enforcement: EnforcementMaps;
  readonly ipcache: IpcacheMaps;
  readonly #config: AgentConfig;
  readonly #features: Features;
  readonly #log: Log;
  readonly #chained = new Set<string>();
  #listener: (event: DatapathEvent) => void = () => {};
  #wish: MonitorWish = { verdicts: false, traces: false };
  #current: Datapath;
  #reader: Disposable | undefined;
  readonly #hostRows: HostRows;
  #policed: ReadonlySet<string> = new Set();

  constructor(config: AgentConfig, features: Features, log: Log, settings: DatapathSettings) {
    this.#config = config;
    this.#features = features;
    this.#log = log;
    ensureBpffs(config.bpffs);
    this.#current = this.#open(settings);
    // Whoever holds one of these holds it over a change of settings: each call asks what is current.
    const now = () => this.#current;
    this.#hostRows = new HostRows(now, config.hostEndpoint.enabled);
    this.programs = {
      attach: (name, index) => {
        if (!isPodDevice(name)) this.#chained.add(name);
        quickly(() => now().attachPod(name, index));
      },
      detach: (name) => {
        this.#chained.delete(name);
        quickly(() => now().detachPod(name));
      },
      attached: (name, index) => now().podAttached(name, index),
      devices: () =>
        now()
          .attachedDevices()
          .map(({ ifname }) => ifname)
          .filter((name) => isPodDevice(name) || this.#chained.has(name)),
    };
    this.enforcement = {
      applySet: (change) => {
        now().enforcement.applySet(change);
        this.#hostRows.written(change);
      },
      knownSet: (policyId) => now().enforcement.knownSet(policyId),
      putEndpoint: (row) => now().enforcement.putEndpoint(row),
      deleteEndpoint: (address) => now().enforcement.deleteEndpoint(address),
      endpoint: (address) => now().enforcement.endpoint(address),
      endpoints: () => now().enforcement.endpoints(),
      prune: (keep) => now().enforcement.prune(this.#hostRows.keeping(keep)),
    };
    this.ipcache = {
      putAll: (rows) => now().ipcache.putAll(rows),
      putHosts: (batch) => now().ipcache.putHosts(batch),
      deleteAll: (prefixes) => now().ipcache.deleteAll(prefixes),
      prefixes: (known) => now().ipcache.prefixes(known),
      *localIdentities() {
        for (const [prefix, { identity }] of now().ipcache.entries(isLocal)) {
          yield [prefix, identity] as const;
        }
      },
    };
  }

  applyService(operation: MapOperation): void {
    this.#current.services.apply(operation);
  }

  applyEgress(routes: readonly EgressRoute[]): void {
    this.#current.egress.replace(routes);
  }

  pruneServices(): number {
    return this.#current.services.prune();
  }

  serviceAssignment(): Assignment {
    const { services } = this.#current;
    const ranges = Map.groupBy(services.sourceRanges(), ({ serviceId }) => serviceId);
    return {
      services: Array.from(
        services.services(),
        ({ address, port, protocol, serviceId, generation, slots, localSlots }) => ({
          key: frontendKey(address as Address, port, protocol),
          address: address as Address,
          port,
          protocol,
          serviceId,
          generation,
          slots,
          localSlots,
          sourceRanges: (ranges.get(serviceId) ?? []).map(({ prefix }) => prefix),
        }),
      ),
      backends: Array.from(services.backends(), ({ backendId, address, port, protocol }) => ({
        key: socketKey(address as Address, port, protocol),
        backendId,
      })),
    };
  }

  configure(settings: DatapathSettings): void {
    const before = this.#current;
    // The new ones stand on every device before the old ones are let go.
    this.#current = this.#open(settings);
    before[Symbol.dispose]();
  }

  setDevices(devices: readonly NetworkDevice[]): void {
    const wanted = new Set(devices.map(({ name }) => name));
    for (const { index, name, ipv4, ipv6 } of devices) {
      this.#current.attachDevice('network', {
        ifindex: index,
        ifname: name,
        ...(ipv4 === undefined ? {} : { ipv4 }),
        ...(ipv6 === undefined ? {} : { ipv6 }),
      });
    }
    for (const { ifname } of this.#current.attachedDevices()) {
      const own =
        [HOST_DEVICE, VXLAN_DEVICE].includes(ifname) ||
        isPodDevice(ifname) ||
        this.#chained.has(ifname);
      if (!own && !wanted.has(ifname)) this.#current.detachDevice(ifname);
    }
  }

  setEdge(devices: readonly NetworkDevice[], mode: 'auto' | 'native' | 'generic') {
    const wanted = new Set(devices.map(({ name }) => name));
    for (const { ifname } of this.#current.edgeDevices()) {
      if (!wanted.has(ifname)) this.#current.detachEdge(ifname);
    }
    return devices.map(({ name, index }) =>
      this.#current.attachEdge({ ifname: name, ifindex: index, mode }),
    );
  }

  setHostAddresses(addresses: readonly Address[]): void {
    this.#hostRows.setAddresses(addresses);
  }

  setHostEndpoint(endpoint: HostEndpoint | 'on-trial'): void {
    if (endpoint === 'on-trial') this.#hostRows.putOnTrial();
    else this.#hostRows.setEndpoint(endpoint);
  }

  setHostPolicy(devices: readonly { readonly index: number; readonly name: string }[]): void {
    const wanted = new Set(devices.map(({ name }) => name));
    const former = new Set([...this.#policed, ...this.#current.hostPolicyDevices()]);
    for (const { name, index } of devices)
      this.#current.attachHostPolicy({ ifname: name, ifindex: index });
    for (const name of former) if (!wanted.has(name)) this.#current.detachHostPolicy(name);
    this.#policed = wanted;
  }

  setLifelines(lifelines: readonly Lifeline[]): void {
    this.#current.lifelines.replace(lifelines);
  }

  setProtected(sockets: readonly ProtectedSocket[]): void {
    this.#current.protectedSockets.replace(sockets);
    this.#hostRows.setProtected(sockets);
  }

  setNatExceptions(prefixes: readonly Prefix[]): void {
    this.#current.natExceptions.replace(prefixes);
  }

  setMonitor(wish: MonitorWish): void {
    this.#wish = wish;
    this.#writeMonitor();
  }

  onEvent(listener: (event: DatapathEvent) => void): void {
    this.#listener = listener;
  }

  counters(): DatapathCounter[] {
    return this.#current
      .counters()
      .map(({ kind, ...row }: CounterRow) => ({ ...row, drop: kind === 'drop' }));
  }

  [Symbol.dispose](): void {
    this.#reader?.[Symbol.dispose]();
    this.#current[Symbol.dispose]();
  }

  #open(settings: DatapathSettings): Datapath {
    let opened: Datapath;
    const started = performance.now();
    try {
      opened = openDatapath({
        bpffsRoot: this.#config.bpffs,
        config: datapathConfig(settings),
        limits: mapLimits(this.#config),
        features: this.#features,
        // Endpoints, policies and services are written again; only connections are lost with a map.
        incompatibleMaps: 'replace',
      });
    } catch (cause) {
      if (!(cause instanceof DatapathError || cause instanceof UnsupportedError)) throw cause;
      throw new AgentError(
        'kernel-failed',
        `the datapath cannot be loaded: ${messageWithCauses(cause)}`,
        {
          ...(cause instanceof DatapathError && cause.hint !== undefined
            ? { hint: cause.hint }
            : {}),
          cause,
        },
      );
    }
    this.#log.info(
      { links: opened.updatedLinks.length, ms: Math.round(performance.now() - started) },
      'the programs are loaded',
    );
    if (opened.replacedMaps.length > 0) {
      this.#log.warn(
        { maps: opened.replacedMaps },
        'maps of another size or version were replaced by empty ones',
      );
    }
    try {
      opened.attachDevice('host', { ifindex: settings.hostDevice.index, ifname: HOST_DEVICE });
      const overlay = settings.tunnel ?? settings.egressTunnel;
      if (overlay !== undefined) {
        opened.attachDevice('overlay', { ifindex: overlay.index, ifname: VXLAN_DEVICE });
      }
      if (settings.socketLB.enabled) opened.attachCgroup(this.#config.cgroup ?? unifiedCgroup());
      else opened.detachCgroup();
    } catch (error) {
      opened[Symbol.dispose]();
      throw error;
    }
    this.#reader?.[Symbol.dispose]();
    this.#current = opened;
    this.#reader = opened.readEvents(
      (event) =>
        this.#listener({ ...event, reason: event.reason.name, sentence: event.reason.sentence }),
      (error) =>
        this.#log.error(
          { error: messageWithCauses(error) },
          'an event of the datapath cannot be read',
        ),
    );
    this.#writeMonitor();
    return opened;
  }

  #writeMonitor(): void {
    const types: EventType[] = ['drop'];
    if (this.#wish.verdicts) types.push('verdict');
    if (this.#wish.traces) types.push('trace');
    this.#current.setMonitor(types);
  }
}

function datapathConfig(settings: DatapathSettings): DatapathConfig {
  const ipv4 = settings.families.includes('ipv4');
  const ipv6 = settings.families.includes('ipv6');
  const [first, last] = settings.natPorts;
  return {
    ipv4,
    ipv6,
    host: { ifindex: settings.hostDevice.index, mac: settings.hostDevice.mac },
    gateways: {
      ...(settings.gateways.ipv4 === undefined ? {} : { ipv4: settings.gateways.ipv4 }),
      ...(settings.gateways.ipv6 === undefined ? {} : { ipv6: settings.gateways.ipv6 }),
    },
    ...(settings.tunnel === undefined
      ? {}
      : { overlay: { ifindex: settings.tunnel.index, mtu: settings.tunnel.mtu } }),
    ...(settings.egressTunnel === undefined
      ? {}
      : {
          egressOverlay: {
            ifindex: settings.egressTunnel.index,
            mtu: settings.egressTunnel.mtu,
          },
        }),
    worldByFamily: ipv4 && ipv6,
    masquerade: { ipv4: settings.masquerade && ipv4, ipv6: settings.masquerade && ipv6 },
    natPorts: { first, last },
    allowLocalhost: settings.allowLocalhost,
  };
}

function mapLimits({ limits }: AgentConfig): MapLimits {
  return {
    // A row for each address of a pod, and for each of the node's.
    endpoints: limits.endpoints * 2 + 1024,
    devices: limits.endpoints + 1024,
    ipcache: limits.ipcache,
    conntrack: limits.conntrack,
    nat: limits.nat,
    policy: limits.policy,
    services: limits.services,
    reverseNat: limits.services,
    backends: limits.backends,
    slots: limits.serviceSlots,
    egressRoutes: limits.egressRoutes,
  };
}

/** Where cgroup v2 is mounted; beside v1 controllers it is `/sys/fs/cgroup/unified`. */
function unifiedCgroup(): string {
  for (const line of readFileSync('/proc/mounts', 'utf8').split('\n')) {
    const [, target, type] = line.split(' ');
    if (type === 'cgroup2' && target !== undefined) return target;
  }
  throw new AgentError(
    'missing-feature',
    'no cgroup v2 tree is mounted, which socket load balancing hangs on',
    {
      field: 'cgroup',
      hint: 'mount one, name it in cgroup, or set socketLB.enabled to false',
    },
  );
}
