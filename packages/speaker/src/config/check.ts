import type { Asn, PolicyLibrary } from '@causeway/bgp';
import { refuseConfig } from '@causeway/daemon';
import { Address, Prefix } from '@causeway/ip';
import type { DynamicNeighborConfig, NeighborConfig, SessionSettings } from './neighbor-schema.ts';

/** What the API shows in place of a secret. */
export const REDACTED = '(set)';

type Refuse = (at: string, value: unknown, message: string, hint?: string) => never;

/** What no single field of a neighbour can know. @throws DaemonError `bad-config`. */
export function checkNeighbor(
  neighbor: NeighborConfig,
  field: string,
  source: string,
  asn: Asn,
  library: PolicyLibrary,
): void {
  const refuse: Refuse = (at, value, message, hint) =>
    refuseConfig(source, `${field}.${at}`, value, message, hint);
  const { peer, localAddress, name } = neighbor;
  if (name.startsWith('local:'))
    refuse('name', name, 'must not begin with "local:", which is how originated routes are called');
  if ('address' in peer) {
    const linkLocal = Address.isIPv6(peer.address) && Prefix.contains(LINK_LOCAL, peer.address);
    if (linkLocal && peer.interface === undefined)
      refuse('peer.interface', undefined, `is missing: ${peer.address} is link-local`);
    if (localAddress !== undefined && Address.family(localAddress) !== Address.family(peer.address))
      refuse('localAddress', localAddress, `is of another family than ${peer.address}`);
  }
  if (
    'interface' in peer &&
    !('address' in peer) &&
    neighbor.port !== undefined &&
    neighbor.passive
  )
    refuse('port', neighbor.port, 'has no use in a passive session');
  checkSession(neighbor, refuse, library);
  const other =
    typeof neighbor.asn === 'number' ? neighbor.asn : neighbor.asn === 'internal' ? asn : 0;
  const ours = neighbor.localAsn ?? asn;
  if (neighbor.routeReflectorClient && other !== ours && neighbor.asn !== 'any')
    refuse(
      'routeReflectorClient',
      true,
      `is for internal neighbours; this one is of AS ${neighbor.asn}`,
    );
}

/** The same for a range of dynamic neighbours. */
export function checkTemplate(
  { template, asns, prefix, name }: DynamicNeighborConfig,
  field: string,
  source: string,
  asn: Asn,
  library: PolicyLibrary,
): void {
  const refuse: Refuse = (at, value, message, hint) =>
    refuseConfig(source, `${field}.${at}`, value, message, hint);
  if (name.startsWith('local:'))
    refuse('name', name, 'must not begin with "local:", which is how originated routes are called');
  const { localAddress } = template;
  if (localAddress !== undefined && Address.family(localAddress) !== Prefix.family(prefix))
    refuse('template.localAddress', localAddress, `is of another family than ${prefix}`);
  const ours = template.localAsn ?? asn;
  const external = asns === 'external' || (Array.isArray(asns) && !asns.includes(ours));
  if (template.routeReflectorClient && external)
    refuse('template.routeReflectorClient', true, 'is for internal neighbours');
  checkSession(template, (at, ...rest) => refuse(`template.${at}`, ...rest), library);
}

const LINK_LOCAL = Prefix.parse('fe80::/10');

function checkSession(settings: SessionSettings, refuse: Refuse, library: PolicyLibrary): void {
  const { password, passwordFile, ttlSecurity, multihopTtl, timers, bfd } = settings;
  if (password !== undefined && passwordFile !== undefined)
    refuse('passwordFile', passwordFile, 'must not stand beside password');
  if (password === REDACTED)
    refuse(
      'password',
      REDACTED,
      'is what the API shows in place of a password, not one',
      'send the password itself',
    );
  if (password !== undefined && Buffer.byteLength(password) > 80)
    refuse('password', REDACTED, 'must not have more than 80 bytes (tcp(7))');
  if (ttlSecurity !== undefined && multihopTtl !== undefined)
    refuse(
      'multihopTtl',
      multihopTtl,
      'must not stand beside ttlSecurity, which sends with TTL 255',
    );
  if (timers?.keepalive !== undefined && timers.hold === 0)
    refuse('timers.keepalive', timers.keepalive, 'has no meaning with hold 0');
  if (
    timers?.keepalive !== undefined &&
    timers.hold !== undefined &&
    timers.keepalive >= timers.hold
  )
    refuse('timers.keepalive', timers.keepalive, `must be less than hold (${timers.hold})`);
  if (bfd?.auth !== undefined) checkBfdKeys(bfd.auth, refuse);
  for (const [index, family] of settings.families.entries()) {
    for (const direction of ['import', 'export'] as const) {
      const policy = family[direction];
      if (policy !== undefined && !Object.hasOwn(library.policies, policy))
        refuse(
          `families.${index}.${direction}`,
          policy,
          'names no policy',
          `policies: ${Object.keys(library.policies).slice(0, 20).join(', ') || '(none)'}`,
        );
    }
  }
}

function checkBfdKeys(
  { type, keyId, key, alsoAccept }: NonNullable<NonNullable<SessionSettings['bfd']>['auth']>,
  refuse: Refuse,
): void {
  // RFC 5880 section 4.2: simple passwords and MD5 keys have up to 16 bytes, SHA1 keys 20.
  const most = type.endsWith('sha1') ? 20 : 16;
  for (const [field, text] of [
    ['bfd.auth.key', key],
    ['bfd.auth.alsoAccept.key', alsoAccept?.key ?? ''],
  ] as const) {
    if (text === REDACTED)
      refuse(
        field,
        REDACTED,
        'is what the API shows in place of a key, not one',
        'send the key itself',
      );
    if (Buffer.byteLength(text) > most)
      refuse(field, REDACTED, `must not have more than ${most} bytes for ${type}`);
  }
  if (alsoAccept?.keyId === keyId)
    refuse('bfd.auth.alsoAccept.keyId', keyId, 'must be another than that of the first key');
}
