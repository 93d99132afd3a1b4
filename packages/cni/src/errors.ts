/**
 * The numbers that a runtime sees. 1 to 99 are the specification's (section 5, "Error"); 100 and above are ours.
 */
export const CniCode = Object.freeze({
  incompatibleVersion: 1,
  unsupportedField: 2,
  unknownContainer: 3,
  invalidEnvironment: 4,
  ioFailure: 5,
  decodingFailure: 6,
  invalidConfig: 7,
  tryAgainLater: 11,
  notAvailable: 50,
  limitedConnectivity: 51,
  /** The agent failed or answered what it should not. */
  agentFailed: 100,
  /** The container has an interface of that name already. */
  interfaceExists: 101,
  /** CHECK found something missing or changed. */
  checkFailed: 103,
});
export type CniCode = (typeof CniCode)[keyof typeof CniCode];

/** A failure in the form in which CNI reports it. `details` says what to do. */
export class CniError extends Error {
  readonly code: CniCode;
  readonly details: string;

  constructor(code: CniCode, message: string, details = '', cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = 'CniError';
    this.code = code;
    this.details = details;
  }
}

/** A value as it may stand in a message: quoted, and cut where a hostile one would fill the log. */
export function shown(value: unknown): string {
  const text = value === undefined ? 'nothing' : (JSON.stringify(value) ?? String(value));
  return text.length > 80 ? `${text.slice(0, 77)}...` : text;
}
