import { pino } from 'pino';

/** The part of pino that the agent's parts use; tests pass `silentLog`. */
export interface Log {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

/** Lines of JSON on standard error, so that standard output stays free. */
export function stderrLog(level: string, node: string): Log {
  return pino({ level, base: { node } }, pino.destination({ dest: 2, sync: true }));
}

export const silentLog: Log = { debug() {}, info() {}, warn() {}, error() {} };
