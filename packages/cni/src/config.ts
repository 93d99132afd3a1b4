import { isContainerId, isIfname } from './environment.ts';
import { CniCode, CniError, shown } from './errors.ts';
import { type CniVersion, parseVersion } from './versions.ts';

/** Largest configuration read from standard input, in bytes. */
export const MAX_CONFIG_BYTES = 1_048_576;

export const DEFAULT_AGENT_SOCKET = '/run/causeway/agent.sock';

/** A runtime's configuration for one call, checked. Keys that are not known here were left alone. */
export interface NetworkConfig {
  readonly cniVersion: CniVersion;
  readonly name: string;
  readonly agentSocket: string;
  /** Seconds that ADD waits for an agent that is just starting; 0 to 60. */
  readonly agentWaitSeconds: number;
  /** MTU of the pod's interface; the agent's own choice if missing. */
  readonly mtu?: number;
  /** File that gets one line of JSON a call. */
  readonly log?: string;
  /** The interface exists already, made by the plugin before us: enforce on it and hand the result on. */
  readonly chained: boolean;
  readonly prevResult?: Readonly<Record<string, unknown>>;
  /** `dns` of the configuration, handed to the container runtime in the result. */
  readonly dns?: Readonly<Record<string, unknown>>;
  /** GC only. */
  readonly validAttachments?: readonly Attachment[];
}

export interface Attachment {
  readonly containerId: string;
  readonly ifname: string;
}

const VALID_ATTACHMENTS = 'cni.dev/valid-attachments';

/** Throws CniError 5 for what is too large, 6 for what is no JSON object, 1 for another version, 7 for a field that is wrong. */
export function parseConfig(text: string): NetworkConfig {
  const raw = decode(text);
  const cniVersion = parseVersion(raw.cniVersion);
  const name = raw.name;
  // Section 1 of the specification, "Configuration format".
  if (typeof name !== 'string' || !/^[A-Za-z0-9][A-Za-z0-9_.-]{0,255}$/.test(name)) {
    throw wrong('name', name, 'a name of letters, digits, "_", "." and "-"');
  }
  const agentSocket = raw.agentSocket ?? DEFAULT_AGENT_SOCKET;
  if (!isPath(agentSocket, 107)) {
    throw wrong('agentSocket', agentSocket, 'an absolute path of at most 107 bytes');
  }
  const agentWaitSeconds = raw.agentWaitSeconds ?? 5;
  if (!isNumber(agentWaitSeconds, 0, 60)) {
    throw wrong('agentWaitSeconds', agentWaitSeconds, 'a number of seconds from 0 to 60');
  }
  const { mtu, log, chained = false } = raw;
  // IPv6 needs 1280 (RFC 8200 section 5).
  if (mtu !== undefined && !(isNumber(mtu, 1280, 65_535) && Number.isInteger(mtu))) {
    throw wrong('mtu', mtu, 'a whole number from 1280 to 65535');
  }
  if (log !== undefined && !isPath(log, 4096)) throw wrong('log', log, 'an absolute path');
  if (typeof chained !== 'boolean') throw wrong('chained', chained, 'true or false');
  const prevResult = optionalObject('prevResult', raw.prevResult);
  const dns = optionalObject('dns', raw.dns);
  return {
    cniVersion,
    name,
    agentSocket,
    agentWaitSeconds,
    chained,
    ...(mtu === undefined ? {} : { mtu }),
    ...(log === undefined ? {} : { log }),
    ...(prevResult === undefined ? {} : { prevResult }),
    ...(dns === undefined ? {} : { dns }),
    ...(Object.hasOwn(raw, VALID_ATTACHMENTS)
      ? { validAttachments: attachments(raw[VALID_ATTACHMENTS]) }
      : {}),
  };
}

/**
 * The same for DEL, which must go through also where a field that only ADD needs has become wrong since: all but
 * `cniVersion` and `agentSocket` is left out.
 */
export function parseDeletionConfig(text: string): NetworkConfig {
  const { cniVersion, agentSocket } = decode(text);
  return parseConfig(JSON.stringify({ cniVersion, name: 'deletion', agentSocket }));
}

/** The `cniVersion` for an error or VERSION answer, where the configuration may be anything. */
export function versionText(text: string): string | undefined {
  try {
    const { cniVersion } = decode(text);
    return typeof cniVersion === 'string' && cniVersion.length <= 32 ? cniVersion : undefined;
  } catch {
    return undefined;
  }
}

function decode(text: string): Record<string, unknown> {
  if (text.length > MAX_CONFIG_BYTES) {
    throw new CniError(
      CniCode.ioFailure,
      `the network configuration has over ${MAX_CONFIG_BYTES} bytes`,
      'No configuration needs that much; what wrote it?',
    );
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new CniError(
      CniCode.decodingFailure,
      'the network configuration is not JSON',
      `It begins with ${shown(text.slice(0, 60))}.`,
      cause,
    );
  }
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) {
    return value as Record<string, unknown>;
  }
  throw new CniError(CniCode.decodingFailure, 'the network configuration is not a JSON object');
}

/** Go's library writes null for an empty list: no attachment is valid then. */
function attachments(value: unknown): Attachment[] {
  if (value === null) return [];
  if (!Array.isArray(value)) throw wrong(VALID_ATTACHMENTS, value, 'a list');
  return value.map((item: unknown, i) => {
    const { containerID, ifname } = (item ?? {}) as Record<string, unknown>;
    const field = `${VALID_ATTACHMENTS}[${i}]`;
    if (!isContainerId(containerID)) {
      throw wrong(`${field}.containerID`, containerID, 'a container id');
    }
    if (!isIfname(ifname)) throw wrong(`${field}.ifname`, ifname, 'an interface name');
    return { containerId: containerID, ifname };
  });
}

function optionalObject(
  field: string,
  value: unknown,
): Readonly<Record<string, unknown>> | undefined {
  if (value === undefined || value === null) return undefined;
  if (typeof value === 'object' && !Array.isArray(value)) return value as Record<string, unknown>;
  throw wrong(field, value, 'an object');
}

function isPath(value: unknown, bytes: number): value is string {
  return (
    typeof value === 'string' &&
    value.startsWith('/') &&
    !value.includes('\0') &&
    Buffer.byteLength(value) <= bytes
  );
}

const isNumber = (value: unknown, least: number, most: number): value is number =>
  typeof value === 'number' && value >= least && value <= most;

function wrong(field: string, value: unknown, want: string): CniError {
  return new CniError(
    CniCode.invalidConfig,
    `${field} of the network configuration is ${shown(value)}, not ${want}`,
    `Correct ${field} in the CNI configuration file.`,
  );
}
