import { Address } from '@causeway/ip';
import { MeshError } from '../errors.ts';
import { GoObject, goJson, goMap } from './go-json.ts';

export interface ServicePortValue {
  readonly protocol: 'TCP' | 'UDP' | 'SCTP';
  readonly port: number;
}

/** By address, then by port name (which may be empty). */
export type PortsByAddress = Readonly<Record<string, Readonly<Record<string, ServicePortValue>>>>;

/** `cilium/state/services/v1/<c>/<namespace>/<name>` (section 1.8). */
export interface ServiceValue {
  readonly cluster: string;
  readonly clusterId: number;
  readonly namespace: string;
  readonly name: string;
  readonly frontends: PortsByAddress;
  readonly backends: PortsByAddress;
  /** By backend address. */
  readonly hostnames: Readonly<Record<string, string>>;
  readonly zones: Readonly<Record<string, BackendZone>>;
  readonly labels: Readonly<Record<string, string>>;
  readonly selector: Readonly<Record<string, string>>;
  readonly includeExternal: boolean;
  /** False on a known service is its deletion. */
  readonly shared: boolean;
}

export interface BackendZone {
  readonly zone: string;
  readonly forZones: readonly string[];
}

export function encodeService(service: ServiceValue): string {
  const zones = Object.entries(service.zones).map(([address, { zone, forZones }]) => [
    address,
    { zone, forZones: forZones.length === 0 ? null : forZones.map((name) => ({ name })) },
  ]);
  return goJson({
    cluster: service.cluster,
    namespace: service.namespace,
    name: service.name,
    frontends: encodePorts(service.frontends),
    backends: encodePorts(service.backends),
    ...(isEmpty(service.hostnames) ? {} : { hostnames: goMap(service.hostnames) }),
    ...(isEmpty(service.zones) ? {} : { zones: goMap(Object.fromEntries(zones)) }),
    labels: goMap(service.labels),
    selector: goMap(service.selector),
    includeExternal: service.includeExternal,
    shared: service.shared,
    clusterID: service.clusterId,
  });
}

const isEmpty = (map: object): boolean => Object.keys(map).length === 0;

function encodePorts(ports: PortsByAddress) {
  const encoded = Object.entries(ports).map(([address, named]) => [
    address,
    goMap(
      Object.fromEntries(
        Object.entries(named).map(([name, { protocol, port }]) => [
          name,
          { Protocol: protocol, Port: port },
        ]),
      ),
    ),
  ]);
  return goMap(Object.fromEntries(encoded));
}

export function decodeService(text: string): ServiceValue {
  const object = GoObject.parse(text);
  const required = (field: string): string => {
    const value = object.string(field);
    if (value === '') throw new MeshError('bad-value', `${field} must not be empty`, value, field);
    return value;
  };
  return {
    cluster: required('cluster'),
    namespace: required('namespace'),
    name: required('name'),
    clusterId: object.uint('clusterID', 32),
    frontends: decodePorts(object, 'frontends'),
    backends: decodePorts(object, 'backends'),
    hostnames: object.strings('hostnames') ?? {},
    zones:
      object.map('zones', (value, path) => {
        const zone = GoObject.of(value ?? {}, path);
        return {
          zone: zone.string('zone'),
          forZones: zone.objects('forZones').map((each) => each.string('name')),
        };
      }) ?? {},
    labels: object.strings('labels') ?? {},
    selector: object.strings('selector') ?? {},
    includeExternal: object.boolean('includeExternal'),
    shared: object.boolean('shared'),
  };
}

const PROTOCOLS: readonly string[] = ['TCP', 'UDP', 'SCTP'];

function decodePorts(object: GoObject, field: string): PortsByAddress {
  const found = object.map(field, (value, path) => {
    const ports = GoObject.of({ ports: value }, path).map('ports', (port, at) => {
      const one = GoObject.of(port, at);
      const protocol = one.string('Protocol');
      if (!PROTOCOLS.includes(protocol)) {
        throw new MeshError('bad-value', `${at}.Protocol must be TCP, UDP or SCTP`, protocol, at);
      }
      return { protocol: protocol as ServicePortValue['protocol'], port: one.uint('Port', 16) };
    });
    return ports ?? {};
  });
  for (const address of Object.keys(found ?? {})) {
    if (Address.tryParse(address) !== undefined) continue;
    const message = `${field} key ${JSON.stringify(address)} is not an IP address`;
    throw new MeshError('bad-value', message, address, field);
  }
  return found ?? {};
}
