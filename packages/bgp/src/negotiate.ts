/** What our OPEN says, whether the neighbour's will do, and what the two make together. */
import type { PeerConfig } from './config.ts';
import type { Endpoints, Negotiated, NegotiatedFamily } from './events.ts';
import { type AfiSafi, type Asn, Family, type FamilyKey, RouterId } from './types.ts';
import type { Capability } from './wire/capabilities.ts';
import { encodeCapability } from './wire/capabilities.ts';
import { classicMaximum, extendedMaximum } from './wire/message.ts';
import { myAsField, type OpenMessage, OpenSubcode, openAsn, openError } from './wire/open.ts';

export interface OpenState {
  /** R bit: this process took over from one whose sessions were up (RFC 4724 section 4.1). */
  readonly restarting: boolean;
  /** F bit: forwarding by this family's routes goes on, or went on, without the process. */
  readonly forwarding: (family: FamilyKey) => boolean;
}

export const defaultHold = 90;

const afiOf = (key: FamilyKey): AfiSafi => {
  const { afi, safi } = Family.row(key);
  return { afi, safi };
};

const same = (a: AfiSafi, b: AfiSafi): boolean => a.afi === b.afi && a.safi === b.safi;

export function buildOpen(config: PeerConfig, state: OpenState): OpenMessage {
  const families = config.families.map(({ family }) => family);
  const capabilities: Capability[] = families.map((family) => ({
    type: 'multiprotocol',
    family: afiOf(family),
  }));
  capabilities.push({ type: 'route-refresh' }, { type: 'enhanced-route-refresh' });
  if (config.extendedNextHop && families.includes('ipv4-unicast')) {
    capabilities.push({
      type: 'extended-next-hop',
      entries: [{ family: afiOf('ipv4-unicast'), nextHopAfi: 2 }],
    });
  }
  if (config.extendedMessages !== false) capabilities.push({ type: 'extended-message' });
  const restart = config.gracefulRestart;
  if (restart !== undefined) {
    capabilities.push({
      type: 'graceful-restart',
      restarting: state.restarting,
      notification: restart.notification !== false,
      restartTime: restart.restartTime,
      families: families.map((family) => ({
        family: afiOf(family),
        forwarding: state.forwarding(family),
      })),
    });
  }
  capabilities.push({ type: 'four-octet-as', asn: config.localAsn });
  const addPath = config.families.flatMap(({ family, addPath: wanted }) => {
    const send = (wanted?.send ?? 0) > 0;
    if (wanted === undefined || (!send && !wanted.receive)) return [];
    const mode = !send ? 'receive' : wanted.receive ? 'both' : 'send';
    return [{ family: afiOf(family), mode } as const];
  });
  if (addPath.length > 0) capabilities.push({ type: 'add-path', families: addPath });
  const llgr = config.families.filter((one) => one.llgr !== undefined);
  // RFC 9494 section 3.1: without the graceful restart capability this one is ignored.
  if (restart !== undefined && llgr.length > 0) {
    capabilities.push({
      type: 'long-lived-graceful-restart',
      families: llgr.map(({ family, llgr: staleTime = 0 }) => ({
        family: afiOf(family),
        forwarding: state.forwarding(family),
        staleTime,
      })),
    });
  }
  if (config.hostname !== undefined) {
    capabilities.push({ type: 'fqdn', host: config.hostname, domain: '' });
  }
  return {
    version: 4,
    myAs: myAsField(config.localAsn),
    holdTime: config.timers?.hold ?? defaultHold,
    routerId: config.routerId,
    capabilities,
  };
}

function asnWanted(config: PeerConfig, asn: Asn): boolean {
  const { asn: wanted, localAsn } = config;
  switch (wanted) {
    case 'any':
      return true;
    case 'internal':
      return asn === localAsn;
    case 'external':
      return asn !== localAsn;
    default:
      return typeof wanted === 'number' ? asn === wanted : wanted.includes(asn);
  }
}

/** What RFC 4271 section 6.2 asks beyond syntax. Throws BgpError `open-error`. */
export function checkOpen(config: PeerConfig, open: OpenMessage): void {
  const asn = openAsn(open);
  if (!asnWanted(config, asn)) {
    const wanted = typeof config.asn === 'object' ? config.asn.join(' or ') : config.asn;
    throw openError(OpenSubcode.peerAs, `the neighbour's AS is ${asn}, ${wanted} is configured`, {
      value: asn,
      offset: 1,
      data: Uint8Array.of(open.myAs >>> 8, open.myAs & 255),
    });
  }
  // RFC 6286 section 2.2: unique within an AS; others may share it.
  if (asn === config.localAsn && open.routerId === config.routerId) {
    throw openError(
      OpenSubcode.identifier,
      `the neighbour has our own BGP identifier, ${open.routerId}`,
      { value: open.routerId, offset: 5 },
    );
  }
  const offered = offeredFamilies(open);
  const missing = config.families.filter(
    ({ family }) => !offered.some((one) => same(one, afiOf(family))),
  );
  // A session in which nothing can be said is refused as well.
  if (missing.length > 0 && (config.requireFamilies || missing.length === config.families.length)) {
    const list = missing.map(({ family }) => family);
    const parts = list.map((family) =>
      encodeCapability({ type: 'multiprotocol', family: afiOf(family) }),
    );
    throw openError(OpenSubcode.capability, `the neighbour does not offer ${list.join(', ')}`, {
      value: list,
      // RFC 5492 section 5: the capabilities that are wanted.
      data: Uint8Array.from(parts.flatMap((part) => [...part])),
    });
  }
}

function find<T extends Capability['type']>(
  open: OpenMessage,
  type: T,
): Extract<Capability, { type: T }> | undefined {
  return open.capabilities.find(
    (one): one is Extract<Capability, { type: T }> => one.type === type,
  );
}

/** RFC 4760 section 8: who says nothing about families speaks IPv4 unicast. */
function offeredFamilies(open: OpenMessage): readonly AfiSafi[] {
  const offered = open.capabilities.flatMap((one) =>
    one.type === 'multiprotocol' ? [one.family] : [],
  );
  return offered.length > 0 ? offered : [{ afi: 1, safi: 1 }];
}

export function negotiate(
  config: PeerConfig,
  local: OpenMessage,
  peer: OpenMessage,
  endpoints: Endpoints,
): Negotiated {
  const localAsn = config.localAsn;
  const peerAsn = openAsn(peer);
  const external = peerAsn !== localAsn;
  const offered = offeredFamilies(peer);
  const families = config.families
    .filter(({ family }) => offered.some((one) => same(one, afiOf(family))))
    .map(({ family }) => negotiateFamily(family, local, peer));
  const fourOctetAs = find(peer, 'four-octet-as') !== undefined;
  const holdTime = Math.min(local.holdTime, peer.holdTime);
  const keepalive = config.timers?.keepalive;
  const third = holdTime / 3;
  const restart = find(peer, 'graceful-restart');
  const ours = find(local, 'graceful-restart');
  const both = (type: 'route-refresh' | 'extended-message' | 'enhanced-route-refresh') =>
    find(local, type) !== undefined && find(peer, type) !== undefined;
  return {
    kind: external ? 'external' : 'internal',
    localAsn,
    peerAsn,
    localId: local.routerId,
    peerId: peer.routerId,
    endpoints,
    holdTime,
    keepaliveTime: keepalive === undefined ? third : Math.min(keepalive, third),
    fourOctetAs,
    routeRefresh: both('route-refresh'),
    enhancedRouteRefresh: both('enhanced-route-refresh'),
    maxMessage: both('extended-message') ? extendedMaximum : classicMaximum,
    families,
    ...(restart === undefined
      ? {}
      : {
          gracefulRestart: {
            restarting: restart.restarting,
            notification: restart.notification && ours?.notification === true,
            restartTime: restart.restartTime,
          },
        }),
    receive: {
      fourOctetAs,
      families: families.map(({ family }) => family),
      addPath: families.filter((one) => one.addPathReceive).map(({ family }) => family),
      external,
      ...(external && config.enforceFirstAs !== false ? { firstAs: peerAsn } : {}),
    },
  };
}

function negotiateFamily(
  family: FamilyKey,
  local: OpenMessage,
  peer: OpenMessage,
): NegotiatedFamily {
  const key = afiOf(family);
  const mode = (open: OpenMessage) =>
    find(open, 'add-path')?.families.find((one) => same(one.family, key))?.mode;
  const ours = mode(local);
  const theirs = mode(peer);
  const sends = (one: typeof ours) => one === 'send' || one === 'both';
  const receives = (one: typeof ours) => one === 'receive' || one === 'both';
  const nextHops = (open: OpenMessage) =>
    find(open, 'extended-next-hop')?.entries.some(
      (one) => same(one.family, key) && one.nextHopAfi === 2,
    ) === true;
  const restart = find(peer, 'graceful-restart')?.families.find((one) => same(one.family, key));
  const llgr = find(peer, 'long-lived-graceful-restart')?.families.find((one) =>
    same(one.family, key),
  );
  return {
    family,
    addPathReceive: receives(ours) && sends(theirs),
    addPathSend: sends(ours) && receives(theirs),
    extendedNextHop: family === 'ipv6-unicast' || (nextHops(local) && nextHops(peer)),
    ...(restart === undefined ? {} : { gracefulRestart: { forwarding: restart.forwarding } }),
    ...(llgr === undefined
      ? {}
      : { llgr: { forwarding: llgr.forwarding, staleTime: llgr.staleTime } }),
  };
}

/**
 * RFC 4271 section 6.8 with RFC 6286 section 2.3: whether of two connections to one neighbour the one that it
 * initiated is kept.
 */
export function keepsIncoming(
  local: { readonly routerId: RouterId; readonly asn: Asn },
  peer: { readonly routerId: RouterId; readonly asn: Asn },
): boolean {
  const ours = RouterId.toNumber(local.routerId);
  const theirs = RouterId.toNumber(peer.routerId);
  return ours === theirs ? local.asn < peer.asn : ours < theirs;
}
