import { issueText } from '@causeway/daemon/words';
import { parseDocument } from 'yaml';
import { z } from 'zod';
import { checkItem } from '../../core/item.ts';
import { InventoryError } from '../../errors.ts';
import { PLATFORMS, type SourceItem } from '../../source.ts';
import { parseCsv } from './csv.ts';

export type FileFormat = 'yaml' | 'csv';

/** 100,000 machines of 300 bytes each, twice over. */
export const MAX_FILE_BYTES = 64 << 20;

const texts = z.record(
  z.string(),
  z.union([z.string(), z.number(), z.boolean()]).transform((value) => String(value)),
);

const entry = z.strictObject({
  name: z.string(),
  /** Absent: the name. */
  id: z.string().optional(),
  addresses: z.array(z.string()).min(1),
  platform: z.enum(PLATFORMS),
  labels: texts.default({}),
  attributes: texts.optional(),
  namespace: z.string().optional(),
  site: z.string().optional(),
  nodeAddress: z.string().optional(),
  ttlSeconds: z.int().optional(),
});

const manifest = z.object({
  kind: z.literal('OutsideEndpoint'),
  metadata: z.object({ name: z.string() }),
  spec: entry
    .omit({ name: true, id: true, attributes: true })
    .extend({ source: z.string().optional() }),
});

type Entry = z.infer<typeof entry>;

/**
 * Reads one file: a list under `endpoints`, or documents of kind OutsideEndpoint (`yaml`, which JSON is a part of),
 * or a table (`csv`). @throws InventoryError `bad-file` naming file, entry, field and value: of a file with a
 * mistake nothing is taken.
 */
export function parseFile(text: string, format: FileFormat, file: string): SourceItem[] {
  const items = format === 'csv' ? fromCsv(text, file) : fromYaml(text, file);
  const seen = new Map<string, number>();
  items.forEach(({ item, at }, index) => {
    const before = seen.get(item.id);
    if (before !== undefined) {
      throw bad(file, at, 'name', item.id, `stands twice: ${items[before]?.at} has it too`);
    }
    seen.set(item.id, index);
    try {
      checkItem(item);
    } catch (error) {
      if (!(error instanceof InventoryError)) throw error;
      throw bad(file, at, error.field ?? '', error.value, error.message, error);
    }
  });
  return items.map(({ item }) => item);
}

interface Found {
  readonly item: SourceItem;
  /** Where in the file, for people. */
  readonly at: string;
}

function fromYaml(text: string, file: string): Found[] {
  const values = documents(text, file);
  const found: Found[] = [];
  values.forEach((value, index) => {
    if (value === null || value === undefined) return;
    const where = values.length === 1 ? '' : `document ${index + 1} `;
    if (isObject(value) && 'kind' in value) {
      const { metadata, spec } = read(manifest, value, file, `${where}`);
      found.push({
        item: itemOf({ ...spec, name: metadata.name }),
        at: `${where}${metadata.name}`,
      });
      return;
    }
    const list = isObject(value) ? value.endpoints : value;
    if (!Array.isArray(list)) {
      throw bad(file, where, 'endpoints', list, 'must be a list of endpoints');
    }
    list.forEach((each, at) => {
      const place = `${where}endpoints[${at}]`;
      found.push({ item: itemOf(read(entry, each, file, place)), at: place });
    });
  });
  return found;
}

function documents(text: string, file: string): unknown[] {
  if (/^\s*[[{]/.test(text)) {
    try {
      return [JSON.parse(text)];
    } catch {
      // YAML's flow style begins so too.
    }
  }
  // One by one: the parser keeps everything of all documents otherwise.
  return text.split(/^---(?:\s.*)?$/m).flatMap((part) => {
    if (part.trim() === '') return [];
    const document = parseDocument(part, { uniqueKeys: true });
    const [problem] = document.errors;
    if (problem !== undefined) {
      throw bad(file, '', '(file)', undefined, `is not YAML: ${problem.message}`, problem);
    }
    try {
      return [document.toJS({ maxAliasCount: 100 }) as unknown];
    } catch (cause) {
      throw bad(file, '', '(file)', undefined, 'cannot be read as YAML', cause);
    }
  });
}

function read<T>(schema: z.ZodType<T>, value: unknown, file: string, at: string): T {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const issue = result.error.issues[0]!;
  const path = [
    ...issue.path,
    ...(issue.code === 'unrecognized_keys' ? issue.keys.slice(0, 1) : []),
  ];
  const field = path.map(String).join('.');
  let wrong: unknown = value;
  for (const part of path) wrong = (wrong as Record<PropertyKey, unknown> | undefined)?.[part];
  const text = issue.code === 'unrecognized_keys' ? 'no such field' : issueText(issue);
  throw bad(file, at, field, wrong, text);
}

/** Columns that are none of these, nor `label:KEY` or `attribute:KEY`, are refused: a mistyped one would be lost. */
const COLUMNS: Readonly<Record<string, keyof Entry>> = {
  name: 'name',
  id: 'id',
  addresses: 'addresses',
  platform: 'platform',
  namespace: 'namespace',
  site: 'site',
  'node-address': 'nodeAddress',
  'ttl-seconds': 'ttlSeconds',
};

function fromCsv(text: string, file: string): Found[] {
  const rows = parseCsv(text, (line, message) =>
    bad(file, `line ${line}`, '(line)', undefined, message),
  );
  const [header, ...body] = rows;
  if (header === undefined) return [];
  const columns = header.cells.map((cell) => cell.trim());
  columns.forEach((column, index) => {
    if (columns.indexOf(column) !== index) {
      throw bad(file, `line ${header.line}`, column, column, 'stands twice among the columns');
    }
    if (!(column in COLUMNS) && !/^(label|attribute):.+$/.test(column)) {
      const known = [...Object.keys(COLUMNS), 'label:KEY', 'attribute:KEY'].join(', ');
      throw bad(
        file,
        `line ${header.line}`,
        column,
        column,
        `no such column; columns are ${known}`,
      );
    }
  });
  return body.map(({ cells, line }) => {
    const at = `line ${line}`;
    if (cells.length !== columns.length) {
      throw bad(file, at, '(line)', cells.length, `has ${cells.length} cells of ${columns.length}`);
    }
    const labels: Record<string, string> = {};
    const attributes: Record<string, string> = {};
    const given: Record<string, unknown> = { labels, attributes };
    columns.forEach((column, index) => {
      const value = cells[index]?.trim() ?? '';
      if (value === '') return;
      const field = COLUMNS[column];
      if (field === 'addresses') given.addresses = value.split(/[\s;]+/);
      else if (field === 'ttlSeconds') given.ttlSeconds = Number(value);
      else if (field !== undefined) given[field] = value;
      else if (column.startsWith('label:')) labels[column.slice(6)] = value;
      else attributes[column.slice('attribute:'.length)] = value;
    });
    return { item: itemOf(read(entry, given, file, at)), at };
  });
}

/** Without what is absent, so that nothing is `undefined`. */
const itemOf = ({ id, ...rest }: Entry): SourceItem =>
  ({
    id: id ?? rest.name,
    ...Object.fromEntries(Object.entries(rest).filter(([, value]) => value !== undefined)),
  }) as SourceItem;

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

function bad(
  file: string,
  at: string,
  field: string,
  value: unknown,
  message: string,
  cause?: unknown,
): InventoryError {
  const place = at === '' ? file : `${file}, ${at.trim()}`;
  const text = message.startsWith(`${field} `) ? message : `${field} ${message}`;
  return new InventoryError('bad-file', `${place}: ${text}`, {
    field,
    value,
    hint: 'what the file said before stays in force until it is mended',
    ...(cause === undefined ? {} : { cause }),
  });
}
