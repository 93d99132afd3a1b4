import { Prefix } from '@causeway/ip';
import { readAlgorithm, readForwarding, readHealthCheck, readMeshRules } from './annotations.ts';
import type { Parsed } from './errors.ts';
import { Fields, type Json, readMeta } from './fields.ts';
import type { Service, ServicePort } from './model.ts';

/** ServiceSpec.sessionAffinityConfig: three hours unless given, a day at most. */
const DEFAULT_AFFINITY_SECONDS = 10_800;
const MAX_AFFINITY_SECONDS = 86_400;

/** Reads a v1 Service. Total: any value gives a service or what is wrong with it. */
export function parseService(value: unknown): Parsed<Service> {
  const fields = new Fields();
  const service = readService(fields, value);
  return service !== undefined && fields.problems.length === 0
    ? { ok: true, value: service }
    : { ok: false, problems: fields.problems };
}

function readService(fields: Fields, value: unknown): Service | undefined {
  const object = fields.object(value, 'object');
  if (object === undefined || object.kind !== 'Service' || object.apiVersion !== 'v1') {
    return fields.problem('kind', 'must be Service of apiVersion v1', object?.kind ?? null);
  }
  const meta = readMeta(fields, object);
  const spec = fields.object(object.spec, 'spec');
  if (meta === undefined) return undefined;
  if (spec === undefined) return fields.problem('spec', 'must be given');
  const clusterIP = fields.string(spec.clusterIP, 'spec.clusterIP') ?? '';
  const listed = fields.list(spec.clusterIPs, 'spec.clusterIPs');
  const given = listed.length > 0 ? listed : clusterIP === '' ? [] : [clusterIP];
  const headless = given.includes('None');
  const selector = fields.strings(spec.selector, 'spec.selector');
  const affinity = fields.choice(spec.sessionAffinity, 'spec.sessionAffinity', [
    'None',
    'ClientIP',
  ]);
  const policies = ['Cluster', 'Local'] as const;
  const type =
    fields.choice(spec.type, 'spec.type', [
      'ClusterIP',
      'NodePort',
      'LoadBalancer',
      'ExternalName',
    ]) ?? 'ClusterIP';
  return {
    namespace: meta.namespace,
    name: meta.name,
    type,
    headless,
    clusterIPs: headless ? [] : readAddresses(fields, given, 'spec.clusterIPs'),
    externalIPs: [
      ...new Set(
        fields
          .list(spec.externalIPs, 'spec.externalIPs')
          .flatMap((each, i) => fields.ordinaryAddress(each, `spec.externalIPs[${i}]`) ?? []),
      ),
    ],
    // What was given before the type was changed may stand in the status still.
    loadBalancerIPs: type === 'LoadBalancer' ? readLoadBalancerIPs(fields, object) : [],
    sourceRanges: type === 'LoadBalancer' ? readSourceRanges(fields, spec) : [],
    ports: readPorts(fields, spec),
    // An empty selector selects nothing: such a service has its slices made by somebody else.
    selector: selector !== undefined && Object.keys(selector).length > 0 ? selector : undefined,
    publishNotReadyAddresses:
      fields.boolean(spec.publishNotReadyAddresses, 'spec.publishNotReadyAddresses') ?? false,
    affinitySeconds: affinity === 'ClientIP' ? readAffinity(fields, spec) : undefined,
    internalTrafficPolicy:
      fields.choice(spec.internalTrafficPolicy, 'spec.internalTrafficPolicy', policies) ??
      'Cluster',
    externalTrafficPolicy:
      fields.choice(spec.externalTrafficPolicy, 'spec.externalTrafficPolicy', policies) ??
      'Cluster',
    // 0 in Kubernetes' JSON is "none".
    healthCheckNodePort:
      fields.integer(spec.healthCheckNodePort, 'spec.healthCheckNodePort', 0, 65_535) || undefined,
    algorithm: readAlgorithm(fields, meta.annotations),
    forwarding: readForwarding(fields, meta.annotations),
    healthCheck: readHealthCheck(fields, meta.annotations),
    mesh: readMeshRules(fields, meta.annotations),
  };
}

function readAddresses(fields: Fields, list: readonly unknown[], path: string) {
  const addresses = list.flatMap((each, i) => fields.address(each, `${path}[${i}]`) ?? []);
  return [...new Set(addresses)];
}

function readLoadBalancerIPs(fields: Fields, object: Json) {
  const status = fields.object(object.status, 'status');
  const balancer = fields.object(status?.loadBalancer, 'status.loadBalancer');
  const path = 'status.loadBalancer.ingress';
  return fields.list(balancer?.ingress, path).flatMap((each, i) => {
    // Some clouds give a host name instead, which is nothing to translate.
    const { ip, ipMode } = fields.object(each, `${path}[${i}]`) ?? {};
    // KEP-1860: a load balancer that must see all traffic, that of the cluster too, says Proxy.
    if (ip === undefined || ip === null || ip === '' || ipMode === 'Proxy') return [];
    return fields.address(ip, `${path}[${i}].ip`) ?? [];
  });
}

/** Kubernetes takes blanks around them and bits behind the length. */
function readSourceRanges(fields: Fields, spec: Json): Prefix[] {
  const path = 'spec.loadBalancerSourceRanges';
  const ranges = fields.list(spec.loadBalancerSourceRanges, path).flatMap((each, i) => {
    const text = typeof each === 'string' ? each.trim() : '';
    const prefix = Prefix.tryParse(text, { hostBits: 'clear' });
    return prefix ?? fields.problem(`${path}[${i}]`, 'must be a CIDR', each) ?? [];
  });
  return [...new Set(ranges)];
}

function readAffinity(fields: Fields, spec: Json): number {
  const config = fields.object(spec.sessionAffinityConfig, 'spec.sessionAffinityConfig');
  const path = 'spec.sessionAffinityConfig.clientIP';
  const client = fields.object(config?.clientIP, path);
  return (
    fields.integer(client?.timeoutSeconds, `${path}.timeoutSeconds`, 1, MAX_AFFINITY_SECONDS) ??
    DEFAULT_AFFINITY_SECONDS
  );
}

function readPorts(fields: Fields, spec: Json): ServicePort[] {
  const seen = new Set<string>();
  return fields.list(spec.ports, 'spec.ports').flatMap((each, index): ServicePort[] => {
    const path = `spec.ports[${index}]`;
    const given = fields.object(each, path);
    if (given === undefined) return [];
    const port = fields.integer(given.port, `${path}.port`, 1, 65_535);
    if (port === undefined) {
      if (given.port === undefined) fields.problem(`${path}.port`, 'must be given');
      return [];
    }
    const protocol = fields.protocol(given.protocol, `${path}.protocol`);
    const name = fields.string(given.name, `${path}.name`) ?? '';
    for (const unique of [`name ${name}`, `port ${port}/${protocol}`]) {
      if (seen.has(unique)) fields.problem(path, `repeats ${unique} of an earlier port`, each);
      seen.add(unique);
    }
    const target = given.targetPort;
    const targetPort =
      typeof target === 'string' && target !== ''
        ? target
        : (fields.integer(target || undefined, `${path}.targetPort`, 1, 65_535) ?? port);
    const nodePort = fields.integer(given.nodePort, `${path}.nodePort`, 0, 65_535);
    return [{ name, protocol, port, targetPort, ...(nodePort ? { nodePort } : {}) }];
  });
}
