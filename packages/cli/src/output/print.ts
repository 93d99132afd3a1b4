import { replaceBigInt } from '../errors.ts';
import { type Column, columnsOf, formatTable } from './table.ts';

/** Whatever a command gives a program: one JSON document. */
export function printJson(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value, replaceBigInt, 2)}\n`);
}

export async function printYaml(value: unknown): Promise<void> {
  const { stringify } = await import('yaml');
  process.stdout.write(stringify(JSON.parse(JSON.stringify(value, replaceBigInt))));
}

export function printLine(text: string): void {
  process.stdout.write(`${text}\n`);
}

export function printTable<T>(
  rows: readonly T[],
  columns: readonly Column<T>[],
  empty: string,
): void {
  printLine(rows.length === 0 ? empty : formatTable(rows, columns));
}

export type Row = Readonly<Record<string, unknown>>;

/** Rows of any shape: as a table when they are flat enough for one, else as YAML. */
export async function printRows(
  rows: unknown,
  first: readonly string[],
  empty: string,
): Promise<void> {
  if (Array.isArray(rows) && rows.every(isRow)) printTable(rows, columnsOf(rows, first), empty);
  else await printYaml(rows);
}

export function isRow(value: unknown): value is Row {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
