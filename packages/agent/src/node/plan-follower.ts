import { type Log, messageWithCauses } from '@causeway/daemon';
import { Address, Mac } from '@causeway/ip';
import type { Labels } from '@causeway/resources';
import type { BlockKeeper } from '../addresses/keeper.ts';
import type { HealthRow } from '../api/types.ts';
import type { AgentConfig } from '../config/schema.ts';
import type { DatapathSettings, NetworkDevice, NodeDatapath } from '../datapath/ports.ts';
import { edgeRole } from '../edge/role.ts';
import type { EndpointTable } from '../endpoints/table.ts';
import { addressesOf } from '../host/devices.ts';
import { HOST_DEVICE, VXLAN_DEVICE } from '../host/names.ts';
import type { HostNetwork } from '../host/network.ts';
import type { HostPlan } from '../host/planner.ts';

const RETRY_MS = 1_000;

export interface PlanFollowerOptions {
  readonly config: AgentConfig;
  readonly host: HostNetwork;
  readonly datapath: NodeDatapath;
  /** Of this node, as the store has them. */
  readonly labels: () => Labels;
  /** What the programs were loaded with. */
  readonly loaded: DatapathSettings;
  readonly settings: (plan: HostPlan) => DatapathSettings;
  /** A device of ours, if it is there. */
  readonly ownDevice: (
    name: string,
  ) => { readonly index: number; readonly name: string } | undefined;
  readonly blocks: Pick<BlockKeeper, 'problem'>;
  readonly endpoints: EndpointTable;
  readonly log: Log;
}

/** Carries the node's plan on: to the programs, and to their devices and maps. */
export class PlanFollower {
  readonly #options: PlanFollowerOptions;
  readonly #told = new Map<string, string>();
  #settings: string;
  #held: readonly Address[] = [];
  #edge: ReturnType<NodeDatapath['setEdge']> = [];
  #edgeProblem: string | undefined;
  #datapathProblem: string | undefined;

  constructor(options: PlanFollowerOptions) {
    this.#options = options;
    this.#settings = JSON.stringify(options.loaded);
  }

  /** XDP at the edge, where this node has it; what is wrong with it keeps no pod waiting. */
  health(): HealthRow[] {
    const problem = this.#edgeProblem;
    if (problem === undefined && this.#edge.length === 0) return [];
    const modes = this.#edge.map(({ ifname, mode }) => `${ifname} ${mode}`).join(', ');
    return [{ name: 'edge-xdp', healthy: problem === undefined, detail: problem ?? modes }];
  }

  /** What keeps pods from being attached. */
  problems(): string[] {
    const { plan } = this.#options.host;
    return [...plan.problems, this.#datapathProblem, this.#options.blocks.problem].filter(
      (problem) => problem !== undefined,
    );
  }

  /** Addresses that no device has and this node answers for: those of egress policies. */
  setHeld(addresses: readonly Address[]): void {
    this.#held = addresses;
    this.follow(this.#options.host.plan);
  }

  follow(plan: HostPlan): void {
    const { host, log } = this.#options;
    try {
      this.#configure(plan);
      this.#tellDatapath(plan);
      this.#datapathProblem = undefined;
    } catch (error) {
      this.#datapathProblem = `the datapath: ${messageWithCauses(error)}`;
      log.error({ error: messageWithCauses(error) }, 'the datapath cannot follow the plan');
      // Somebody may be at work on the devices: look again soon.
      setTimeout(() => host.replan(), RETRY_MS).unref();
    }
  }

  #tellDatapath(plan: HostPlan): void {
    const { config, datapath, host } = this.#options;
    const devices = plan.devices.map((device) => networkDevice(device, config.families));
    this.#tell('devices', devices, (value) => datapath.setDevices(value));
    const gateways = plan.gateways.map(({ gateway }) => gateway);
    const hosts = addressesOf([...host.tables.devices.rows()]);
    this.#tell('hosts', [...new Set([...hosts, ...gateways, ...this.#held])], (value) =>
      datapath.setHostAddresses(value),
    );
    this.#tellEdge(devices);
    // Own pods' traffic and what comes out of tunnels goes by the first, what goes into them by the second.
    const inner = [HOST_DEVICE, VXLAN_DEVICE].flatMap(
      (name) => this.#options.ownDevice(name) ?? [],
    );
    const policed = config.hostEndpoint.enabled ? [...devices, ...inner] : [];
    this.#tell(
      'host-policy',
      policed.map(({ index, name }) => ({ index, name })),
      (value) => datapath.setHostPolicy(value),
    );
    const native = [...config.nativeRoutingCIDRs, ...config.masquerade.exceptions];
    const own = plan.gateways.map(({ prefix }) => prefix);
    this.#tell('exceptions', [...native, ...own, ...plan.directCIDRs], (value) =>
      datapath.setNatExceptions(value),
    );
  }

  #tellEdge(devices: readonly NetworkDevice[]): void {
    const { config, datapath, labels, log } = this.#options;
    const role = edgeRole(labels());
    const mode = config.loadBalancing.edgeXDP;
    const isEdge = (role === 'edge' || role === 'draining') && mode !== 'off';
    try {
      this.#tell('edge', isEdge ? devices : [], (value) => {
        this.#edge = datapath.setEdge(value, mode === 'off' ? 'auto' : mode);
        if (value.length > 0) log.info({ devices: this.#edge }, 'services are taken in XDP');
      });
      this.#edgeProblem = undefined;
    } catch (error) {
      const problem = `no XDP, the programs behind it do its work: ${messageWithCauses(error)}`;
      if (this.#edgeProblem !== problem) log.error({ error: problem }, 'an edge device');
      this.#edgeProblem = problem;
    }
  }

  /** Plans come often and mostly say the same again: the kernel is told only what is new. */
  #tell<T>(what: string, value: T, tell: (value: T) => void): void {
    const text = JSON.stringify(value);
    if (this.#told.get(what) === text) return;
    this.#told.delete(what);
    tell(value);
    this.#told.set(what, text);
  }

  #configure(plan: HostPlan): void {
    const { datapath, endpoints, settings } = this.#options;
    const wanted = settings(plan);
    const text = JSON.stringify(wanted);
    if (text === this.#settings) return;
    datapath.configure(wanted);
    this.#settings = text;
    this.#told.clear();
    // Links have the new programs by now; filters, on kernels without links, get them one by one.
    const { programs } = datapath;
    for (const { record, state } of endpoints.rows()) {
      const { hostIfname, hostIfindex } = record;
      if (state === 'ready' && !programs.attached(hostIfname, hostIfindex)) {
        programs.attach(hostIfname, hostIfindex);
      }
    }
  }
}

function networkDevice(
  device: HostPlan['devices'][number],
  families: readonly string[],
): NetworkDevice {
  const address = (family: 'ipv4' | 'ipv6') =>
    families.includes(family)
      ? addressesOf([device]).find((each) => Address.family(each) === family)
      : undefined;
  return {
    index: device.index,
    name: device.name,
    mac: Mac.fromBytes(device.mac),
    ipv4: address('ipv4'),
    ipv6: address('ipv6'),
  };
}
