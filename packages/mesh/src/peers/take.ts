import type { Table, TableKey } from '@causeway/tables';

/** Takes rows away. Returns whether there were any. */
export function take<Row, K extends TableKey, I extends string>(
  table: Table<Row, K, I>,
  goes: (row: Row) => boolean,
): boolean {
  const keys: K[] = [];
  for (const row of table.rows()) if (goes(row)) keys.push(table.keyOf(row));
  table.database.write(() => {
    for (const key of keys) table.delete(key);
  });
  return keys.length > 0;
}
