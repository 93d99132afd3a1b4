import { Address } from '@causeway/ip';
import { type Backend, type Balancer, type Frontend, tierOf } from '@causeway/loadbalancing';
import { AgentError } from '../errors.ts';

/** Of `GET /v1/services/why`. */
type Query = Readonly<Record<string, string>>;

/** Services as people ask for them: each frontend with its backends. */
export function listFrontends(balancer: Balancer): readonly unknown[] {
  const conflicts = new Map(
    Array.from(balancer.conflicts(), ({ key, services }) => [key, services]),
  );
  return Array.from(balancer.frontends(), (frontend: Frontend) => ({
    namespace: frontend.service.namespace,
    name: frontend.service.name,
    address: frontend.address ?? '*',
    port: frontend.port,
    protocol: frontend.protocol,
    type: frontend.type,
    frontend: frontend.key,
    portName: frontend.portName,
    algorithm: frontend.algorithm,
    affinitySeconds: frontend.affinitySeconds ?? 0,
    external: frontend.external,
    trafficPolicy: frontend.trafficPolicy,
    forwarding: frontend.forwarding,
    ...(frontend.sourceRanges === undefined ? {} : { sourceRanges: frontend.sourceRanges }),
    id: balancer.row(frontend.key)?.serviceId ?? null,
    tiers: frontend.tiers,
    ...(frontend.spillOver === undefined ? {} : { spillOver: frontend.spillOver }),
    backends: frontend.backends.map((each) => backendView(balancer, frontend, each)),
    ...(conflicts.has(frontend.key) ? { claimedBy: conflicts.get(frontend.key) } : {}),
  }));
}

function backendView(balancer: Balancer, { tiers }: Frontend, backend: Backend) {
  const { key, cluster, state, node, target, weight, failing, excluded, alsoIn } = backend;
  return {
    backend: key,
    id: balancer.backendId(key) ?? null,
    cluster,
    tier: tierOf(tiers, cluster) + 1,
    state,
    node,
    target,
    weight,
    ...(failing === undefined ? {} : { failing }),
    ...(excluded === undefined ? {} : { excluded }),
    ...(alsoIn === undefined ? {} : { alsoIn }),
  };
}

/**
 * Why clients of a frontend (`frontend=10.96.0.1:80/TCP`) or of a service (`namespace`, `name` and
 * perhaps `port`) end up where they do; one answer for each frontend. `client=192.0.2.7` or `from=outside` asks for
 * clients outside of the cluster, `from=inside` for pods and nodes.
 * @throws AgentError `bad-request` or `not-found`.
 */
export function explainFrontends(balancer: Balancer, query: Query): unknown {
  const hash = number(query.hash, 'hash');
  const affinityBackendId = number(query.affinityBackendId, 'affinityBackendId');
  const client = addressOf(query.client);
  const from = sideOf(query.from);
  return frontendsOf(balancer, query).map((frontend) =>
    balancer.why(frontend, {
      ...(hash === undefined ? {} : { hash }),
      ...(affinityBackendId === undefined ? {} : { affinityBackendId }),
      ...(from === undefined ? {} : { from }),
      ...(client === undefined ? {} : { client }),
    }),
  );
}

function frontendsOf(balancer: Balancer, { frontend, namespace, name, port }: Query): string[] {
  if (frontend !== undefined) {
    if (balancer.frontend(frontend) !== undefined) return [frontend];
    throw missing('frontend', frontend, `no service has ${frontend}`);
  }
  if (name === undefined) {
    throw new AgentError(
      'bad-request',
      'name a frontend such as 10.96.0.1:80/TCP, or a service by namespace and name',
      {
        field: 'frontend',
        hint: 'causeway service list (GET /v1/services) shows them',
      },
    );
  }
  const of = balancer.frontendsOf({ namespace: namespace ?? 'default', name });
  const found = of.filter(
    (each) => port === undefined || String(each.port) === port || each.portName === port,
  );
  if (found.length > 0) return found.map(({ key }) => key);
  const service = `${namespace ?? 'default'}/${name}`;
  throw missing(
    'name',
    name,
    port === undefined
      ? `there is no service ${service} with an address`
      : `service ${service} has no port ${port}`,
  );
}

const missing = (field: string, value: string, message: string): AgentError =>
  new AgentError('not-found', message, {
    field,
    value,
    hint: 'causeway service list (GET /v1/services) shows them',
  });

function addressOf(text: string | undefined): Address | undefined {
  if (text === undefined) return undefined;
  const address = Address.tryParse(text);
  if (address !== undefined) return address;
  throw new AgentError('bad-request', 'client must be an IPv4 or IPv6 address', {
    field: 'client',
    value: text,
  });
}

function sideOf(text: string | undefined): 'inside' | 'outside' | undefined {
  if (text === undefined || text === 'inside' || text === 'outside') return text;
  throw new AgentError('bad-request', 'from must be inside or outside', {
    field: 'from',
    value: text,
  });
}

function number(text: string | undefined, field: string): number | undefined {
  if (text === undefined) return undefined;
  if (/^\d{1,10}$/.test(text) && Number(text) <= 0xffff_ffff) return Number(text);
  throw new AgentError('bad-request', `${field} must be a number of 32 bits`, {
    field,
    value: text,
  });
}
