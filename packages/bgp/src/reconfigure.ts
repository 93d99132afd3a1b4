import type { Address } from '@causeway/ip';
import type { PeerConfig, PeerTarget } from './config.ts';
import type { ConnectOptions } from './events.ts';

/** What a new configuration asks of a session that is there. */
export type ConfigChange = 'unchanged' | 'updated-live' | 'restarted';

/** What a running session was built on: TCP, and what its OPEN says. The rest takes effect as it is. */
function agreed(config: PeerConfig): unknown {
  const { timers, gracefulRestart } = config;
  return [
    config.target,
    config.asn,
    config.localAsn,
    config.routerId,
    config.families.map(({ family, addPath, llgr }) => [
      family,
      addPath?.receive === true,
      (addPath?.send ?? 0) > 0,
      llgr,
    ]),
    timers?.hold,
    timers?.keepalive,
    config.password,
    config.ttlSecurity,
    config.multihopTtl,
    config.extendedNextHop === true,
    config.extendedMessages !== false,
    gracefulRestart && [gracefulRestart.restartTime, gracefulRestart.notification !== false],
    config.enforceFirstAs !== false,
    config.hostname,
  ];
}

export function compareConfig(before: PeerConfig, after: PeerConfig): ConfigChange {
  if (JSON.stringify(agreed(before)) !== JSON.stringify(agreed(after))) return 'restarted';
  return JSON.stringify(before) === JSON.stringify(after) ? 'unchanged' : 'updated-live';
}

/** TCP MD5, TTL and the like, for a connection in either direction. */
export function connectOptions(config: PeerConfig): ConnectOptions {
  const { password, ttlSecurity, multihopTtl, asn, localAsn } = config;
  const external =
    asn === 'external' ||
    (typeof asn === 'number' && asn !== localAsn) ||
    (typeof asn === 'object' && !asn.includes(localAsn));
  // RFC 5082 section 3: 255 out, and in at least what is left of it after so many hops.
  const ttl = ttlSecurity !== undefined ? 255 : (multihopTtl ?? (external ? 1 : undefined));
  return {
    ...(password === undefined ? {} : { password }),
    ...(ttl === undefined ? {} : { ttl }),
    ...(ttlSecurity === undefined ? {} : { minTtl: 256 - ttlSecurity }),
  };
}

/** Where to connect to, once the address is known. */
export function resolveTarget(
  configured: PeerTarget,
  learned: { readonly address: Address | undefined; readonly device?: string } | undefined,
): (PeerTarget & { readonly address: Address }) | undefined {
  const address = configured.address ?? learned?.address;
  if (address === undefined) return undefined;
  const device = configured.device ?? learned?.device;
  return { ...configured, address, ...(device === undefined ? {} : { device }) };
}
