import type { BGPPeerOptions, CiliumBGPPeerConfig } from '@causeway/resources';
import { given } from './given.ts';
import type { BgpInputs } from './inputs.ts';
import { NOTHING } from './policies.ts';
import {
  type FamilyKey,
  type Neighbor,
  type NeighborBfd,
  type NeighborFamily,
  type NeighborTemplate,
  speakerName,
} from './speaker-port.ts';

type PeerSpec = CiliumBGPPeerConfig['spec'];
type PeerOptions = BGPPeerOptions['spec'];
type PeerFamily = NonNullable<PeerSpec['families']>[number];
type FamilyOptions = NonNullable<PeerOptions['families']>[number];

/** Without families in the peer config both are spoken, and nothing is announced, as in Cilium. */
const DEFAULT_FAMILIES: readonly PeerFamily[] = [
  { afi: 'ipv4', safi: 'unicast' },
  { afi: 'ipv6', safi: 'unicast' },
];

/** The settings that peers refer to: a CiliumBGPPeerConfig with what extends it, or the defaults. */
export interface Profile {
  /** Name of the CiliumBGPPeerConfig; empty for the defaults. */
  readonly name: string;
  readonly spec: PeerSpec;
  readonly options: PeerOptions;
  readonly families: readonly ProfileFamily[];
}

export interface ProfileFamily {
  readonly key: FamilyKey;
  readonly family: PeerFamily;
  readonly options: FamilyOptions;
  /** Names in the speaker's policies. */
  readonly import: string;
  readonly export: string;
}

/** Undefined: it refers to a CiliumBGPPeerConfig that is not there, and waits for it. */
export function profileOf(
  ref: string | undefined,
  peer: string,
  inputs: BgpInputs,
  problems: string[],
): Profile | undefined {
  const config = inputs.peerConfigs.find(({ metadata }) => metadata.name === ref);
  if (ref !== undefined && config === undefined) {
    problems.push(`${peer}: there is no CiliumBGPPeerConfig ${ref}; the session waits for it`);
    return undefined;
  }
  const options: PeerOptions =
    inputs.peerOptions.find(({ metadata }) => metadata.name === ref)?.spec ?? {};
  const spec = config?.spec ?? {};
  const families = (spec.families ?? DEFAULT_FAMILIES).map((family): ProfileFamily => {
    const { afi, safi } = family;
    const key: FamilyKey = afi === 'ipv4' ? 'ipv4-unicast' : 'ipv6-unicast';
    const own = options.families?.find((each) => each.afi === afi) ?? { afi, safi };
    const policy = `${ref ?? ''}:${key}`;
    return {
      key,
      family,
      options: own,
      import: own.import?.length ? speakerName(`import:${policy}`) : NOTHING,
      export: speakerName(`export:${policy}`),
    };
  });
  for (const { afi, safi } of options.families ?? []) {
    if (families.some(({ family }) => family.afi === afi)) continue;
    problems.push(
      `BGPPeerOptions ${ref} has settings for ${afi}/${safi}, which CiliumBGPPeerConfig ${ref} does not speak`,
    );
  }
  return { name: ref ?? '', spec, options, families };
}

/** What a session with these settings is, but for who is at its other end. */
export function sessionOf(
  profile: Profile,
  ...rest: [external: boolean, name: string, inputs: BgpInputs, problems: string[]]
): NeighborTemplate & Pick<Neighbor, 'port' | 'passive' | 'adminDown'> {
  const { spec, options } = profile;
  const { locked, template } = templateOf(profile, ...rest);
  return {
    ...given({
      port: spec.transport?.peerPort,
      passive: options.passive,
      adminDown: options.adminDown || locked || undefined,
    }),
    ...template,
  };
}

/** `locked`: a password that the session should have cannot be had; it must not be opened without. */
export function templateOf(
  { spec, options, families }: Profile,
  external: boolean,
  name: string,
  inputs: BgpInputs,
  problems: string[],
): { locked: boolean; template: NeighborTemplate } {
  const { timers, gracefulRestart, ebgpMultihop = 1 } = spec;
  const hops = options.ttlSecurity?.hops;
  const multihopTtl = external && ebgpMultihop > 1 ? ebgpMultihop : undefined;
  if (multihopTtl !== undefined && hops !== undefined) {
    problems.push(
      `${name}: ebgpMultihop and ttlSecurity do not go together; ttlSecurity counts, with hops ${hops}`,
    );
  }
  // tcp(7): 80 bytes; RFC 5880 section 4.2: 16, or 20 with SHA-1.
  const password = passwordOf(spec.authSecretRef, 80, name, inputs, problems);
  const auth = options.bfd?.auth;
  const most = auth?.type.endsWith('SHA1') ? 20 : 16;
  const key = passwordOf(auth?.secretRef, most, name, inputs, problems);
  const allTimers = given({
    hold: timers?.holdTimeSeconds,
    keepalive: keepaliveOf(timers),
    connectRetry:
      timers?.connectRetryTimeSeconds && Math.min(timers.connectRetryTimeSeconds, 65_535),
    delayOpen: options.timers?.delayOpenSeconds,
    idleHold: options.timers?.idleHoldSeconds,
  });
  const template: NeighborTemplate = {
    families: families.map((family) => familyOf(family, options)),
    // Off unless asked for, as in Cilium.
    gracefulRestart: gracefulRestart?.enabled
      ? given({
          restartTime: gracefulRestart.restartTimeSeconds ?? 120,
          helper: options.gracefulRestartHelper,
        })
      : false,
    ...given({
      password: password ?? undefined,
      ttlSecurity: hops,
      multihopTtl: hops === undefined ? multihopTtl : undefined,
      timers: Object.keys(allTimers).length === 0 ? undefined : allTimers,
      extendedNextHop: options.extendedNextHop,
      extendedMessages: options.extendedMessages,
      routeReflectorClient: options.routeReflectorClient,
      bfd: options.bfd && bfdOf(options.bfd, key ?? undefined),
      description: options.description,
    }),
  };
  return { locked: password === null || key === null, template };
}

/** The CRDs take as much as the hold time; a session lives only by less. */
function keepaliveOf(timers: PeerSpec['timers']): number | undefined {
  if (timers?.keepAliveTimeSeconds === undefined) return undefined;
  return Math.min(timers.keepAliveTimeSeconds, 21_845, (timers.holdTimeSeconds ?? 90) - 1);
}

function familyOf(family: ProfileFamily, { nextHop }: PeerOptions): NeighborFamily {
  const { addPath, maxPrefixes, longLivedStaleSeconds } = family.options;
  return {
    family: family.key,
    import: family.import,
    export: family.export,
    ...given({
      addPath: addPath && { receive: addPath.receive ?? false, send: addPath.send ?? 0 },
      maxPrefixes:
        maxPrefixes &&
        given({
          limit: maxPrefixes.limit,
          action: ACTIONS[maxPrefixes.action ?? 'Reset'],
          warnAt: maxPrefixes.warnAtPercent,
          restartAfter: maxPrefixes.restartAfterSeconds,
        }),
      nextHop: nextHop && NEXT_HOPS[nextHop],
      llgr: longLivedStaleSeconds,
    }),
  };
}

const NEXT_HOPS = { Self: 'self', Unchanged: 'unchanged' } as const;
const ACTIONS = { Warn: 'warn', Reset: 'reset', Refuse: 'refuse' } as const;
const AUTH = {
  Simple: 'simple',
  KeyedMD5: 'keyed-md5',
  MeticulousMD5: 'meticulous-keyed-md5',
  KeyedSHA1: 'keyed-sha1',
  MeticulousSHA1: 'meticulous-keyed-sha1',
} as const;

function bfdOf(bfd: NonNullable<PeerOptions['bfd']>, key: string | undefined): NeighborBfd {
  const { auth } = bfd;
  return {
    intervalMs: bfd.intervalMilliseconds ?? 300,
    multiplier: bfd.multiplier ?? 3,
    ...given({
      multihop: bfd.multihop,
      strict: bfd.strict,
      auth:
        auth === undefined || key === undefined
          ? undefined
          : { type: AUTH[auth.type], keyId: auth.keyID, key },
    }),
  };
}

/** Undefined: none is asked for. Null: it is asked for and cannot be had. */
function passwordOf(
  name: string | undefined,
  mostBytes: number,
  peer: string,
  { passwords }: BgpInputs,
  problems: string[],
): string | null | undefined {
  if (name === undefined) return undefined;
  const password = passwords.get(name);
  const bytes = Buffer.byteLength(password ?? '');
  if (password !== undefined && bytes > 0 && bytes <= mostBytes) return password;
  const why = !passwords.has(name)
    ? `there is no Secret ${name}`
    : bytes === 0
      ? `the Secret ${name} has no key "password"`
      : `the password in the Secret ${name} has ${bytes} bytes, and at most ${mostBytes} can be used`;
  problems.push(`${peer}: ${why}; the session stays down`);
  return null;
}
