import type { Address, Prefix } from '@causeway/ip';
import { MeshError } from '../errors.ts';
import { decodeCidr, encodeCidr, optionalAddress } from './cidr.ts';
import { GoObject, goJson, goMap } from './go-json.ts';

export type NodeAddressType =
  | 'InternalIP'
  | 'ExternalIP'
  | 'CiliumInternalIP'
  | 'Hostname'
  | 'InternalDNS'
  | 'ExternalDNS'
  | (string & {});

/** `cilium/state/nodes/v1/<c>/<node>` (section 1.5). */
export interface NodeValue {
  readonly name: string;
  readonly cluster: string;
  readonly clusterId: number;
  readonly addresses: readonly { readonly type: NodeAddressType; readonly ip: string }[];
  /** Pod CIDRs of each family; the first is Cilium's "AllocCIDR", the rest its secondary ones. */
  readonly podCIDRs: { readonly ipv4: readonly Prefix[]; readonly ipv6: readonly Prefix[] };
  readonly healthIPs: FamilyAddresses;
  readonly ingressIPs: FamilyAddresses;
  /** Readers ignore it. */
  readonly source: string;
  /** IPsec key index; 255 with WireGuard. */
  readonly encryptionKey: number;
  readonly labels: Readonly<Record<string, string>> | undefined;
  readonly annotations: Readonly<Record<string, string>> | undefined;
  /** 0 for all that readers may act on (section 7). */
  readonly nodeIdentity: number;
  /** Base64; a WireGuard peer only if not empty. */
  readonly wireguardPublicKey: string;
  readonly bootId: string;
}

interface FamilyAddresses {
  readonly ipv4?: Address | undefined;
  readonly ipv6?: Address | undefined;
}

export function encodeNode(node: NodeValue): string {
  const { ipv4, ipv6 } = node.podCIDRs;
  const secondary = (prefixes: readonly Prefix[]) =>
    prefixes.length > 1 ? prefixes.slice(1).map(encodeCidr) : null;
  return goJson({
    Name: node.name,
    Cluster: node.cluster,
    IPAddresses: node.addresses.map(({ type, ip }) => ({ Type: type, IP: ip })),
    IPv4AllocCIDR: encodeCidr(ipv4[0]),
    IPv4SecondaryAllocCIDRs: secondary(ipv4),
    IPv6AllocCIDR: encodeCidr(ipv6[0]),
    IPv6SecondaryAllocCIDRs: secondary(ipv6),
    IPv4HealthIP: node.healthIPs.ipv4 ?? '',
    IPv6HealthIP: node.healthIPs.ipv6 ?? '',
    IPv4IngressIP: node.ingressIPs.ipv4 ?? '',
    IPv6IngressIP: node.ingressIPs.ipv6 ?? '',
    ClusterID: node.clusterId,
    Source: node.source,
    EncryptionKey: node.encryptionKey,
    Labels: goMap(node.labels),
    Annotations: goMap(node.annotations),
    NodeIdentity: node.nodeIdentity,
    WireguardPubKey: node.wireguardPublicKey,
    BootID: node.bootId,
  });
}

export function decodeNode(text: string): NodeValue {
  const object = GoObject.parse(text);
  const name = object.string('Name');
  const cluster = object.string('Cluster');
  if (name === '') throw new MeshError('bad-value', 'Name must not be empty', name, 'Name');
  if (cluster === '') {
    throw new MeshError('bad-value', 'Cluster must not be empty', cluster, 'Cluster');
  }
  const address = (field: string) => optionalAddress(object.string(field), field);
  return {
    name,
    cluster,
    clusterId: object.uint('ClusterID', 32),
    addresses: object.objects('IPAddresses').map((each) => {
      const type = each.string('Type');
      const ip = each.string('IP');
      // Names of hosts stand here too, under their own types.
      return { type, ip: type.endsWith('IP') ? (optionalAddress(ip, each.at('IP')) ?? '') : ip };
    }),
    podCIDRs: { ipv4: cidrs(object, 'IPv4', 'ipv4'), ipv6: cidrs(object, 'IPv6', 'ipv6') },
    healthIPs: { ipv4: address('IPv4HealthIP'), ipv6: address('IPv6HealthIP') },
    ingressIPs: { ipv4: address('IPv4IngressIP'), ipv6: address('IPv6IngressIP') },
    source: object.string('Source'),
    encryptionKey: object.uint('EncryptionKey', 8),
    labels: object.strings('Labels'),
    annotations: object.strings('Annotations'),
    nodeIdentity: object.uint('NodeIdentity', 32),
    wireguardPublicKey: object.string('WireguardPubKey'),
    bootId: object.string('BootID'),
  };
}

function cidrs(object: GoObject, family: 'IPv4' | 'IPv6', expected: 'ipv4' | 'ipv6'): Prefix[] {
  const first = `${family}AllocCIDR`;
  const rest = `${family}SecondaryAllocCIDRs`;
  const found = [
    decodeCidr(object.raw(first), first),
    ...object.array(rest).map((each, i) => decodeCidr(each, `${rest}[${i}]`)),
  ].filter((each) => each !== undefined);
  for (const prefix of found) {
    if (prefix.includes(':') !== (expected === 'ipv6')) {
      throw new MeshError('bad-value', `${first} ${prefix} is not ${family}`, prefix, first);
    }
  }
  return found;
}
