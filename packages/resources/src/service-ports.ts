import type { ResourceIssue } from './errors.ts';
import { ResourceError } from './errors.ts';
import type { Service } from './schema/service.ts';
import { nameOf, refusal } from './validate.ts';

/** Kubernetes' default `--service-node-port-range`. */
export const NODE_PORT_RANGE = Object.freeze({ first: 30_000, last: 32_767 });
/** KEP-3668: ports that are chosen come from behind these as long as there are any; people ask for the first ones. */
const ASKED_FOR = 86;

export interface NodePort {
  readonly protocol: 'TCP' | 'UDP' | 'SCTP';
  readonly port: number;
}

/** One port of a service's nodes: asked for, kept from before, or still to be chosen. */
export type PortWish =
  | {
      readonly type: 'explicit' | 'kept';
      readonly path: string;
      /** Ports of one number and two protocols, as DNS has them, are given one number if that can be. */
      readonly servicePort: number | undefined;
      readonly port: NodePort;
    }
  | {
      readonly type: 'any';
      readonly path: string;
      readonly servicePort: number | undefined;
      readonly protocol: NodePort['protocol'];
    };

/** What a service needs of the nodes' ports before it can be written. */
export interface PortPlan {
  /** Of `spec.ports` in their order, and the health check's behind them. */
  readonly wishes: readonly PortWish[];
  /** Ports of the stored service that the new one has no use for. */
  readonly released: readonly NodePort[];
  /** The service with these ports, one for each wish. */
  finish(service: Service, ports: readonly NodePort[]): Service;
}

type Ports = NonNullable<Service['spec']['ports']>;

/** Kubernetes' rules for node ports. Throws ResourceError `invalid` or `immutable`. */
export function planNodePorts(next: Service, stored: Service | undefined): PortPlan {
  const { spec } = next;
  const ports = spec.ports ?? [];
  const open = spec.type === 'NodePort' || spec.type === 'LoadBalancer';
  const wanted = open && (spec.type === 'NodePort' || spec.allocateLoadBalancerNodePorts !== false);
  const checked = asksHealthCheck(next);
  const wishes: (PortWish & { readonly index: number | 'health' })[] = [];
  for (const [index, each] of ports.entries()) {
    const path = `spec.ports[${index}].nodePort`;
    const before = stored?.spec.ports?.find((old) => samePort(old, each))?.nodePort || undefined;
    const asked = each.nodePort || undefined;
    if (!open) {
      // Of a service that was open it may still stand in the manifest.
      if (asked === undefined || asked === before) continue;
      throw refuse(next, 'invalid', path, `must be absent with type ${spec.type}`, asked);
    }
    const { protocol, port: servicePort } = each;
    const number = asked ?? (wanted ? before : undefined);
    if (number !== undefined) {
      if (number !== before) assertInRange(next, path, number);
      const type = number === before ? 'kept' : 'explicit';
      wishes.push({ type, path, index, servicePort, port: { protocol, port: number } });
    } else if (wanted) {
      wishes.push({ type: 'any', path, index, servicePort, protocol });
    }
  }
  const health = healthWish(next, stored, checked);
  if (health !== undefined) wishes.push({ ...health, index: 'health' });
  const named = new Map<string, string>();
  for (const wish of wishes) {
    if (wish.type === 'any') continue;
    const key = portText(wish.port);
    const other = named.get(key);
    if (other !== undefined) {
      throw refuse(next, 'invalid', wish.path, `repeats ${key} of ${other}`, wish.port.port);
    }
    named.set(key, wish.path);
  }
  return {
    wishes,
    released: storedNodePorts(stored).filter((each) => !named.has(portText(each))),
    finish: (service, given) =>
      withPorts(service, new Map(wishes.map(({ index }, i) => [index, given[i]!.port] as const))),
  };
}

/** The ports that a service holds claims on. */
export function storedNodePorts(service: Service | undefined): NodePort[] {
  if (service === undefined) return [];
  const { ports = [], healthCheckNodePort } = service.spec;
  const held = ports.flatMap(({ protocol, nodePort }) =>
    nodePort ? [{ protocol, port: nodePort }] : [],
  );
  if (healthCheckNodePort) held.push({ protocol: 'TCP', port: healthCheckNodePort });
  return held;
}

export const portText = ({ protocol, port }: NodePort): string => `${port}/${protocol}`;

/**
 * A free port, by chance. Throws `exhausted`.
 * @param used numbers of this protocol that are taken.
 * @param random in [0, 1)
 */
export function pickNodePort(
  protocol: NodePort['protocol'],
  used: ReadonlySet<number>,
  random: () => number,
  what: string,
): NodePort {
  const { first, last } = NODE_PORT_RANGE;
  for (const [from, to] of [
    [first + ASKED_FOR, last],
    [first, first + ASKED_FOR - 1],
  ] as const) {
    const span = to - from + 1;
    const start = Math.floor(random() * span);
    for (let step = 0; step < span; step++) {
      const port = from + ((start + step) % span);
      if (!used.has(port)) return { protocol, port };
    }
  }
  throw new ResourceError('exhausted', `${what}: no ${protocol} node port is left in ${RANGE}`, {
    object: what,
    value: RANGE,
    hint: 'set allocateLoadBalancerNodePorts to false where nobody needs them, or delete Services',
  });
}

const RANGE = `${NODE_PORT_RANGE.first} to ${NODE_PORT_RANGE.last}`;

const asksHealthCheck = ({ spec }: Service): boolean =>
  spec.type === 'LoadBalancer' && spec.externalTrafficPolicy === 'Local';

function healthWish(
  next: Service,
  stored: Service | undefined,
  wanted: boolean,
): PortWish | undefined {
  const path = 'spec.healthCheckNodePort';
  const asked = next.spec.healthCheckNodePort || undefined;
  const before = stored?.spec.healthCheckNodePort || undefined;
  if (!wanted) {
    if (asked === undefined || asked === before) return undefined;
    const why = 'must be absent unless type is LoadBalancer and externalTrafficPolicy Local';
    throw refuse(next, 'invalid', path, why, asked);
  }
  if (before !== undefined && asked !== undefined && asked !== before) {
    throw refuse(next, 'immutable', path, `must stay ${before}`, asked);
  }
  const servicePort = undefined;
  if (before !== undefined) {
    return { type: 'kept', path, servicePort, port: { protocol: 'TCP', port: before } };
  }
  if (asked === undefined) return { type: 'any', path, servicePort, protocol: 'TCP' };
  assertInRange(next, path, asked);
  return { type: 'explicit', path, servicePort, port: { protocol: 'TCP', port: asked } };
}

function assertInRange(next: Service, path: string, port: number): void {
  if (port >= NODE_PORT_RANGE.first && port <= NODE_PORT_RANGE.last) return;
  throw refuse(next, 'invalid', path, `must be ${RANGE}`, port);
}

function refuse(
  next: Service,
  type: ResourceIssue['type'],
  path: string,
  message: string,
  value: unknown,
): ResourceError {
  const object = nameOf(next);
  const error = refusal(object, [{ type, path, message, value }]);
  if (type !== 'immutable') return error;
  return new ResourceError('immutable', error.message, {
    object,
    issues: error.issues,
    value,
    hint: 'delete the Service and create it anew',
  });
}

const samePort = (a: Ports[number], b: Ports[number]): boolean =>
  a.port === b.port && a.protocol === b.protocol;

function withPorts(service: Service, given: ReadonlyMap<number | 'health', number>): Service {
  const { healthCheckNodePort: _, ports, ...rest } = service.spec;
  const health = given.get('health');
  return {
    ...service,
    spec: {
      ...rest,
      ...(ports === undefined
        ? {}
        : {
            ports: ports.map(({ nodePort: _old, ...port }, index) => {
              const nodePort = given.get(index);
              return nodePort === undefined ? port : { ...port, nodePort };
            }),
          }),
      ...(health === undefined ? {} : { healthCheckNodePort: health }),
    },
  };
}
