/**
 * | code | meaning |
 * | --- | --- |
 * | unique-violation | two rows claim one key of a unique index |
 * | duplicate-table | a table of that name exists in the database |
 * | in-transaction | the feed was read, or a promise returned, inside a transaction |
 * | cycle | the derivation would make a table depend on itself |
 * | closed | the tracker, snapshot or reconciler was disposed of |
 * | invalid-option | a setting is out of its range |
 */
export type TablesErrorCode =
  | 'unique-violation'
  | 'duplicate-table'
  | 'in-transaction'
  | 'cycle'
  | 'closed'
  | 'invalid-option';

export class TablesError extends Error {
  override readonly name = 'TablesError';
  readonly code: TablesErrorCode;
  readonly value: unknown;

  constructor(code: TablesErrorCode, value: unknown, message: string) {
    super(message);
    this.code = code;
    this.value = value;
  }
}
