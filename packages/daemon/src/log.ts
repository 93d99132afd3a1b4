import { pino } from 'pino';

/** The part of pino that the programs' parts use; tests pass `silentLog`. */
export interface Log {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

export const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'silent'] as const;

/** Lines of JSON on standard error, so that standard output stays free; `base` stands in each. */
export function stderrLog(level: (typeof LOG_LEVELS)[number], base: object): Log {
  return pino({ level, base }, pino.destination({ dest: 2, sync: true }));
}

export const silentLog: Log = { debug() {}, info() {}, warn() {}, error() {} };
