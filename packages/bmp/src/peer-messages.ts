import { Asn, encodeOpen, Family } from '@causeway/bgp';
import type { MonitoredLocRib, MonitoredSession } from './feed.ts';
import { encodeMessage } from './wire/message.ts';
import type { PeerDownReason } from './wire/peer-down.ts';
import type { LocRibHeader, PeerHeader, RibView, SessionHeader } from './wire/peer-header.ts';

/** What the per-peer headers of our own feed look like, and the messages that begin and end a peer. */

export function sessionHeader(
  session: MonitoredSession,
  view: Exclude<RibView, 'loc'>,
  timestamp: number,
): SessionHeader {
  const { address, asn, bgpId } = session;
  return {
    type: 'global',
    view,
    // What is received is told in 4 octets whatever the session has; what is sent, as it was sent.
    legacyAsPath: view === 'out-post' && !session.fourOctetAs,
    distinguisher: 0n,
    address,
    asn,
    bgpId,
    timestamp,
  };
}

export function locRibHeader({ asn, bgpId }: MonitoredLocRib, timestamp: number): LocRibHeader {
  const [type, view, filtered, distinguisher] = ['loc-rib', 'loc', false, 0n] as const;
  return { type, view, filtered, distinguisher, asn, bgpId, timestamp };
}

export function sessionUp(session: MonitoredSession, timestamp: number): Uint8Array {
  const { localAddress, localPort, remotePort, sentOpen, receivedOpen } = session;
  return encodeMessage({
    type: 'peer-up',
    // RFC 8671 section 5: "The O flag is not used for peer notification messages and MUST be ignored".
    peer: sessionHeader(session, 'in-pre', timestamp),
    localAddress,
    localPort,
    remotePort,
    sentOpen,
    receivedOpen,
    information: [],
  });
}

/** RFC 9069 section 6.1.1: the name of the default Loc-RIB instance. */
const TABLE_NAME = 'global';

export function locRibUp(locRib: MonitoredLocRib, timestamp: number): Uint8Array {
  const open = locRibOpen(locRib);
  return encodeMessage({
    type: 'peer-up',
    peer: locRibHeader(locRib, timestamp),
    localPort: 0,
    remotePort: 0,
    sentOpen: open,
    receivedOpen: open,
    information: [{ type: 'tableName', text: TABLE_NAME }],
  });
}

/**
 * RFC 9069 section 4.4: "Capabilities MUST include the 4-octet ASN and all necessary capabilities to represent
 * the Loc-RIB Route Monitoring messages"; sent and received are the same.
 */
function locRibOpen({ asn, bgpId, families, addPath = [] }: MonitoredLocRib): Uint8Array {
  return encodeOpen({
    version: 4,
    myAs: Asn.fitsTwoOctets(asn) ? asn : Asn.trans,
    holdTime: 0,
    routerId: bgpId,
    capabilities: [
      ...families.map((key) => ({ type: 'multiprotocol', family: Family.row(key) }) as const),
      { type: 'four-octet-as', asn },
      ...(addPath.length === 0
        ? []
        : [
            {
              type: 'add-path',
              families: addPath.map((key) => ({ family: Family.row(key), mode: 'both' }) as const),
            } as const,
          ]),
    ],
  });
}

export function peerDown(peer: PeerHeader, reason: PeerDownReason): Uint8Array {
  return encodeMessage({ type: 'peer-down', peer, reason });
}
