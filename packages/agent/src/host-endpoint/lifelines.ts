import type { Lifeline } from '@causeway/datapath';
import { Address } from '@causeway/ip';
import { PROTOCOL } from '@causeway/policy';
import type { AgentConfig } from '../config/schema.ts';
import { carriesEgress, carriesTunnels } from '../host/planner.ts';
import type { ProtectedSocket } from '../ipcache/protected.ts';

const BOTH = ['ingress', 'egress'] as const;
const { tcp, udp } = PROTOCOL;

/**
 * What must work for any policy ever to be heard of again: BGP (RFC 4271), BFD over one and several hops with its
 * echoes (RFC 5881, 5883), and addresses by DHCP of both families. Neighbour and router discovery are never asked
 * about by the datapath itself.
 */
const ROUTING: readonly (readonly [port: number, protocol: number])[] = [
  [179, tcp],
  [3784, udp],
  [3785, udp],
  [4784, udp],
  [67, udp],
  [68, udp],
  [546, udp],
  [547, udp],
];

const isLiteral = (url: string): boolean =>
  Address.tryParse(new URL(url).hostname.replace(/^\[|\]$/g, '')) !== undefined;

/**
 * Connections of the node itself that no policy cuts off.
 * @param stores the own cluster's and the peers'; on this node itself others are let in to them.
 */
export function lifelinesOf(
  config: AgentConfig,
  stores: readonly ProtectedSocket[],
  own: ReadonlySet<Address>,
): Lifeline[] {
  const lines: Lifeline[] = [];
  const both = (port: number, protocol: number) => {
    for (const direction of BOTH) lines.push({ direction, port, protocol });
  };
  for (const [port, protocol] of ROUTING) both(port, protocol);
  for (const port of config.hostEndpoint.apiServerPorts) both(port, tcp);
  // A store that has a name is found again by it.
  if (config.etcd.endpoints.some((endpoint) => !isLiteral(endpoint)))
    for (const protocol of [udp, tcp]) lines.push({ direction: 'egress', port: 53, protocol });
  // What is inside is judged when it has come out, or before it goes in.
  if (carriesTunnels(config) || carriesEgress(config)) both(config.tunnel.port, udp);
  for (const { address, port, protocol } of stores) {
    lines.push(
      own.has(address)
        ? { direction: 'ingress', port, protocol }
        : { direction: 'egress', peer: address, port, protocol },
    );
  }
  for (const { direction, protocol, port, address } of config.hostEndpoint.lifelines)
    lines.push({ direction, peer: address, port, protocol: protocol === 'TCP' ? tcp : udp });
  return lines;
}
