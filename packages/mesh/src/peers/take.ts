import type { Table, TableKey } from '@causeway/tables';

/** Takes rows away, and tells of each. Returns whether there were any. */
export function take<Row, K extends TableKey, I extends string>(
  table: Table<Row, K, I>,
  goes: (row: Row) => boolean,
  tell: (row: Row) => void = () => {},
): boolean {
  const rows = [...table.rows()].filter(goes);
  table.database.write(() => {
    for (const row of rows) table.delete(table.keyOf(row));
  });
  for (const row of rows) tell(row);
  return rows.length > 0;
}
