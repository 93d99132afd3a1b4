import type { Address } from '@causeway/ip';
import type { PeerConfig } from '../config.ts';
import type {
  ConnectionId,
  DownReason,
  Negotiated,
  NegotiatedFamily,
  PeerState,
} from '../events.ts';
import type { Peer } from '../peer.ts';
import type { Member } from '../rib/group-member.ts';
import type { Importer } from '../rib/import.ts';
import type { Rib } from '../rib/rib.ts';
import type { UpdateGroup } from '../rib/update-group.ts';
import type { FamilyKey } from '../types.ts';
import type { SpeakerConfig, SpeakerFamilyConfig, SpeakerPeerConfig } from './config.ts';
import type { PurgeJob } from './jobs.ts';

/** One neighbour in one family. */
export interface PeerFamily {
  readonly family: FamilyKey;
  readonly rib: Rib;
  config: SpeakerFamilyConfig;
  /** While the session is up and the family agreed on. */
  negotiated: NegotiatedFamily | undefined;
  importer: Importer | undefined;
  group: UpdateGroup | undefined;
  member: Member | undefined;
  /** The group it is to move to, once that has looked at the table. */
  next: UpdateGroup | undefined;
  endOfRibReceived: boolean;
  /** Paths are kept though the session is down: by which rule, and until when (ms). */
  restart:
    | { readonly phase: 'stale' | 'llgr'; readonly until: number; readonly turn: number }
    | undefined;
  /** Seconds for which they may be kept after that. */
  llgrSeconds: number;
  purge: PurgeJob | undefined;
  warned: boolean;
  /** Beyond the limit, and so reset: said once. */
  limited: boolean;
}

export interface SpeakerPeer {
  readonly name: string;
  readonly index: number;
  config: SpeakerPeerConfig;
  readonly peer: Peer;
  readonly families: Map<FamilyKey, PeerFamily>;
  state: PeerState;
  since: number;
  negotiated: Negotiated | undefined;
  /** Of the session before, while there is none: paths of it may be kept, and policies still be asked about them. */
  former: Negotiated | undefined;
  connection: ConnectionId | undefined;
  /** Where its connections come from. */
  address: Address | undefined;
  lastDown:
    | { readonly at: number; readonly reason: DownReason; readonly established: boolean }
    | undefined;
  ups: number;
  downs: number;
  updatesIn: number;
  updatesOut: number;
  bytesIn: number;
  bytesOut: number;
  /** The shell was told to wake it and has not read it dry since. */
  awake: boolean;
  removed: boolean;
  /** ms for which its timer is set. */
  timerAt: number | undefined;
}

/** What W's session is made of. */
export function sessionConfig(config: SpeakerPeerConfig, speaker: SpeakerConfig): PeerConfig {
  const { families, localAsn, localRouterId, ...rest } = config;
  const {
    routeReflectorClient: _client,
    sharedSubnets: _subnets,
    selfAddresses: _addresses,
    ...session
  } = rest;
  const restart = speaker.gracefulRestart;
  return {
    ...session,
    ...(session.gracefulRestart === undefined && restart !== undefined
      ? { gracefulRestart: { restartTime: restart.restartTime ?? 120 } }
      : {}),
    localAsn: localAsn ?? speaker.asn,
    routerId: localRouterId ?? speaker.routerId,
    families: families.map(({ family, addPath, llgr }) => ({
      family,
      ...(addPath === undefined ? {} : { addPath }),
      ...(llgr === undefined ? {} : { llgr }),
    })),
  };
}
