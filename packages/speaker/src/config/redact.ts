import { REDACTED } from './check.ts';

/** A configuration as it was sent, with every secret replaced: what the API gives back. */
export function redact(value: unknown): unknown {
  return JSON.parse(
    JSON.stringify(value, (key, each) =>
      (key === 'password' || key === 'key') && typeof each === 'string' ? REDACTED : each,
    ),
  );
}
