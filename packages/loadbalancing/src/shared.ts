import { type Address, Address as Addresses } from '@causeway/ip';
import type { Failing } from './catalogue.ts';
import { stateOf } from './derive.ts';
import { ServiceIntake } from './intake.ts';
import {
  type BackendState,
  type Endpoint,
  type Protocol,
  type Service,
  socketKey,
} from './model.ts';
import type { ServingPod } from './parse-endpoints.ts';

export interface NamedPort {
  readonly protocol: Protocol;
  readonly port: number;
}

/** By name, which is empty for a service's only port. */
export type NamedPorts = Readonly<Record<string, NamedPort>>;

/** An address that serves a shared service, as its own cluster sees it. */
export interface SharedBackend {
  readonly address: Address;
  readonly ports: NamedPorts;
  /** `failing`: ready, and its health check speaks against it. */
  readonly state: BackendState | 'failing';
  readonly weight: number;
  readonly zone: string | undefined;
  /** `shop/web-1`. */
  readonly target: string | undefined;
}

/** What other clusters are told of a service. */
export interface SharedService {
  readonly service: Service;
  /** The service's own ports, for people. */
  readonly ports: NamedPorts;
  /** Sorted by address. */
  readonly backends: readonly SharedBackend[];
}

/**
 * The services of this cluster that others may use, with all their backends. It asks nothing of other clusters: what
 * they share is theirs.
 */
export class SharedServices extends ServiceIntake {
  setPod(pod: ServingPod): void {
    this.catalogue.setPod(pod);
  }

  setFailing(node: string, failing: Failing): void {
    this.catalogue.setFailing(node, failing);
  }

  /** Looks at a service again although nothing of what is known here has changed. */
  touch(name: string): void {
    this.catalogue.touch(name);
  }

  /** Services (`shop/web`) that may be others than they were since the last call; undefined: not shared, or gone. */
  take(): Map<string, SharedService | undefined> {
    const { services, addresses } = this.catalogue.takeTouched();
    const names = new Set([...services, ...addresses.keys()]);
    return new Map(Array.from(names, (name) => [name, this.#read(name)]));
  }

  #read(name: string): SharedService | undefined {
    const service = this.catalogue.services.get(name);
    if (service === undefined || !service.mesh.shared || service.type === 'ExternalName') {
      return undefined;
    }
    const failingOf = this.catalogue.failingOf(service);
    const byAddress = Map.groupBy(this.catalogue.endpointsOf(service), ({ address }) => address);
    const ports: Record<string, NamedPort> = {};
    for (const each of service.ports) {
      ports[each.name] = { protocol: each.protocol, port: each.port };
    }
    const shapes = new Map<string, NamedPorts>();
    const backends = Array.from(byAddress, ([address, endpoints]) =>
      readBackend(address, endpoints, failingOf, shapes),
    );
    backends.sort((a, b) => Addresses.compare(a.address, b.address));
    return { service, ports, backends };
  }
}

const RANK: readonly BackendState[] = ['not-ready', 'leaving', 'terminating', 'active'];

function readBackend(
  address: Address,
  endpoints: readonly Endpoint[],
  failingOf: (backend: string, node: string | undefined) => string | undefined,
  shapes: Map<string, NamedPorts>,
): SharedBackend {
  const best = endpoints.reduce((found, each) =>
    RANK.indexOf(stateOf(each)) > RANK.indexOf(stateOf(found)) ? each : found,
  );
  const state = stateOf(best);
  const ports: Record<string, NamedPort> = {};
  let failing = false;
  for (const { portName, protocol, port, node } of endpoints) {
    // Of two ports of one name the first is told, since the form has room for one.
    ports[portName] ??= { protocol, port };
    failing ||= failingOf(socketKey(address, port, protocol), node) !== undefined;
  }
  const { weight, zone, target } = best;
  const text = JSON.stringify(ports);
  const shape = shapes.get(text) ?? ports;
  shapes.set(text, shape);
  const said = state === 'active' && failing ? 'failing' : state;
  return { address, ports: shape, state: said, weight, zone, target };
}
