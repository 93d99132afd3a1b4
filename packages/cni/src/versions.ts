import { CniCode, CniError, shown } from './errors.ts';

/** What changed in the parts of the specification that this plugin speaks, a row a version. */
interface VersionRow {
  /** Commands that came with this version or were there before. */
  readonly check: boolean;
  readonly statusAndGc: boolean;
  /** `ips[].version` ("4" or "6") is part of the result. */
  readonly ipVersion: boolean;
  /** `interfaces[].mtu` is part of the result. */
  readonly interfaceMtu: boolean;
}

const ROWS = {
  '0.3.1': { check: false, statusAndGc: false, ipVersion: true, interfaceMtu: false },
  '0.4.0': { check: true, statusAndGc: false, ipVersion: true, interfaceMtu: false },
  '1.0.0': { check: true, statusAndGc: false, ipVersion: false, interfaceMtu: false },
  '1.1.0': { check: true, statusAndGc: true, ipVersion: false, interfaceMtu: true },
} as const satisfies Record<string, VersionRow>;

export type CniVersion = keyof typeof ROWS;
export const SUPPORTED_VERSIONS = Object.freeze(Object.keys(ROWS) as CniVersion[]);
export const NEWEST_VERSION: CniVersion = '1.1.0';

export const isSupported = (text: unknown): text is CniVersion =>
  typeof text === 'string' && Object.hasOwn(ROWS, text);

export const rulesOf = (version: CniVersion): VersionRow => ROWS[version];

/** A configuration without `cniVersion` is of 0.1.0 (specification 0.2.0), which is not spoken here. */
export function parseVersion(value: unknown): CniVersion {
  if (value !== undefined && typeof value !== 'string') {
    throw new CniError(CniCode.decodingFailure, `cniVersion is ${shown(value)}, not a string`);
  }
  if (isSupported(value)) return value;
  throw new CniError(
    CniCode.incompatibleVersion,
    `cniVersion ${shown(value ?? '0.1.0')} is not supported`,
    `Set cniVersion to one of ${SUPPORTED_VERSIONS.join(', ')}.`,
  );
}
