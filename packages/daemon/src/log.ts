import { writeSync } from 'node:fs';

/** What the programs' parts use to say something; tests pass `silentLog`. */
export interface Log {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

export const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'silent'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

/** The numbers that readers of such lines know (bunyan's and pino's). */
const NUMBERS: Readonly<Record<LogLevel, number>> = {
  trace: 10,
  debug: 20,
  info: 30,
  warn: 40,
  error: 50,
  silent: Number.POSITIVE_INFINITY,
};

/**
 * Lines of JSON on standard error, so that standard output stays free; `base` stands in each. Each line is
 * written before the call returns: what a program said last before it died is there.
 */
export function stderrLog(level: LogLevel, base: object, write = toStderr): Log {
  const say = (name: LogLevel) => {
    const number = NUMBERS[name];
    if (number < NUMBERS[level]) return () => {};
    return (fields: object, message: string): void => {
      const line = { level: number, time: Date.now(), ...base, ...fields, msg: message };
      write(`${JSON.stringify(line, plain)}\n`);
    };
  };
  return { debug: say('debug'), info: say('info'), warn: say('warn'), error: say('error') };
}

export const silentLog: Log = { debug() {}, info() {}, warn() {}, error() {} };

/** What JSON has no words for must not cost the line. */
function plain(_: string, value: unknown): unknown {
  if (typeof value === 'bigint') return Number(value);
  if (value instanceof Error) return { message: value.message, stack: value.stack };
  return value;
}

/** A reader that is slow (EAGAIN on a pipe) or gone costs lines, never the program. */
function toStderr(line: string): void {
  try {
    writeSync(2, line);
  } catch {
    // There is nobody else to tell.
  }
}
