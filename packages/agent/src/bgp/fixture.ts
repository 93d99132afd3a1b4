import { Address, Prefix } from '@causeway/ip';
import { parseManifests, type Resource, validateAll } from '@causeway/resources';
import type { BgpInputs, ServiceAddress, ServiceView } from './inputs.ts';

// What the tests of this directory share.

const kindOf =
  (resources: readonly Resource[]) =>
  <K extends Resource['kind']>(kind: K): Extract<Resource, { kind: K }>[] =>
    resources.filter((each) => each.kind === kind) as Extract<Resource, { kind: K }>[];

/** Inputs of node `a`, 192.0.2.1 and 2001:db8::1 in rack `r1`, with the objects of a manifest. */
export function inputsOf(manifest: string, more: Partial<BgpInputs> = {}): BgpInputs {
  const of = kindOf(validateAll(parseManifests(manifest)));
  return {
    node: {
      name: 'a',
      labels: { rack: 'r1', 'kubernetes.io/hostname': 'a' },
      addresses: [Address.parse('192.0.2.1'), Address.parse('2001:db8::1')],
    },
    families: ['ipv4', 'ipv6'],
    podCIDRs: [{ prefix: Prefix.parse('10.1.1.0/24') }, { prefix: Prefix.parse('fd00:1:1::/64') }],
    clusterConfigs: of('CiliumBGPClusterConfig'),
    clusterOptions: of('BGPClusterOptions'),
    peerConfigs: of('CiliumBGPPeerConfig'),
    peerOptions: of('BGPPeerOptions'),
    advertisements: of('CiliumBGPAdvertisement'),
    overrides: of('CiliumBGPNodeConfigOverride'),
    passwords: new Map(),
    services: [],
    interfaces: [],
    egress: [],
    nodes: [],
    ...more,
  };
}

export const service = (
  name: string,
  addresses: readonly [
    ServiceAddress['type'],
    string,
    ...(readonly ('Local' | 'ready' | 'elsewhere')[]),
  ][],
  more: Partial<ServiceView> = {},
): ServiceView => ({
  namespace: 'shop',
  name,
  labels: {},
  terminating: false,
  loadBalancerClass: undefined,
  addresses: addresses.map(([type, address, ...flags]) => ({
    type,
    address: Address.parse(address),
    policy: flags.includes('Local') ? 'Local' : 'Cluster',
    localReady: flags.includes('ready'),
    readyElsewhere: flags.includes('elsewhere'),
  })),
  edge: { role: 'none', others: [] },
  unreachable: undefined,
  ...more,
});

export const BASE = `
apiVersion: cilium.io/v2
kind: CiliumBGPClusterConfig
metadata: {name: r1, creationTimestamp: "2026-01-01T00:00:00Z"}
spec:
  nodeSelector: {matchLabels: {rack: r1}}
  bgpInstances:
  - name: main
    localASN: 65001
    localPort: 179
    peers:
    - {name: tor1, peerASN: 65000, peerAddress: 192.0.2.254, peerConfigRef: {name: tor}}
    - {name: tor2, peerASN: 65000, peerAddress: "2001:db8::fe", peerConfigRef: {name: tor}}
---
apiVersion: cilium.io/v2
kind: CiliumBGPPeerConfig
metadata: {name: tor}
spec:
  families:
  - {afi: ipv4, safi: unicast, advertisements: {matchLabels: {advertise: bgp}}}
  - {afi: ipv6, safi: unicast, advertisements: {matchLabels: {advertise: bgp}}}
`;

export const advertisement = (name: string, entries: string, label = 'bgp'): string => `
---
apiVersion: cilium.io/v2
kind: CiliumBGPAdvertisement
metadata: {name: ${name}, labels: {advertise: ${label}}}
spec:
  advertisements:
  ${entries.trim()}
`;
