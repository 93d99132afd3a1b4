import { toldServices } from '@causeway/operator';
import { printJson, printTable, type Row } from '../output/print.ts';
import type { Invocation } from '../program/invocation.ts';

const FIELDS = [
  'cluster',
  'namespace',
  'name',
  'backends',
  'active',
  'others',
  'expected',
  'shards',
] as const satisfies readonly (keyof Awaited<ReturnType<typeof toldServices>>[number])[];

/** What other clusters are told of this one's services, from its store. */
export async function list({ json, withTarget }: Invocation): Promise<void> {
  const rows = await withTarget(async (target) => toldServices(await target.kv()));
  if (json) return printJson(rows);
  const columns = FIELDS.map((field) => ({
    heading: field.toUpperCase(),
    cell: (row: Row) => row[field],
  }));
  const empty = 'no service is shared: annotate one with service.cilium.io/global: "true"';
  printTable(rows as unknown as readonly Row[], columns, empty);
}
