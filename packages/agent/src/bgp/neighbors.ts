import { Address } from '@causeway/ip';
import { selects } from '@causeway/resources';
import { given } from './given.ts';
import type { BgpInputs } from './inputs.ts';
import type { InstanceOptions, NodeInstance } from './instance.ts';
import { type Profile, profileOf, sessionOf, templateOf } from './profile.ts';
import { type DynamicNeighbors, type Neighbor, speakerName } from './speaker-port.ts';

/** A neighbour with where it comes from. */
export interface NamedNeighbor {
  readonly neighbor: Neighbor;
  /** The peer of the CiliumBGPClusterConfig that it is, by instance and name; undefined: another node. */
  readonly peer?: { readonly instance: string; readonly name: string };
  readonly profile: Profile;
}

export interface NamedGroup {
  readonly group: DynamicNeighbors;
  readonly profile: Profile;
}

export interface Neighbors {
  readonly neighbors: readonly NamedNeighbor[];
  readonly dynamic: readonly NamedGroup[];
  readonly problems: readonly string[];
}

/** Everybody that an instance speaks with. Pure. */
export function neighborsOf(at: NodeInstance, first: NodeInstance, inputs: BgpInputs): Neighbors {
  const problems: string[] = [];
  const { options } = at;
  // A node is one router: a further instance's sessions speak under its AS and router id by those of the session.
  const localAsn = at.asn === first.asn ? undefined : at.asn;
  const localRouterId = at === first ? undefined : at.override.routerID;
  const context = { at, localAsn, localRouterId, inputs, problems };
  const neighbors = [
    ...configured(context),
    ...(options.nodePeers ?? []).flatMap((group) => otherNodes(group, context)),
  ];
  const dynamic = (options.dynamicPeers ?? []).flatMap((group) => range(group, context));
  return { neighbors, dynamic, problems: [...new Set(problems)] };
}

interface Context {
  readonly at: NodeInstance;
  readonly localAsn: number | undefined;
  readonly localRouterId: string | undefined;
  readonly inputs: BgpInputs;
  readonly problems: string[];
}

function configured({ at, localAsn, localRouterId, inputs, problems }: Context): NamedNeighbor[] {
  const { instance, override, scope } = at;
  for (const own of override.peers ?? []) {
    if (instance.peers?.some(({ name }) => name === own.name)) continue;
    problems.push(
      `CiliumBGPNodeConfigOverride ${inputs.node.name} names the peer ${own.name}, which the instance ${instance.name} has not`,
    );
  }
  return (instance.peers ?? []).flatMap((peer) => {
    const name = speakerName(`${scope}${peer.name}`);
    const profile = profileOf(peer.peerConfigRef?.name, name, inputs, problems);
    if (profile === undefined) return [];
    const own = override.peers?.find((each) => each.name === peer.name)?.localAddress;
    const target = targetOf(peer);
    const neighbor: Neighbor = {
      name,
      peer: target,
      asn: peer.peerASN === undefined || peer.peerASN === 0 ? 'any' : peer.peerASN,
      ...given({
        localAsn,
        localRouterId,
        localAddress:
          own === undefined
            ? sourceAddress(target, profile, name, inputs, problems)
            : Address.parse(own.trim()),
      }),
      ...sessionOf(profile, peer.peerASN !== at.asn, name, inputs, problems),
    };
    return [{ profile, neighbor, peer: { instance: instance.name, name: peer.name } }];
  });
}

/** Full mesh, or clients of reflectors: a neighbour for each other node that is meant. */
function otherNodes(
  group: NonNullable<InstanceOptions['nodePeers']>[number],
  { at, localAsn, localRouterId, inputs, problems }: Context,
): NamedNeighbor[] {
  const { nodeSelector, addressFamily, peerASN: asn = at.asn } = group;
  const of = `${at.scope}${group.name}`;
  const profile = profileOf(group.peerConfigRef?.name, of, inputs, problems);
  if (profile === undefined) return [];
  return inputs.nodes.flatMap((node) => {
    if (node.name === inputs.node.name) return [];
    if (nodeSelector !== undefined && !selects(nodeSelector, node.labels)) return [];
    const name = speakerName(`${of}:${node.name}`);
    const address = node.addresses.find((each) => Address.family(each) === addressFamily);
    if (address === undefined) {
      problems.push(`${name}: the node has no ${addressFamily} address`);
      return [];
    }
    const localAddress = sourceAddress({ address }, profile, name, inputs, problems);
    const neighbor: Neighbor = {
      name,
      peer: { address },
      asn,
      ...given({ localAsn, localRouterId, localAddress }),
      ...sessionOf(profile, asn !== at.asn, name, inputs, problems),
    };
    return [{ profile, neighbor }];
  });
}

function range(
  group: NonNullable<InstanceOptions['dynamicPeers']>[number],
  { at, localAsn, localRouterId, inputs, problems }: Context,
): NamedGroup[] {
  const name = speakerName(`${at.scope}${group.name}`);
  const profile = profileOf(group.peerConfigRef?.name, name, inputs, problems);
  if (profile === undefined) return [];
  if ((at.override.localPort ?? at.instance.localPort) === undefined) {
    problems.push(
      `${name}: nobody can connect, for the instance ${at.instance.name} has no localPort`,
    );
  }
  const { peerASNs, prefix, limit } = group;
  const internal =
    peerASNs === 'Internal' || (Array.isArray(peerASNs) && peerASNs.every((asn) => asn === at.asn));
  const { locked, template } = templateOf(profile, !internal, name, inputs, problems);
  // Nobody is let in without the password that is missing.
  if (locked) return [];
  const asns = typeof peerASNs === 'string' ? ASNS[peerASNs] : peerASNs;
  const all = {
    name,
    prefix,
    asns,
    limit,
    template: { ...given({ localAsn, localRouterId }), ...template },
  };
  return [{ profile, group: all }];
}

const ASNS = { Any: 'any', Internal: 'internal', External: 'external' } as const;

function targetOf(peer: NonNullable<NodeInstance['instance']['peers']>[number]): Neighbor['peer'] {
  const { peerAddress, autoDiscovery } = peer;
  if (peerAddress !== undefined) return { address: Address.parse(peerAddress.trim()) };
  if (autoDiscovery?.unnumbered !== undefined)
    return { interface: autoDiscovery.unnumbered.interface };
  return { defaultGateway: autoDiscovery!.defaultGateway!.addressFamily };
}

/** The only usable address of the interface that the profile names. */
function sourceAddress(
  target: Neighbor['peer'],
  profile: Profile,
  name: string,
  inputs: BgpInputs,
  problems: string[],
): Address | undefined {
  const device = profile.spec.transport?.sourceInterface;
  if (device === undefined || 'interface' in target) return undefined;
  const family =
    'address' in target ? Address.family(Address.parse(target.address)) : target.defaultGateway;
  const usable = (inputs.interfaces.find((each) => each.name === device)?.addresses ?? []).filter(
    (address) =>
      Address.family(address) === family &&
      !Address.isLoopback(address) &&
      !Address.isLinkLocal(address),
  );
  if (usable.length === 1) return usable[0];
  // As Cilium does it: the route to the peer decides then.
  problems.push(
    `${name}: the sourceInterface ${device} has ${usable.length} usable ${family} addresses, not one; the route to the peer chooses the source`,
  );
  return undefined;
}
