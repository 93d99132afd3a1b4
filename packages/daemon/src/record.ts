import { createHash } from 'node:crypto';
import { DaemonError } from './errors.ts';

/**
 * The envelope of every state file: one line of JSON that says what it is, of which version, and a
 * checksum of the payload's text, so that a file cut short, edited or from another version is known
 * for what it is before one field of it is believed.
 */
export interface RecordKind<T> {
  /** Stands in the file; a file of another kind under the same name is refused. */
  readonly format: string;
  readonly version: number;
  /** Checks the payload's shape; throws or returns the typed value. */
  parse(payload: unknown): T;
}

interface Envelope {
  format?: unknown;
  version?: unknown;
  checksum?: unknown;
  payload?: unknown;
}

export function encodeRecord<T>(kind: RecordKind<T>, value: T): string {
  const payload = JSON.stringify(value);
  return `${JSON.stringify({ format: kind.format, version: kind.version, checksum: checksum(payload), payload })}\n`;
}

/** @throws DaemonError `state-truncated`, `state-corrupt` or `state-version`, naming the file. */
export function decodeRecord<T>(kind: RecordKind<T>, text: string, file: string): T {
  let envelope: Envelope;
  try {
    envelope = JSON.parse(text) as Envelope;
  } catch (cause) {
    throw new DaemonError('state-truncated', `state file ${file} is cut short or not JSON`, {
      field: file,
      value: text.slice(0, 80),
      cause,
    });
  }
  if (envelope === null || typeof envelope !== 'object' || envelope.format !== kind.format) {
    throw new DaemonError('state-corrupt', `state file ${file} is not a ${kind.format} record`, {
      field: file,
      value: text.slice(0, 80),
    });
  }
  if (envelope.version !== kind.version) {
    throw new DaemonError(
      'state-version',
      `state file ${file} has version ${String(envelope.version)}; this program reads ${kind.version}`,
      { field: file, value: envelope.version },
    );
  }
  const { payload } = envelope;
  if (typeof payload !== 'string' || envelope.checksum !== checksum(payload)) {
    throw new DaemonError('state-corrupt', `state file ${file} does not match its checksum`, {
      field: file,
    });
  }
  try {
    return kind.parse(JSON.parse(payload));
  } catch (cause) {
    throw new DaemonError('state-corrupt', `state file ${file} holds a record of the wrong shape`, {
      field: file,
      cause,
    });
  }
}

function checksum(payload: string): string {
  return createHash('sha256').update(payload).digest('hex').slice(0, 32);
}
