import type { TableKey } from './secondary.ts';
import { type Json, jsonable } from './values.ts';

export interface Column<Row> {
  readonly name: string;
  readonly of: (row: Row) => unknown;
}

/** A table as people and programs see it. */
export interface PrintedTable {
  readonly name: string;
  readonly revision: number;
  readonly initialized: boolean;
  readonly pendingSources: readonly string[];
  /** Rows in the table; `rows` may hold fewer. */
  readonly size: number;
  /** The order of columns for text; the statuses come last. */
  readonly columns: readonly string[];
  readonly rows: readonly { readonly [column: string]: Json }[];
}

interface Printable<Row, K extends TableKey> {
  readonly name: string;
  readonly revision: number;
  readonly initialized: boolean;
  readonly pendingSources: readonly string[];
  readonly size: number;
  readonly keyOf: (row: Row) => K;
  rows(): Iterable<Row>;
}

export function printTable<Row, K extends TableKey>(
  table: Printable<Row, K>,
  columns: readonly Column<Row>[] | undefined,
  statuses: ReadonlyMap<string, (key: K) => Json>,
  limit: number,
): PrintedTable {
  const names = new Set(columns?.map((column) => column.name));
  const rows: { [column: string]: Json }[] = [];
  for (const row of table.rows()) {
    if (rows.length >= limit) break;
    const printed: { [column: string]: Json } = {};
    if (columns) for (const { name, of } of columns) printed[name] = jsonable(of(row));
    else {
      const whole = jsonable(row);
      if (typeof whole === 'object' && whole !== null && !Array.isArray(whole)) {
        Object.assign(printed, whole);
      } else printed.value = whole;
      for (const name of Object.keys(printed)) names.add(name);
    }
    const key = table.keyOf(row);
    for (const [name, status] of statuses) printed[name] = status(key);
    rows.push(printed);
  }
  return {
    name: table.name,
    revision: table.revision,
    initialized: table.initialized,
    pendingSources: table.pendingSources,
    size: table.size,
    columns: [...names, ...statuses.keys()],
    rows,
  };
}

/** Text in aligned columns, one line per row, for terminals and for tests that compare what people see. */
export function formatTable(printed: Pick<PrintedTable, 'columns' | 'rows'>): string {
  const cell = (value: Json | undefined): string => {
    if (value === null || value === undefined) return '-';
    return typeof value === 'object' ? JSON.stringify(value) : String(value);
  };
  const lines = [printed.columns.map((name) => name.toUpperCase())];
  for (const row of printed.rows) lines.push(printed.columns.map((name) => cell(row[name])));
  const widths = printed.columns.map((_, i) =>
    lines.reduce((most, line) => Math.max(most, (line[i] ?? '').length), 0),
  );
  return lines
    .map((line) =>
      line
        .map((text, i) => text.padEnd(widths[i] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}
