import type { MaxPrefixes, OriginatedPath, PolicyLibrary } from '@causeway/bgp';
import type { Prefix } from '@causeway/ip';
import { hash32 } from '@causeway/wire';

export type { OriginatedPath };
export type FamilyKey = 'ipv4-unicast' | 'ipv6-unicast';

/** What the speaker's API takes for a session: here only what this agent ever says. */
export interface NeighborTemplate {
  readonly localAsn?: number;
  readonly localRouterId?: string;
  readonly localAddress?: string;
  readonly password?: string;
  readonly ttlSecurity?: number;
  readonly multihopTtl?: number;
  readonly timers?: {
    readonly hold?: number;
    readonly keepalive?: number;
    readonly connectRetry?: number;
    readonly delayOpen?: number;
    readonly idleHold?: number;
  };
  readonly families: readonly NeighborFamily[];
  readonly extendedNextHop?: boolean;
  readonly extendedMessages?: boolean;
  readonly routeReflectorClient?: boolean;
  readonly gracefulRestart: false | { readonly restartTime: number; readonly helper?: boolean };
  readonly bfd?: NeighborBfd;
  readonly description?: string;
}

export interface Neighbor extends NeighborTemplate {
  readonly name: string;
  readonly port?: number;
  readonly passive?: boolean;
  readonly adminDown?: boolean;
  readonly peer:
    | { readonly address: string }
    | { readonly interface: string }
    | { readonly defaultGateway: 'ipv4' | 'ipv6' };
  readonly asn: number | 'internal' | 'external' | 'any';
}

export interface NeighborFamily {
  readonly family: FamilyKey;
  readonly addPath?: { readonly receive: boolean; readonly send: number };
  readonly maxPrefixes?: MaxPrefixes;
  readonly import: string;
  readonly export: string;
  readonly nextHop?: 'self' | 'unchanged';
  readonly llgr?: number;
}

export type BfdAuth =
  | 'simple'
  | 'keyed-md5'
  | 'meticulous-keyed-md5'
  | 'keyed-sha1'
  | 'meticulous-keyed-sha1';

export interface NeighborBfd {
  readonly intervalMs: number;
  readonly multiplier: number;
  readonly multihop?: boolean;
  readonly strict?: boolean;
  readonly auth?: { readonly type: BfdAuth; readonly keyId: number; readonly key: string };
}

export interface DynamicNeighbors {
  readonly name: string;
  readonly prefix: string;
  readonly asns: readonly number[] | 'any' | 'internal' | 'external';
  readonly limit: number;
  readonly template: NeighborTemplate;
}

export interface BmpStation {
  readonly name: string;
  readonly address: string;
  readonly port: number;
  readonly views?: readonly ('in-pre' | 'in-post' | 'out-pre' | 'out-post' | 'loc')[];
  readonly statisticsInterval?: number;
}

const NAME = /^[A-Za-z0-9][-A-Za-z0-9._:]{0,127}$/;

/** A name as the speaker takes it: itself, or what is left of it with a number that stands for the rest. */
export function speakerName(text: string): string {
  if (NAME.test(text)) return text;
  const left = text.replaceAll(/[^-A-Za-z0-9._:]/g, '-').replace(/^[^A-Za-z0-9]+/, '');
  return `${(left === '' ? 'x' : left).slice(0, 100)}-${hash32(text).toString(16).padStart(8, '0')}`;
}

/** The whole wanted configuration of a speaker, as `PUT /v1/config/agent` takes it. */
export interface SpeakerConfig {
  readonly policies: PolicyLibrary['policies'];
  readonly asn: number;
  readonly routerId: string;
  readonly clusterId?: string;
  /** Empty: no connections are taken. */
  readonly listen: readonly { readonly address: string; readonly port: number }[];
  readonly gracefulRestart?: { readonly restartTime?: number; readonly deferral?: number };
  readonly multipath?: { readonly ebgp?: number; readonly ibgp?: number };
  readonly neighbors: readonly Neighbor[];
  readonly dynamicNeighbors: readonly DynamicNeighbors[];
  readonly kernel: {
    readonly mode: 'none' | 'all' | 'prefixes' | 'same-rack';
    readonly prefixes?: readonly string[];
    readonly table?: number;
    readonly metric?: number;
  };
  readonly bmp: readonly BmpStation[];
}

export interface SpeakerStatus {
  /** Another text: another process, which may have forgotten what it was told. */
  readonly process: string;
  readonly peers: number;
  readonly established: number;
}

/** How a neighbour's session is. What only a session that is up has, one that is down has not. */
export interface SpeakerSession {
  readonly state: 'idle' | 'connect' | 'active' | 'open-sent' | 'open-confirm' | 'established';
  /** RFC 3339: the state's beginning. */
  readonly since: string;
  readonly address?: string;
  readonly asn?: number;
  /** Seconds, as agreed. */
  readonly timers?: { readonly hold: number; readonly keepalive: number };
  readonly families: readonly {
    readonly family: FamilyKey;
    readonly received: number;
    readonly advertised: number;
  }[];
}

/**
 * The speaker, as the agent needs it: whole sets under the owner `agent`, kept by the speaker over its restarts
 * and ours. Each call throws with the speaker's own reason.
 */
export interface SpeakerPort {
  status(): Promise<SpeakerStatus>;
  /** Undefined: the speaker has no such neighbour. */
  session(neighbor: string): Promise<SpeakerSession | undefined>;
  /** What was put last; empty for a speaker that never heard of us. */
  paths(): Promise<readonly OriginatedPath[]>;
  /** The policies of what was put last; empty as above. */
  policies(): Promise<SpeakerConfig['policies']>;
  /** Whether a neighbour's session has been sent the prefix; false for one that is not known or not up. */
  advertised(neighbor: string, prefix: Prefix): Promise<boolean>;
  putConfig(config: SpeakerConfig): Promise<void>;
  putPaths(paths: readonly OriginatedPath[]): Promise<void>;
  /** Takes back all that we ever said. */
  forget(): Promise<void>;
}
