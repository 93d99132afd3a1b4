/**
 * Feeds as a router would send them, for tests and benchmarks: peers by number, tables by `makeTable`. The BGP
 * inside is written byte by byte, not by our codec.
 */
import { type Asn, RouterId } from '@causeway/bgp';
import { rawEndOfRib, rawOpen, rawUpdates, type SampleSet } from '@causeway/bgp/testing';
import { Address } from '@causeway/ip';
import {
  type BmpMessage,
  encodeMessage,
  type PeerDownReason,
  type SessionHeader,
  type SessionView,
} from '../index.ts';

/** A session of the sample router's. Odd ones are IPv6, with IPv6 routes. */
export interface SamplePeer {
  readonly index: number;
  readonly family: 'ipv4' | 'ipv6';
  readonly address: Address;
  readonly localAddress: Address;
  readonly asn: Asn;
  readonly bgpId: RouterId;
}

export const SAMPLE_ROUTER = Object.freeze({
  asn: 65_000 as Asn,
  bgpId: RouterId.parse('10.255.255.1'),
});

export function samplePeer(index: number): SamplePeer {
  const wide = index % 2 === 1;
  const low = `${(index >>> 8) & 255}.${index & 255}`;
  return {
    index,
    family: wide ? 'ipv6' : 'ipv4',
    address: Address.parse(wide ? `2001:db8:ffff::${index.toString(16)}` : `10.254.${low}`),
    localAddress: Address.parse(wide ? '2001:db8:ffff:1::1' : '10.255.255.1'),
    asn: (66_000 + index) as Asn,
    bgpId: RouterId.parse(`10.253.${low}`),
  };
}

/** `at`: ms since 1970. */
export function sampleHeader(peer: SamplePeer, view: SessionView, at = 0): SessionHeader {
  const { address, asn, bgpId } = peer;
  return {
    type: 'global',
    view,
    legacyAsPath: false,
    distinguisher: 0n,
    address,
    asn,
    bgpId,
    timestamp: at * 1000,
  };
}

export function sampleInitiation(sysName: string, sysDescr = 'a sample router'): Uint8Array {
  return encodeMessage({
    type: 'initiation',
    information: [
      { type: 'sysDescr', text: sysDescr },
      { type: 'sysName', text: sysName },
    ],
  });
}

/** `local`: the sample router's identity, where several are to be told apart. */
export function sampleUp(
  peer: SamplePeer,
  at = 0,
  local: { readonly asn: Asn; readonly bgpId: RouterId } = SAMPLE_ROUTER,
): Uint8Array {
  const families = ['ipv4', 'ipv6'] as const;
  const open = (asn: Asn, bgpId: RouterId): Uint8Array =>
    new Uint8Array(rawOpen({ asn, routerId: RouterId.toNumber(bgpId), holdTime: 90, families }));
  const message: BmpMessage = {
    type: 'peer-up',
    peer: sampleHeader(peer, 'in-pre', at),
    localAddress: peer.localAddress,
    localPort: 179,
    remotePort: 30_000 + peer.index,
    sentOpen: open(local.asn, local.bgpId),
    receivedOpen: open(peer.asn, peer.bgpId),
    information: [],
  };
  return encodeMessage(message);
}

export const sampleDown = (peer: SamplePeer, reason: PeerDownReason, at = 0): Uint8Array =>
  encodeMessage({ type: 'peer-down', peer: sampleHeader(peer, 'in-pre', at), reason });

/** A NOTIFICATION, whole. */
export function sampleNotification(code: number, subcode: number, text?: string): Uint8Array {
  const data = text === undefined ? [] : [Buffer.byteLength(text), ...Buffer.from(text)];
  const message = new Uint8Array(21 + data.length).fill(255);
  message.set([(21 + data.length) >> 8, (21 + data.length) & 255, 3, code, subcode, ...data], 16);
  return message;
}

/**
 * Route Monitoring of a table. `each`: a message per prefix, as FRR sends them; otherwise as many prefixes as
 * share a set. Ends with End-of-RIB.
 */
export function sampleRoutes(
  peer: SamplePeer,
  view: SessionView,
  sets: readonly SampleSet[],
  each = false,
): Uint8Array[] {
  const { family } = peer;
  const nextHop = [...Address.toBytes(peer.address)];
  const announcer = { asn: peer.asn, nextHop };
  const header = sampleHeader(peer, view);
  const frames: Uint8Array[] = [];
  const add = (update: Uint8Array): void => {
    frames.push(encodeMessage({ type: 'route-monitoring', peer: header, update }));
  };
  for (const { attributes, prefixes } of sets) {
    const parts = each ? prefixes.map((prefix) => [prefix]) : [prefixes];
    for (const part of parts) {
      for (const update of rawUpdates({ attributes, prefixes: part }, announcer, family))
        add(update);
    }
  }
  add(rawEndOfRib(family));
  return frames;
}

/** Any other UPDATE of a peer's. */
export const sampleUpdate = (peer: SamplePeer, view: SessionView, update: Uint8Array): Uint8Array =>
  encodeMessage({ type: 'route-monitoring', peer: sampleHeader(peer, view), update });
