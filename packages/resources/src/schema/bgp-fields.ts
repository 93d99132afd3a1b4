import { Address } from '@causeway/ip';
import * as z from 'zod';
import { closed, maybe, text } from './build.ts';
import { k8sSelector } from './common.ts';

// Fields that the kinds about BGP share. Field names and defaults are Cilium's.

/** RFC 6793; 0 is reserved (RFC 7607) and AS_TRANS (23456) is nobody's. */
export const asn = z
  .int({ error: 'must be an AS number, 1 to 4294967295' })
  .min(1, 'must be an AS number, 1 to 4294967295')
  .max(0xffff_ffff, 'must be an AS number, 1 to 4294967295')
  .refine((value) => value !== 23456, 'must not be 23456 (AS_TRANS, RFC 6793)');

/** A name of an instance or a peer: unique in its list. */
export const listName = z
  .string()
  .min(1, 'must have 1 to 255 characters')
  .max(255, 'must have 1 to 255 characters');

/** A router id in its usual form (RFC 6286: any but 0). */
export const routerId = text(
  (value) => value !== '0.0.0.0' && !value.includes(':') && Address.tryParse(value) !== undefined,
  'a router id in the form of an IPv4 address, not 0.0.0.0',
);

/** An address that a session can be opened to or from. */
export const unicastAddress = text((value) => {
  const address = Address.tryParse(value.trim());
  if (address === undefined) return false;
  return !Address.isMulticast(address) && !Address.isUnspecified(address);
}, 'a unicast IP address such as 192.0.2.1 or 2001:db8::1, without zone and length');

export const interfaceName = text(
  (value) => /^[^/:\s\0]{1,15}$/.test(value) && value !== '.' && value !== '..',
  'the name of an interface: 1 to 15 characters without "/", ":" and spaces',
);

export const afi = z.enum(['ipv4', 'ipv6', 'l2vpn', 'ls', 'opaque']);
export const safi = z.enum([
  'unicast',
  'multicast',
  'mpls_label',
  'encapsulation',
  'vpls',
  'evpn',
  'ls',
  'sr_policy',
  'mup',
  'mpls_vpn',
  'mpls_vpn_multicast',
  'route_target_constraints',
  'flowspec_unicast',
  'flowspec_vpn',
  'key_value',
]);

const within = (value: string, max: number): boolean =>
  /^(0|[1-9][0-9]{0,9})$/.test(value) && Number(value) <= max;

/** RFC 1997: one number of 32 bits, or two of 16. */
export const standardCommunity = text((value) => {
  const parts = value.split(':');
  if (parts.length === 1) return within(value, 0xffff_ffff);
  return parts.length === 2 && parts.every((part) => within(part, 0xffff));
}, 'a community: two numbers of 0 to 65535 such as "64512:100", or one of 0 to 4294967295');

/** RFC 8092. */
export const largeCommunity = text((value) => {
  const parts = value.split(':');
  return parts.length === 3 && parts.every((part) => within(part, 0xffff_ffff));
}, 'a large community: three numbers of 0 to 4294967295 such as "64512:100:50"');

/** Names of IANA's well-known communities, as Cilium has them, with their numbers. */
export const WELL_KNOWN_COMMUNITIES = Object.freeze({
  internet: '0:0',
  'planned-shut': '65535:0',
  'accept-own': '65535:1',
  'route-filter-translated-v4': '65535:2',
  'route-filter-v4': '65535:3',
  'route-filter-translated-v6': '65535:4',
  'route-filter-v6': '65535:5',
  'llgr-stale': '65535:6',
  'no-llgr': '65535:7',
  blackhole: '65535:666',
  'no-export': '65535:65281',
  'no-advertise': '65535:65282',
  'no-export-subconfed': '65535:65283',
  'no-peer': '65535:65284',
} as const);

export const wellKnownCommunity = z.enum(
  Object.keys(WELL_KNOWN_COMMUNITIES) as (keyof typeof WELL_KNOWN_COMMUNITIES)[],
);

/** Seconds of a timer; RFC 4271 gives hold time and the others 16 bits. */
export const seconds = (least: number, most: number) =>
  z
    .int()
    .min(least, `must be ${least} to ${most} seconds`)
    .max(most, `must be ${least} to ${most} seconds`);

export const portNumber = z
  .int({ error: 'must be a port number, 1 to 65535' })
  .min(1, 'must be a port number, 1 to 65535')
  .max(65535, 'must be a port number, 1 to 65535');

/** `peerConfigRef`; group and kind stood in v2alpha1 only. */
export const peerConfigRef = closed({
  group: maybe(z.literal('cilium.io')),
  kind: maybe(z.literal('CiliumBGPPeerConfig')),
  name: text(
    (value) => value.length > 0 && value.length <= 253,
    'the name of a CiliumBGPPeerConfig',
  ),
}).meta({
  description: 'The CiliumBGPPeerConfig with the settings; without it the defaults hold.',
});

export const selector = k8sSelector;

/** Kubernetes' condition, as status blocks have it. */
export const conditions = z.array(
  z.looseObject({ type: z.string(), status: z.enum(['True', 'False', 'Unknown']) }),
);
