import type { FamilyCounters, Negotiated, PeerRow, PeerState } from '@causeway/bgp';
import type { BfdState } from '../bfd.ts';
import type { Neighbor } from '../config/settings.ts';
import { type DownView, downView } from './down.ts';
import { instant, secondsSince } from './time.ts';

export interface FamilyView extends Omit<FamilyCounters, 'family'> {
  readonly family: string;
  /** Policies by name. */
  readonly import?: string;
  readonly export?: string;
}

export interface NegotiatedView {
  readonly localAsn: number;
  readonly peerAsn: number;
  readonly holdTime: number;
  readonly keepaliveTime: number;
  readonly fourOctetAs: boolean;
  readonly routeRefresh: boolean;
  readonly enhancedRouteRefresh: boolean;
  readonly maxMessage: number;
  readonly families: Negotiated['families'];
  readonly gracefulRestart?: Negotiated['gracefulRestart'];
}

/** A neighbour as the API shows it. Nothing in it is claimed of a session that is down. */
export interface PeerView {
  readonly name: string;
  readonly description?: string;
  /** The range that it came from. */
  readonly dynamic?: string;
  readonly state: PeerState;
  readonly since: string;
  readonly stateSeconds: number;
  readonly adminDown: boolean;
  readonly passive: boolean;
  readonly address?: string;
  readonly interface?: string;
  readonly localAddress?: string;
  readonly asn: number | string;
  readonly kind?: 'internal' | 'external';
  readonly peerId?: string;
  readonly routeReflectorClient: boolean;
  /** Why no session is tried. */
  readonly waitingFor?: 'address' | 'bfd';
  readonly lastDown?: DownView & { readonly at: string; readonly established: boolean };
  readonly ups: number;
  readonly downs: number;
  readonly negotiated?: NegotiatedView;
  /** Its routes are kept while it is away. */
  readonly restart?: { readonly phase: 'stale' | 'llgr'; readonly until: string };
  readonly bfd?: {
    readonly state: BfdState;
    readonly strict: boolean;
    readonly intervalMs: number;
    readonly multiplier: number;
  };
  readonly authentication: 'md5' | 'none';
  readonly ttlSecurity?: number;
  readonly families: readonly FamilyView[];
  readonly messages: PeerRow['messages'];
}

/** What is known of a neighbour besides the core's row. */
export interface PeerFactsView {
  readonly neighbor: Neighbor;
  readonly range: string | undefined;
  readonly address: string | undefined;
  readonly device: string | undefined;
  readonly bfd: BfdState | undefined;
}

export function peerView(row: PeerRow, facts: PeerFactsView): PeerView {
  const { neighbor, range, device, bfd } = facts;
  const { negotiated, lastDown, restart, endpoints } = row;
  const address = endpoints?.remoteAddress ?? facts.address;
  const idle = row.state === 'idle' || row.state === 'active' || row.state === 'connect';
  const waitingFor =
    idle && address === undefined
      ? 'address'
      : idle && neighbor.bfd?.strict && bfd !== 'up'
        ? 'bfd'
        : undefined;
  return {
    name: row.name,
    ...(neighbor.description === undefined ? {} : { description: neighbor.description }),
    ...(range === undefined ? {} : { dynamic: range }),
    state: row.state,
    since: instant(row.since),
    stateSeconds: secondsSince(row.since),
    adminDown: neighbor.adminDown ?? false,
    passive: neighbor.passive ?? false,
    ...(address === undefined ? {} : { address }),
    ...(device === undefined ? {} : { interface: device }),
    ...(endpoints === undefined ? {} : { localAddress: endpoints.localAddress }),
    asn: negotiated?.peerAsn ?? shownAsn(neighbor.asn),
    ...(row.kind === undefined ? {} : { kind: row.kind }),
    ...(row.peerId === undefined ? {} : { peerId: row.peerId }),
    routeReflectorClient: row.routeReflectorClient,
    ...(waitingFor === undefined ? {} : { waitingFor }),
    ...(lastDown === undefined
      ? {}
      : {
          lastDown: {
            ...downView(lastDown.reason),
            at: instant(lastDown.at),
            established: lastDown.established,
          },
        }),
    ups: row.ups,
    downs: row.downs,
    ...(negotiated === undefined ? {} : { negotiated: negotiatedView(negotiated) }),
    ...(restart === undefined
      ? {}
      : { restart: { phase: restart.phase, until: instant(restart.until) } }),
    ...(neighbor.bfd === undefined
      ? {}
      : {
          bfd: {
            state: bfd ?? 'unknown',
            strict: neighbor.bfd.strict,
            intervalMs: neighbor.bfd.intervalMs,
            multiplier: neighbor.bfd.multiplier,
          },
        }),
    authentication: neighbor.password === undefined ? 'none' : 'md5',
    ...(neighbor.ttlSecurity === undefined ? {} : { ttlSecurity: neighbor.ttlSecurity }),
    families: neighbor.families.map(({ family, import: incoming, export: outgoing }) => ({
      ...(row.families.find((each) => each.family === family) ?? {
        family,
        received: 0,
        accepted: 0,
        advertised: 0,
        pending: 0,
        stale: 0,
        endOfRibReceived: false,
        endOfRibSent: false,
      }),
      ...(incoming === undefined ? {} : { import: incoming }),
      ...(outgoing === undefined ? {} : { export: outgoing }),
    })),
    messages: row.messages,
  };
}

const shownAsn = (asn: number | string | readonly number[]): number | string =>
  typeof asn === 'object' ? asn.join(',') : asn;

export function negotiatedView(negotiated: Negotiated): NegotiatedView {
  const { localAsn, peerAsn, holdTime, keepaliveTime, fourOctetAs, families, gracefulRestart } =
    negotiated;
  const { routeRefresh, enhancedRouteRefresh, maxMessage } = negotiated;
  return {
    localAsn,
    peerAsn,
    holdTime,
    keepaliveTime,
    fourOctetAs,
    routeRefresh,
    enhancedRouteRefresh,
    maxMessage,
    families,
    ...(gracefulRestart === undefined ? {} : { gracefulRestart }),
  };
}
