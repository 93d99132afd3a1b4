import { Address, Prefix } from '@causeway/ip';
import { MeshError } from '../errors.ts';
import { decodeMask, encodeMask, optionalAddress, requireAddress } from './cidr.ts';
import { GoObject, goJson } from './go-json.ts';

export interface NamedPort {
  readonly name: string;
  readonly port: number;
  readonly protocol: 'TCP' | 'UDP' | 'SCTP';
}

/** `cilium/state/ip/v1/default/<ip>` (section 1.7). */
export interface IpValue {
  /** An address, or a prefix for an entry with a mask: exactly the end of its key. */
  readonly address: Address | Prefix;
  /** Tunnel endpoint and encryption peer; only a host that decapsulates. */
  readonly hostIP: Address | undefined;
  readonly identity: number;
  /** 0 none, IPsec key index, 255 WireGuard. */
  readonly encryptionKey: number;
  readonly metadata: string;
  readonly namespace: string;
  readonly pod: string;
  readonly serviceAccount: string;
  readonly namedPorts: readonly NamedPort[];
}

export const NO_PORTS: readonly NamedPort[] = Object.freeze([]);

/** The text that agents put into `metadata`; readers ignore it. */
export const ipMetadata = (node: string, endpoint: number): string =>
  `cilium-global:default:${node}:${endpoint}`;

export function encodeIp(entry: IpValue): string {
  const prefix = entry.address.includes('/') ? (entry.address as Prefix) : undefined;
  return goJson({
    IP: prefix === undefined ? entry.address : Prefix.address(prefix),
    // Not "": that would decode to a /0.
    Mask: prefix === undefined ? null : encodeMask(prefix),
    HostIP: entry.hostIP ?? '',
    ID: entry.identity,
    Key: entry.encryptionKey,
    Metadata: entry.metadata,
    ...(entry.namespace === '' ? {} : { K8sNamespace: entry.namespace }),
    ...(entry.pod === '' ? {} : { K8sPodName: entry.pod }),
    ...(entry.serviceAccount === '' ? {} : { K8sServiceAccount: entry.serviceAccount }),
    ...(entry.namedPorts.length === 0
      ? {}
      : {
          NamedPorts: entry.namedPorts.map(({ name, port, protocol }) => ({
            Name: name,
            Port: port,
            Protocol: protocol,
          })),
        }),
  });
}

export function decodeIp(text: string): IpValue {
  const object = GoObject.parse(text);
  const ip = requireAddress(object.string('IP'), 'IP');
  const mask = object.raw('Mask');
  return {
    address: mask === undefined ? ip : withMask(ip, object.string('Mask')),
    hostIP: optionalAddress(object.string('HostIP'), 'HostIP'),
    identity: object.uint('ID', 32),
    encryptionKey: object.uint('Key', 8),
    metadata: object.string('Metadata'),
    namespace: object.string('K8sNamespace'),
    pod: object.string('K8sPodName'),
    serviceAccount: object.string('K8sServiceAccount'),
    namedPorts: decodePorts(object.array('NamedPorts')),
  };
}

function withMask(ip: Address, mask: string): Prefix {
  const length = decodeMask(mask, Address.width(Address.family(ip)), 'Mask');
  const prefix = Prefix.from(ip, length);
  if (Prefix.address(prefix) !== ip) {
    throw new MeshError('bad-value', `IP ${ip} has bits beyond its mask /${length}`, ip, 'IP');
  }
  return prefix;
}

const PROTOCOLS: readonly string[] = ['TCP', 'UDP', 'SCTP'];

/** A bad port is dropped alone, as Cilium does: the address must not go unknown for it. */
export function decodePorts(given: readonly unknown[]): readonly NamedPort[] {
  if (given.length === 0) return NO_PORTS;
  const ports: NamedPort[] = [];
  for (const each of given.slice(0, 1000)) {
    try {
      const one = GoObject.of(each, 'NamedPorts');
      const port = one.uint('Port', 16);
      const name = one.string('Name');
      const protocol = one.string('Protocol') || 'TCP';
      if (port === 0 || name === '' || name.length > 15 || !PROTOCOLS.includes(protocol)) continue;
      ports.push({ name, port, protocol: protocol as NamedPort['protocol'] });
    } catch (error) {
      if (!(error instanceof MeshError)) throw error;
    }
  }
  return ports;
}
