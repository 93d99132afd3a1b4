import type { SpeakerConfig as CoreConfig, PeerTarget, SpeakerPeerConfig } from '@causeway/bgp';
import type { DynamicNeighbor, Neighbor, Settings } from './settings.ts';

/** The settings as the core takes them. Neighbours go one by one: `peerConfigOf`. */
export function coreConfigOf(settings: Settings): CoreConfig {
  const {
    asn,
    routerId,
    clusterId,
    multipath,
    decision,
    attributeBytes,
    library,
    gracefulRestart,
  } = settings;
  const { restartTime, deferral } = gracefulRestart ?? {};
  return {
    asn,
    routerId,
    ...(clusterId === undefined ? {} : { clusterId }),
    ...(multipath === undefined ? {} : { multipath }),
    ...(decision === undefined ? {} : { decision }),
    ...(attributeBytes === undefined ? {} : { attributeBytes }),
    gracefulRestart: {
      ...(restartTime === undefined ? {} : { restartTime }),
      ...(deferral === undefined ? {} : { deferral }),
    },
    policies: library,
  };
}

/** RFC 4724 section 3 lets it be chosen; this is what routers commonly say. */
const RESTART_TIME = 120;

/** What a neighbour that we do not know beforehand has for its first word. */
const RANGE_OPEN_SECONDS = 30;

/** What the kernel says of the way to a neighbour. */
export interface Surroundings {
  /** Subnets of ours that the neighbour is in. */
  readonly sharedSubnets: readonly string[];
  /** Our addresses of the other family, for next hop self. */
  readonly selfAddresses: readonly string[];
}

/** A neighbour as the core takes it; `target` is what its address is known to be now. */
export function peerConfigOf(
  neighbor: Neighbor,
  settings: Pick<Settings, 'gracefulRestart'>,
  target: Pick<PeerTarget, 'address' | 'device'>,
  { sharedSubnets, selfAddresses }: Surroundings,
): SpeakerPeerConfig {
  const { name, peer, port, localAddress, gracefulRestart, bfd, timers, families, ...rest } =
    neighbor;
  const { description: _description, ...session } = rest;
  const unnumbered = 'interface' in peer && !('address' in peer);
  const restart =
    gracefulRestart === false ||
    (gracefulRestart === undefined && settings.gracefulRestart === undefined)
      ? undefined
      : (gracefulRestart ?? {});
  return compact({
    // IPv4 routes over a link-local session have no other next hop (RFC 8950).
    ...(unnumbered ? { extendedNextHop: true } : {}),
    ...session,
    name,
    target: { ...target, port, localAddress },
    families: families.map((family) => ({ ...family })),
    timers,
    gracefulRestart:
      restart === undefined
        ? undefined
        : {
            restartTime:
              restart.restartTime ?? settings.gracefulRestart?.restartTime ?? RESTART_TIME,
            helper: restart.helper,
            notification: restart.notification,
          },
    bfd: bfd === undefined ? undefined : { strict: bfd.strict },
    sharedSubnets: sharedSubnets.length === 0 ? undefined : sharedSubnets,
    selfAddresses: selfAddresses.length === 0 ? undefined : selfAddresses,
  }) as SpeakerPeerConfig;
}

/** The neighbour that a connection into a range makes. */
export function instantiate(
  { name, asns, template }: DynamicNeighbor,
  peer: Extract<Neighbor['peer'], { address: unknown }>,
): Neighbor {
  const at = peer.interface === undefined ? peer.address : `${peer.address}%${peer.interface}`;
  return {
    ...template,
    name: `${name}@${at}`,
    peer,
    asn: asns,
    passive: true,
    // Who connects and says nothing would hold one of the range's places.
    timers: { open: RANGE_OPEN_SECONDS, ...template.timers },
  };
}

/** Without keys whose value is undefined, through all levels: absent, not undefined, to the core's types. */
function compact(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(compact);
  if (value === null || typeof value !== 'object') return value;
  return Object.fromEntries(
    Object.entries(value).flatMap(([key, each]) =>
      each === undefined ? [] : [[key, compact(each)]],
    ),
  );
}
