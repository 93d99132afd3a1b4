/** A column of a table: its heading and what a row shows there. */
export interface Column<T> {
  readonly heading: string;
  readonly cell: (row: T) => unknown;
}

/** Rows as aligned text. Two spaces between columns, none at line ends; nothing at all for no rows. */
export function formatTable<T>(rows: readonly T[], columns: readonly Column<T>[]): string {
  const cells = rows.map((row) => columns.map((column) => cellText(column.cell(row))));
  const widths = columns.map(({ heading }, i) =>
    Math.max(heading.length, ...cells.map((row) => row[i]!.length)),
  );
  const line = (texts: readonly string[]): string =>
    texts
      .map((text, i) => text.padEnd(widths[i]!))
      .join('  ')
      .trimEnd();
  return [line(columns.map(({ heading }) => heading)), ...cells.map(line)].join('\n');
}

/** Columns for rows whose shape is not known: the fields of all rows, those named first in front. */
export function columnsOf(
  rows: readonly Readonly<Record<string, unknown>>[],
  first: readonly string[] = [],
): Column<Readonly<Record<string, unknown>>>[] {
  const fields = new Set(rows.flatMap((row) => Object.keys(row)));
  const known = first.filter((field) => fields.has(field));
  const names = [...new Set([...known, ...fields])];
  return names.map((name) => ({ heading: headingOf(name), cell: (row) => row[name] }));
}

/** `podName` as POD-NAME. */
export function headingOf(field: string): string {
  return field.replace(/([a-z0-9])([A-Z])/g, '$1-$2').toUpperCase();
}

function cellText(value: unknown): string {
  if (value === undefined || value === null || value === '') return '-';
  if (Array.isArray(value)) return value.length === 0 ? '-' : value.map(cellText).join(',');
  if (typeof value === 'object') {
    const entries = Object.entries(value).filter(
      ([, each]) => each !== undefined && each !== false,
    );
    const text = entries.map(([key, each]) => (each === true ? key : `${key}=${cellText(each)}`));
    return text.length === 0 ? '-' : text.join(',');
  }
  // A terminal must not obey what a pod's label or a hostile store says.
  return String(value).replace(/\p{Cc}/gu, '?');
}
