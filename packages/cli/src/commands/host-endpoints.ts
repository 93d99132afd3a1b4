import { Address } from '@causeway/ip';
import type { AgentClient } from '../agent-client.ts';
import { CliError } from '../errors.ts';
import { isRow, type Row } from '../output/print.ts';

type Agent = Pick<AgentClient, 'get' | 'node'>;

/** A node's own endpoint as its agent tells of it; none where it is no endpoint. */
export async function hostEndpointsOf(agent: Agent): Promise<Row[]> {
  try {
    const body = await agent.get('/v1/host-endpoint');
    return isRow(body) ? [body] : [];
  } catch (error) {
    if (error instanceof CliError && error.field === 'hostEndpoint.enabled') return [];
    throw error;
  }
}

/** All endpoints of a node, the node itself among them, in the form of `/v1/endpoints`. */
export async function endpointsOf(agent: Agent): Promise<unknown[]> {
  const [pods, hosts] = await Promise.all([agent.get('/v1/endpoints'), hostEndpointsOf(agent)]);
  return [...hosts.map((host) => asEndpoint(host)), ...(Array.isArray(pods) ? pods : [])];
}

function asEndpoint({ id, identity, labels, addresses, policy, audit }: Row): Row {
  const known = Array.isArray(addresses) ? addresses.map(String) : [];
  const of = (family: string) => known.find((text) => familyOf(text) === family);
  const judged = (direction: string) => isRow(policy) && policy[direction] !== 'off';
  const addressOf = { ipv4: of('ipv4'), ipv6: of('ipv6') };
  return {
    id,
    isNode: true,
    addresses: Object.fromEntries(Object.entries(addressOf).filter(([, text]) => text)),
    identity,
    labels,
    state: identity === undefined ? 'creating' : 'ready',
    policy: { ingress: judged('ingress'), egress: judged('egress'), audit },
  };
}

const familyOf = (text: string): string | undefined => {
  const address = Address.tryParse(text);
  return address && Address.family(address);
};
