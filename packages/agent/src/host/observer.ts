import type { Log } from '@causeway/daemon';
import { Address } from '@causeway/ip';
import { causewayProtocol, type RtEvent, RtMonitor, type RtSocket } from '@causeway/linux';
import type { Table } from '@causeway/tables';
import type { DeviceView } from './devices.ts';
import { HOST_DEVICE, HOST_PEER, isOwnDevice, isPodDevice, VXLAN_DEVICE } from './names.ts';
import { MAIN_TABLE } from './route-view.ts';

/** Events come in crowds; what they say is looked at once they have settled. */
const SETTLE_MS = 30;
/** Until what broke is tried again. */
const RETRY_MS = 1_000;

export interface ObserverOptions {
  readonly socket: RtSocket;
  readonly devices: Table<DeviceView, number>;
  /** Something of ours changed that we may not have changed: look again at what the tables want. */
  readonly onDrift: () => void;
  readonly log: Log;
}

/** Keeps the table of devices equal to the kernel's, and notices when somebody touches what is ours. */
export class HostObserver implements Disposable {
  readonly #options: ObserverOptions;
  #monitor: RtMonitor | undefined;
  #timer: NodeJS.Timeout | undefined;
  #reopening: NodeJS.Timeout | undefined;
  #devicesDirty = false;
  #drifted = false;

  constructor(options: ObserverOptions) {
    this.#options = options;
    this.#monitor = this.#follow();
    this.observe();
  }

  #follow(): RtMonitor {
    return new RtMonitor({
      groups: ['link', 'address', 'route'],
      ownRoutes: causewayProtocol,
      onEvent: (event) => this.#event(event),
      onError: (error) => this.#broken(error),
    });
  }

  /** What happened meanwhile nobody told: after the new start everything is looked at. */
  #broken(error: unknown): void {
    this.#options.log.error({ error: String(error) }, 'the watch on links and routes broke');
    this.#monitor = undefined;
    this.#reopening = setTimeout(() => {
      try {
        this.#monitor = this.#follow();
        this.#mark('both');
      } catch (again) {
        this.#broken(again);
      }
    }, RETRY_MS);
  }

  /** Reads the devices now. */
  observe(): void {
    this.#options.devices.replace(readDevices(this.#options.socket));
  }

  #event(event: RtEvent): void {
    switch (event.type) {
      case 'link':
        if (isPodDevice(event.link.name)) return;
        if (isOwnDevice(event.link.name)) this.#mark('drift');
        else this.#mark('both');
        return;
      case 'address':
        this.#mark('both');
        return;
      case 'route':
        // Of ours only deletions are told.
        if (event.route.protocol === causewayProtocol) this.#mark('drift');
        else if (event.route.destination === undefined) this.#mark('devices');
        return;
      case 'resync':
        this.#mark('both');
        return;
      case 'neighbour':
      case 'rule':
        return;
      default:
        event satisfies never;
    }
  }

  #mark(what: 'devices' | 'drift' | 'both', ms = SETTLE_MS): void {
    if (what !== 'drift') this.#devicesDirty = true;
    if (what !== 'devices') this.#drifted = true;
    this.#timer ??= setTimeout(() => this.#settle(), ms);
  }

  #settle(): void {
    this.#timer = undefined;
    const drifted = this.#drifted;
    this.#drifted = false;
    try {
      if (this.#devicesDirty) this.observe();
      this.#devicesDirty = false;
    } catch (error) {
      this.#options.log.error({ error: String(error) }, 'cannot read the devices');
      this.#mark('devices', RETRY_MS);
    }
    if (drifted) this.#options.onDrift();
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
    clearTimeout(this.#reopening);
    this.#monitor?.close();
  }
}

/** Every device but ours, with its global addresses. */
export function readDevices(socket: RtSocket): DeviceView[] {
  const addresses = socket.addresses();
  const defaults = new Set<number>();
  const gateways = new Map<number, Address[]>();
  const leads = (ifindex: number | undefined, gateway: Uint8Array | undefined) => {
    if (ifindex === undefined) return;
    defaults.add(ifindex);
    if (gateway === undefined) return;
    gateways.set(ifindex, [...(gateways.get(ifindex) ?? []), Address.fromBytes(gateway)]);
  };
  for (const route of socket.routes({ table: MAIN_TABLE, prefixLength: 0 })) {
    leads(route.ifindex, route.via);
    for (const hop of route.nextHops) leads(hop.ifindex, hop.via);
  }
  return socket
    .links()
    .filter(
      (link) =>
        !isPodDevice(link.name) && ![HOST_DEVICE, HOST_PEER, VXLAN_DEVICE].includes(link.name),
    )
    .map((link) => ({
      index: link.index,
      name: link.name,
      mac: link.mac,
      mtu: link.mtu,
      up: link.up,
      loopback: link.loopback,
      hasDefaultRoute: defaults.has(link.index),
      ...(gateways.has(link.index) ? { defaultGateways: gateways.get(link.index)! } : {}),
      addresses: addresses
        .filter(({ ifindex }) => ifindex === link.index)
        .map(({ address, prefixLength }) => ({
          address: Address.fromBytes(address),
          prefixLength,
        })),
    }));
}
