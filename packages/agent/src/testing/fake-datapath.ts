import type { EgressRoute, HostEndpoint, Lifeline } from '@causeway/datapath';
import { type Address, Address as Addresses, type Prefix, Prefix as Prefixes } from '@causeway/ip';
import type { Assignment, MapOperation } from '@causeway/loadbalancing';
import type { PolicyEntryKey, PolicySetChange } from '@causeway/policy';
import type {
  DatapathCounter,
  DatapathEvent,
  DatapathSettings,
  MonitorWish,
  NetworkDevice,
  NodeDatapath,
} from '../datapath/ports.ts';
import type { ProtectedSocket } from '../ipcache/protected.ts';
import type { IpcacheMaps } from '../ipcache/reconcilers.ts';
import type { IpcacheValue } from '../ipcache/resolve.ts';
import type { EndpointMapRow, EnforcementMaps } from '../policy/maps.ts';
import { FakePrograms } from './fakes.ts';

type Known = Exclude<ReturnType<EnforcementMaps['knownSet']>, undefined>;

/** The kernel's maps as plain maps: what a test reads, and what outlives an agent in one process. */
export class FakeDatapath implements NodeDatapath {
  readonly programs = new FakePrograms();
  readonly endpointRows = new Map<Address, EndpointMapRow>();
  readonly sets = new Map<number, Known & { readonly entries: Map<string, PolicyEntryKey> }>();
  readonly ipcacheRows = new Map<Prefix, IpcacheValue>();
  readonly operations: MapOperation[] = [];
  egressRoutes: readonly EgressRoute[] = [];
  settings: DatapathSettings | undefined;
  loads = 0;
  devices: readonly NetworkDevice[] = [];
  edge: readonly { readonly ifname: string; readonly mode: 'native' | 'generic' }[] = [];
  hosts: readonly Address[] = [];
  hostEndpoint: HostEndpoint | undefined;
  policed: readonly string[] = [];
  lifelines: readonly Lifeline[] = [];
  protectedSockets: readonly ProtectedSocket[] = [];
  natExceptions: readonly Prefix[] = [];
  wish: MonitorWish | undefined;
  /** What the next policy write fails with. */
  full: Error | undefined;
  #listener: (event: DatapathEvent) => void = () => {};

  readonly enforcement: EnforcementMaps = {
    applySet: (change: PolicySetChange) => {
      if (this.full !== undefined) throw this.full;
      if (change.type === 'removed' || change.info === undefined) {
        this.sets.delete(change.policyId);
        return;
      }
      const entries = this.sets.get(change.policyId)?.entries ?? new Map<string, PolicyEntryKey>();
      for (const entry of change.upserts) entries.set(keyText(entry), entry);
      for (const key of change.deletes) entries.delete(keyText(key));
      const { revision, ingress, egress } = change.info;
      this.sets.set(change.policyId, { revision, ingress, egress, entries });
    },
    knownSet: (policyId) => this.sets.get(policyId),
    putEndpoint: (row) => {
      const holder = this.endpointRows.get(row.address);
      if (holder !== undefined && holder.endpointId !== row.endpointId) {
        throw new Error(
          `${row.address} is given twice: ${holder.endpointId} and ${row.endpointId}`,
        );
      }
      this.endpointRows.set(row.address, row);
    },
    deleteEndpoint: (address) => {
      this.endpointRows.delete(address);
    },
    endpoint: (address) => this.endpointRows.get(address),
    endpoints: () => this.endpointRows.values(),
    prune: (keep) => {
      let pruned = 0;
      for (const [policyId, { entries }] of this.sets) {
        for (const [text, key] of entries)
          if (!keep(policyId, key) && entries.delete(text)) pruned++;
        if (!keep(policyId, undefined) && this.sets.delete(policyId)) pruned++;
      }
      return pruned;
    },
  };

  readonly ipcache: IpcacheMaps = {
    putAll: (rows) =>
      rows.map(([prefix, value]) => {
        this.ipcacheRows.set(prefix, value);
        return undefined;
      }),
    putHosts: (batch) => {
      const values = batch.valueBytes();
      for (let row = 0; row < batch.count; row++) {
        const view = new DataView(values.buffer, row * 24);
        const end = values.subarray(row * 24 + 8, row * 24 + 24);
        const flags = view.getUint32(4, true);
        this.ipcacheRows.set(Prefixes.host(batch.address(row)), {
          identity: view.getUint32(0, true),
          tunnelEndpoint: end.some((byte) => byte !== 0) ? Addresses.fromBytes(end) : undefined,
          noMasquerade: (flags & 2) !== 0,
          isProtected: (flags & 1) !== 0,
          isNode: (flags & 4) !== 0,
        });
      }
      return undefined;
    },
    deleteAll: (prefixes) => {
      for (const prefix of prefixes) this.ipcacheRows.delete(prefix);
    },
    prefixes: (known) =>
      [...this.ipcacheRows.keys()].filter(
        (prefix) =>
          !Prefixes.isHost(prefix) || !known?.(Addresses.toBytes16(Prefixes.address(prefix))),
      ),
    localIdentities: () =>
      [...this.ipcacheRows]
        .filter(([, { identity }]) => identity >>> 24 !== 0)
        .map(([prefix, { identity }]) => [prefix, identity] as const),
  };

  applyService(operation: MapOperation): void {
    this.operations.push(operation);
  }
  applyEgress(routes: readonly EgressRoute[]): void {
    this.egressRoutes = routes;
  }
  pruneServices(): number {
    return 0;
  }
  serviceAssignment(): Assignment {
    return { services: [], backends: [] };
  }
  configure(settings: DatapathSettings): void {
    this.settings = settings;
    this.loads++;
  }
  setDevices(devices: readonly NetworkDevice[]): void {
    this.devices = devices;
  }
  setEdge(devices: readonly NetworkDevice[]) {
    this.edge = devices.map(({ name }) => ({ ifname: name, mode: 'generic' as const }));
    return this.edge;
  }
  setHostAddresses(addresses: readonly Address[]): void {
    this.hosts = addresses;
  }
  setHostEndpoint(endpoint: HostEndpoint | 'on-trial'): void {
    if (endpoint !== 'on-trial') this.hostEndpoint = endpoint;
    else if (this.hostEndpoint !== undefined)
      this.hostEndpoint = { ...this.hostEndpoint, ingress: 'off', egress: 'off' };
  }
  setHostPolicy(devices: readonly { readonly name: string }[]): void {
    this.policed = devices.map(({ name }) => name);
  }
  setLifelines(lifelines: readonly Lifeline[]): void {
    this.lifelines = lifelines;
  }
  setProtected(sockets: readonly ProtectedSocket[]): void {
    this.protectedSockets = sockets;
  }
  setNatExceptions(prefixes: readonly Prefix[]): void {
    this.natExceptions = prefixes;
  }
  setMonitor(wish: MonitorWish): void {
    this.wish = wish;
  }
  onEvent(listener: (event: DatapathEvent) => void): void {
    this.#listener = listener;
  }
  emit(event: DatapathEvent): void {
    this.#listener(event);
  }
  counters(): DatapathCounter[] {
    return [];
  }
  [Symbol.dispose](): void {}
}

const keyText = (key: PolicyEntryKey): string =>
  `${key.direction} ${key.identity} ${key.protocol} ${key.prefixLength} ${key.port}`;
