import type { Address } from '@causeway/ip';
import { DEFAULT_WEIGHT, readWeight } from './annotations.ts';
import type { Parsed } from './errors.ts';
import { Fields, type Json, readMeta } from './fields.ts';
import type { Endpoint, Protocol, Service, ServiceRef } from './model.ts';

const SERVICE_LABEL = 'kubernetes.io/service-name';

/** A discovery.k8s.io/v1 EndpointSlice, flattened. */
export interface EndpointSlice {
  readonly namespace: string;
  readonly name: string;
  /** From label `kubernetes.io/service-name`; a slice without it serves nobody. */
  readonly service: ServiceRef | undefined;
  readonly endpoints: readonly Endpoint[];
}

/** What of a v1 Pod decides whether and where it serves. */
export interface ServingPod {
  readonly namespace: string;
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly addresses: readonly Address[];
  readonly ready: boolean;
  readonly terminating: boolean;
  /** Succeeded or failed: its address may be another's by now. */
  readonly finished: boolean;
  readonly node: string | undefined;
  /** From annotation `causeway.io/weight`. */
  readonly weight: number;
  readonly ports: readonly {
    readonly name: string;
    readonly protocol: Protocol;
    readonly port: number;
  }[];
}

export function parseEndpointSlice(value: unknown): Parsed<EndpointSlice> {
  const fields = new Fields();
  const slice = readSlice(fields, value);
  return slice !== undefined && fields.problems.length === 0
    ? { ok: true, value: slice }
    : { ok: false, problems: fields.problems };
}

function readSlice(fields: Fields, value: unknown): EndpointSlice | undefined {
  const object = fields.object(value, 'object');
  if (object?.kind !== 'EndpointSlice' || object.apiVersion !== 'discovery.k8s.io/v1') {
    const kind = object?.kind ?? null;
    return fields.problem('kind', 'must be EndpointSlice of apiVersion discovery.k8s.io/v1', kind);
  }
  const meta = readMeta(fields, object);
  if (meta === undefined) return undefined;
  const type = fields.choice(object.addressType, 'addressType', ['IPv4', 'IPv6', 'FQDN']);
  if (type === undefined) return fields.problem('addressType', 'must be given');
  const name = meta.labels[SERVICE_LABEL];
  const service = name === undefined ? undefined : { namespace: meta.namespace, name };
  const ports = fields.list(object.ports, 'ports').flatMap((each, index) => {
    const path = `ports[${index}]`;
    const given = fields.object(each, path);
    const port = fields.integer(given?.port, `${path}.port`, 1, 65_535);
    // A slice may say "all ports" by leaving it out; no service port can mean that.
    if (given === undefined || port === undefined) return [];
    const portName = fields.string(given.name, `${path}.name`) ?? '';
    return [{ portName, port, protocol: fields.protocol(given.protocol, `${path}.protocol`) }];
  });
  const weight = readWeight(fields, meta.annotations) ?? DEFAULT_WEIGHT;
  // Host names are for those who resolve them; there is nothing to translate.
  const given = type === 'FQDN' ? [] : fields.list(object.endpoints, 'endpoints');
  const endpoints = given.flatMap((each, index) =>
    readEndpoint(fields, each, `endpoints[${index}]`).flatMap((endpoint) =>
      ports.map((port) => ({ ...endpoint, ...port, weight })),
    ),
  );
  return { namespace: meta.namespace, name: meta.name, service, endpoints };
}

type Placed = Omit<Endpoint, 'portName' | 'port' | 'protocol' | 'weight'>;

/** Conditions that are not given: ready yes, serving as ready, terminating no (EndpointConditions). */
function readEndpoint(fields: Fields, value: unknown, path: string): Placed[] {
  const given = fields.object(value, path);
  if (given === undefined) return [];
  const conditions = fields.object(given.conditions, `${path}.conditions`);
  const at = `${path}.conditions`;
  const ready = fields.boolean(conditions?.ready, `${at}.ready`) ?? true;
  const target = fields.object(given.targetRef, `${path}.targetRef`);
  const shared = {
    ready,
    serving: fields.boolean(conditions?.serving, `${at}.serving`) ?? ready,
    terminating: fields.boolean(conditions?.terminating, `${at}.terminating`) ?? false,
    node: fields.string(given.nodeName, `${path}.nodeName`),
    zone: fields.string(given.zone, `${path}.zone`),
    target:
      typeof target?.name === 'string' ? `${target.namespace ?? ''}/${target.name}` : undefined,
  };
  // "Consumers must only use the first address", since all of them are of one endpoint.
  const [first] = fields.list(given.addresses, `${path}.addresses`);
  const address = fields.ordinaryAddress(first, `${path}.addresses[0]`);
  return address === undefined ? [] : [{ address, ...shared }];
}

export function parsePod(value: unknown): Parsed<ServingPod> {
  const fields = new Fields();
  const pod = readPod(fields, value);
  return pod !== undefined && fields.problems.length === 0
    ? { ok: true, value: pod }
    : { ok: false, problems: fields.problems };
}

function readPod(fields: Fields, value: unknown): ServingPod | undefined {
  const object = fields.object(value, 'object');
  if (object?.kind !== 'Pod' || object.apiVersion !== 'v1') {
    return fields.problem('kind', 'must be Pod of apiVersion v1', object?.kind ?? null);
  }
  const meta = readMeta(fields, object);
  if (meta === undefined) return undefined;
  const spec = fields.object(object.spec, 'spec');
  const status = fields.object(object.status, 'status');
  const ready = fields
    .list(status?.conditions, 'status.conditions')
    .some((each) => (each as Json)?.type === 'Ready' && (each as Json).status === 'True');
  const listed = fields
    .list(status?.podIPs, 'status.podIPs')
    .map((each, i) => fields.object(each, `status.podIPs[${i}]`)?.ip);
  const ips = listed.length > 0 ? listed : status?.podIP ? [status.podIP] : [];
  return {
    namespace: meta.namespace,
    name: meta.name,
    labels: meta.labels,
    addresses: ips.flatMap((ip, i) => fields.address(ip, `status.podIPs[${i}].ip`) ?? []),
    ready,
    terminating: meta.deleting,
    finished: status?.phase === 'Succeeded' || status?.phase === 'Failed',
    node: fields.string(spec?.nodeName, 'spec.nodeName'),
    weight: readWeight(fields, meta.annotations) ?? DEFAULT_WEIGHT,
    ports: fields.list(spec?.containers, 'spec.containers').flatMap((container, c) => {
      const path = `spec.containers[${c}].ports`;
      return fields.list((container as Json)?.ports, path).flatMap((each, p) => {
        const at = `${path}[${p}]`;
        const port = fields.object(each, at);
        const number = fields.integer(port?.containerPort, `${at}.containerPort`, 1, 65_535);
        const name = fields.string(port?.name, `${at}.name`);
        if (number === undefined || name === undefined) return [];
        return [
          { name, port: number, protocol: fields.protocol(port?.protocol, `${at}.protocol`) },
        ];
      });
    }),
  };
}

/**
 * The endpoints of a service from the pods of its namespace, where nobody else makes slices: what
 * Kubernetes' endpoint slice controller would say.
 */
export function endpointsOfPods(service: Service, pods: Iterable<ServingPod>): Endpoint[] {
  const wanted = Object.entries(service.selector ?? {});
  if (wanted.length === 0) return [];
  const endpoints: Endpoint[] = [];
  for (const pod of pods) {
    if (pod.namespace !== service.namespace || pod.finished) continue;
    if (!wanted.every(([key, value]) => pod.labels[key] === value)) continue;
    for (const { name, protocol, targetPort } of service.ports) {
      const port =
        typeof targetPort === 'number'
          ? targetPort
          : pod.ports.find((each) => each.name === targetPort && each.protocol === protocol)?.port;
      // A pod without a port of that name does not serve this service port.
      if (port === undefined) continue;
      for (const address of pod.addresses) {
        endpoints.push({
          portName: name,
          protocol,
          address,
          port,
          ready: service.publishNotReadyAddresses || (pod.ready && !pod.terminating),
          serving: pod.ready,
          terminating: pod.terminating,
          node: pod.node,
          zone: undefined,
          target: `${pod.namespace}/${pod.name}`,
          weight: pod.weight,
        });
      }
    }
  }
  return endpoints;
}
