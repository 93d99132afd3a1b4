import { Address } from '@causeway/ip';
import { MeshError } from '../errors.ts';
import { GoObject, goJson, goMap } from './go-json.ts';
import type { ServicePortValue } from './service.ts';

/** Backends of one shard; a change of one of thousands moves so many of them. */
export const SHARD_SIZE = 64;

/** More than any service has: 262,144 backends. */
export const MAX_SHARDS = 4096;

/**
 * What the owner knows of a backend. `active`: takes connections. `not-ready`: is counted, but takes none. `failing`:
 * its health check speaks against it; it keeps what it has. `terminating`: it drains and would still serve if nothing
 * else did. `draining`: it drains and serves no more.
 */
export type ShardBackendState = 'active' | 'not-ready' | 'failing' | 'terminating' | 'draining';

const STATES: readonly string[] = ['active', 'not-ready', 'failing', 'terminating', 'draining'];

export interface ShardBackend {
  readonly address: Address;
  /** By port name, which may be empty. Backends with the same ports share one object. */
  readonly ports: ShardPorts;
  readonly state: ShardBackendState;
  /** 0 to 100, its part of connections relative to the others of its service; 0: none. */
  readonly weight: number;
  /** Empty: unknown. */
  readonly zone: string;
  /** The pod, for people; empty: unknown. */
  readonly target: string;
}

export type ShardPorts = Readonly<Record<string, ServicePortValue>>;

/**
 * `causeway/state/service-backends/v1/<c>/<namespace>/<name>/<shard>`: a part of a shared service's backends. Our own
 * extension, beside Cilium's key that holds them all: no reader of that one sees it. Shard 0 is there as long as the
 * service is shared, also without backends.
 */
export interface ServiceShardValue {
  readonly cluster: string;
  readonly clusterId: number;
  readonly namespace: string;
  readonly name: string;
  readonly shard: number;
  /** In shard 0: how many backends of a port and family the owner says it should have; 0: as many as it lists. */
  readonly expected: number;
  /** At most SHARD_SIZE, each address once. */
  readonly backends: readonly ShardBackend[];
}

const DEFAULT_WEIGHT = 100;

/** The same text for the same value, whatever objects it is made of. */
export function encodeServiceShard(shard: ServiceShardValue): string {
  const portSets: ReturnType<typeof encodePorts>[] = [];
  const byText = new Map<string, number>();
  const byObject = new Map<ShardPorts, number>();
  const indexOf = (ports: ShardPorts): number => {
    let index = byObject.get(ports);
    if (index === undefined) {
      const encoded = encodePorts(ports);
      const text = goJson(encoded);
      index = byText.get(text);
      if (index === undefined) {
        index = portSets.push(encoded) - 1;
        byText.set(text, index);
      }
      byObject.set(ports, index);
    }
    return index;
  };
  const backends = shard.backends.map(({ address, ports, state, weight, zone, target }) => {
    const index = indexOf(ports);
    return {
      ip: address,
      ...(index === 0 ? {} : { ports: index }),
      ...(state === 'active' ? {} : { state }),
      ...(weight === DEFAULT_WEIGHT ? {} : { weight }),
      ...(zone === '' ? {} : { zone }),
      ...(target === '' ? {} : { target }),
    };
  });
  return goJson({
    cluster: shard.cluster,
    clusterID: shard.clusterId,
    namespace: shard.namespace,
    name: shard.name,
    shard: shard.shard,
    ...(shard.expected === 0 ? {} : { expected: shard.expected }),
    portSets,
    backends,
  });
}

const encodePorts = (ports: ShardPorts) =>
  goMap(
    Object.fromEntries(
      Object.entries(ports).map(([name, { protocol, port }]) => [
        name,
        { Protocol: protocol, Port: port },
      ]),
    ),
  );

/** @throws MeshError `bad-value` that names the field. */
export function decodeServiceShard(text: string): ServiceShardValue {
  const object = GoObject.parse(text);
  const required = (field: string): string => {
    const value = object.string(field);
    if (value === '') throw bad(field, 'must not be empty', value);
    return value;
  };
  const shard = object.uint('shard', 32);
  if (shard >= MAX_SHARDS) throw bad('shard', `must be below ${MAX_SHARDS}`, shard);
  const portSets = object.array('portSets').map((each, i) => decodePorts(each, `portSets[${i}]`));
  const list = object.array('backends');
  if (list.length > SHARD_SIZE) {
    throw bad('backends', `has ${list.length} members, at most ${SHARD_SIZE} are taken`);
  }
  const seen = new Set<Address>();
  const backends = list.map((each, i) => {
    const backend = decodeBackend(each, `backends[${i}]`, portSets);
    if (seen.has(backend.address)) {
      throw bad(`backends[${i}].ip`, `repeats ${backend.address}`, backend.address);
    }
    seen.add(backend.address);
    return backend;
  });
  return {
    cluster: required('cluster'),
    clusterId: object.uint('clusterID', 32),
    namespace: required('namespace'),
    name: required('name'),
    shard,
    expected: object.uint('expected', 32),
    backends,
  };
}

function decodeBackend(value: unknown, path: string, sets: readonly ShardPorts[]): ShardBackend {
  const object = GoObject.of(value, path);
  const text = object.string('ip');
  const address = Address.tryParse(text);
  if (address === undefined) throw bad(`${path}.ip`, 'is not an IP address', text);
  const index = object.uint('ports', 16);
  const ports = sets[index];
  if (ports === undefined) throw bad(`${path}.ports`, `${index} is not one of portSets`, index);
  const state = object.string('state') || 'active';
  if (!STATES.includes(state)) {
    throw bad(`${path}.state`, `must be one of ${STATES.join(', ')}`, state);
  }
  const weight = object.raw('weight') === undefined ? DEFAULT_WEIGHT : object.uint('weight', 8);
  if (weight > 100) throw bad(`${path}.weight`, 'must be 0 to 100', weight);
  return {
    address,
    ports,
    state: state as ShardBackendState,
    weight,
    zone: object.string('zone'),
    target: object.string('target'),
  };
}

const PROTOCOLS: readonly string[] = ['TCP', 'UDP', 'SCTP'];

function decodePorts(value: unknown, path: string): ShardPorts {
  const ports = GoObject.of({ ports: value }, path).map('ports', (each, at) => {
    const port = GoObject.of(each, at);
    const protocol = port.string('Protocol');
    if (!PROTOCOLS.includes(protocol)) {
      throw bad(`${at}.Protocol`, 'must be TCP, UDP or SCTP', protocol);
    }
    return { protocol: protocol as ServicePortValue['protocol'], port: port.uint('Port', 16) };
  });
  return ports ?? {};
}

const bad = (field: string, what: string, value?: unknown): MeshError =>
  new MeshError('bad-value', `${field} ${what}`, value, field);
