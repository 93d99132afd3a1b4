import { Address } from '@causeway/ip';
import type { PolicyBinder } from '../policy/bound.ts';
import type { CompiledPolicy } from '../policy/compile.ts';
import type { ExportContext } from '../rib/export.ts';
import type { GroupEncoding } from '../rib/update-group.ts';
import { RouterId } from '../types.ts';
import type { SpeakerConfig } from './config.ts';
import { scopeNames } from './locals.ts';
import type { PeerFamily, SpeakerPeer } from './peer.ts';

/** What a neighbour's group follows from. */
export interface Placement {
  readonly key: string;
  readonly context: ExportContext;
  readonly encoding: GroupEncoding;
  readonly policy: CompiledPolicy | undefined;
  readonly scopes: ReadonlySet<string>;
}

interface PlacementContext {
  readonly speaker: SpeakerConfig;
  /** That the neighbour is sent routes by. */
  readonly policy: CompiledPolicy | undefined;
  readonly binder: PolicyBinder;
  /** All that paths of our own are limited to. */
  readonly scopes: Iterable<string>;
}

/** Which group serves a neighbour whose session is up, and how. */
export function placementOf(
  peer: SpeakerPeer,
  family: PeerFamily,
  { speaker, policy, binder, scopes: all }: PlacementContext,
): Placement {
  const negotiated = peer.negotiated!;
  const agreed = family.negotiated!;
  const external = negotiated.kind === 'external';
  const addPath = agreed.addPathSend ? (family.config.addPath?.send ?? 0) : 0;
  const maxMessage = negotiated.maxMessage;
  const self = selfNextHop(peer, family);
  const context: ExportContext = {
    family: family.family,
    external,
    client: !external && peer.config.routeReflectorClient === true,
    localAsn: negotiated.localAsn,
    clusterId: RouterId.toNumber(speaker.clusterId ?? speaker.routerId),
    routerId: RouterId.toNumber(speaker.routerId),
    nextHop: family.config.nextHop,
    self,
    extendedNextHop: agreed.extendedNextHop,
    sharedSubnets: external ? (peer.config.sharedSubnets ?? []) : [],
    llgr: agreed.llgr !== undefined,
    // Two octets an AS: AS4_PATH may come on top.
    room: (maxMessage - 120) / (negotiated.fourOctetAs ? 1 : 2),
  };
  const encoding: GroupEncoding = { fourOctetAs: negotiated.fourOctetAs, maxMessage, addPath };
  const scopes = [...all].filter((scope) => scopeNames(scope).includes(peer.name));
  const key = JSON.stringify([
    { ...context, self: self && [...self] },
    encoding,
    policy?.name,
    policy &&
      binder.keyOf(policy, {
        family: family.family,
        neighbor: peer.name,
        neighborAsn: negotiated.peerAsn,
        localAsn: negotiated.localAsn,
      }),
    scopes,
  ]);
  return { key, context, encoding, policy, scopes: new Set(scopes) };
}

/** Our address as the neighbour can use it in the family; undefined: there is none. */
function selfNextHop(peer: SpeakerPeer, family: PeerFamily): Uint8Array | undefined {
  const local = peer.negotiated!.endpoints.localAddress;
  const others = (peer.config.selfAddresses ?? []).flatMap((text) => Address.tryParse(text) ?? []);
  const v4 = [local, ...others].find(Address.isIPv4);
  const v6 = [local, ...others].find(Address.isIPv6);
  const wide = (address: Address): Uint8Array => {
    const bytes = Address.toBytes(address);
    if (!Address.isLinkLocal(address)) {
      if (!Address.isLinkLocal(local) || Address.isIPv4(local)) return bytes;
      // RFC 2545 section 3: on a shared link the link-local address comes along.
      return concat(bytes, Address.toBytes(local));
    }
    return concat(bytes, bytes);
  };
  if (family.family === 'ipv6-unicast') return v6 === undefined ? undefined : wide(v6);
  if (v4 !== undefined && Address.isIPv4(local)) return Address.toBytes(v4);
  if (family.negotiated!.extendedNextHop && v6 !== undefined) return wide(v6);
  return v4 === undefined ? undefined : Address.toBytes(v4);
}

function concat(a: Uint8Array, b: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(a.length + b.length);
  bytes.set(a);
  bytes.set(b, a.length);
  return bytes;
}
