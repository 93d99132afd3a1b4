/**
 * What failed in a run, told whole at its end: of CI's output one often sees only the last lines, and a
 * failure that does not say what it saw cannot be mended from there.
 */
import { inspect } from 'node:util';

const LINES = 40;
const COLUMNS = 400;

export interface Failure {
  /** File, or step of the house. */
  readonly where: string;
  readonly name: string;
  readonly text: string;
}

/** The first `count` lines, each cut; says how much it left out. */
export function bounded(text: string, count = LINES): string {
  const lines = text.trimEnd().split('\n');
  const kept = lines
    .slice(0, count)
    .map((line) => (line.length > COLUMNS ? `${line.slice(0, COLUMNS)} ...` : line));
  if (lines.length > count) kept.push(`... and ${lines.length - count} lines more`);
  return kept.join('\n');
}

/** The last `count` lines. */
export function lastLines(text: string, count = LINES): string {
  return text.trimEnd().split('\n').slice(-count).join('\n');
}

/**
 * The words of what a test threw: message, what was expected and seen, every other field that it bears
 * (code, hint), its causes, and the place in the test. `node:test` wraps what was thrown into an error of
 * its own whose `cause` is the thing.
 */
export function words(thrown: unknown): string {
  const inner = wrapped(thrown) ? (thrown.cause ?? thrown) : thrown;
  if (!(inner instanceof Error)) return bounded(String(inner));
  const parts: string[] = [];
  let error: unknown = inner;
  for (let depth = 0; error instanceof Error && depth < 4; depth++) {
    parts.push(`${depth === 0 ? '' : 'caused by '}${error.name}: ${bounded(error.message)}`);
    parts.push(...fieldsOf(error));
    const place = placeIn(error);
    if (place !== undefined) parts.push(`  ${place}`);
    error = error.cause;
  }
  return bounded(parts.join('\n'), 2 * LINES);
}

function wrapped(thrown: unknown): thrown is Error {
  return thrown instanceof Error && 'code' in thrown && thrown.code === 'ERR_TEST_FAILURE';
}

/** Node says these again in the message or says nothing by them. */
const QUIET: readonly string[] = ['generatedMessage', 'operator', 'diff', 'failureType', 'cause'];

function fieldsOf(error: Error): string[] {
  return Object.entries(error)
    .filter(([key, value]) => !QUIET.includes(key) && value !== undefined)
    .map(([key, value]) => bounded(`  ${key}: ${inspect(value, { depth: 4, breakLength: 120 })}`));
}

/** The first frame that is neither Node's nor an assertion helper's module. */
function placeIn(error: Error): string | undefined {
  return error.stack
    ?.split('\n')
    .map((line) => line.trim())
    .find((line) => line.startsWith('at ') && !line.includes('node:'));
}

/** All of them, for the end of a run; empty when there are none. */
export function told(failures: readonly Failure[]): string {
  if (failures.length === 0) return '';
  const parts = failures.map(
    ({ where, name, text }) => `\n${where}\n  ${name}\n${text.replace(/^/gm, '    ')}`,
  );
  return `\nFAILED (${failures.length}):\n${parts.join('\n')}`;
}
