export interface CsvRow {
  readonly cells: readonly string[];
  /** From 1, where the row begins. */
  readonly line: number;
}

/**
 * RFC 4180: commas, quotes doubled inside quotes, CRLF or LF; beyond it, lines that are empty or begin with `#` are
 * passed over. @throws what `refuse` makes of a quote that stands wrong.
 */
export function parseCsv(text: string, refuse: (line: number, message: string) => Error): CsvRow[] {
  const rows: CsvRow[] = [];
  let cells: string[] = [];
  let cell = '';
  let line = 1;
  let began = 1;
  let state: 'start' | 'plain' | 'quoted' | 'closed' = 'start';
  const endCell = () => {
    cells.push(cell);
    cell = '';
    state = 'start';
  };
  const endRow = () => {
    endCell();
    const empty = cells.length === 1 && cells[0]?.trim() === '';
    if (!empty && !cells[0]?.startsWith('#')) rows.push({ cells, line: began });
    cells = [];
    began = line + 1;
  };
  const source = text.startsWith('\ufeff') ? text.slice(1) : text;
  for (let i = 0; i < source.length; i++) {
    const char = source[i]!;
    if (state === 'quoted') {
      if (char === '\n') line++;
      if (char !== '"') cell += char;
      else if (source[i + 1] === '"') {
        cell += '"';
        i++;
      } else state = 'closed';
      continue;
    }
    if (char === '\n') {
      endRow();
      line++;
      began = line;
    } else if (char === '\r' && source[i + 1] === '\n') continue;
    else if (char === ',') endCell();
    else if (char === '"' && state === 'start') state = 'quoted';
    else if (state === 'closed') throw refuse(line, 'has text behind a closing quote');
    else {
      state = 'plain';
      cell += char;
    }
  }
  if (state === 'quoted') throw refuse(began, 'has a quote that nothing closes');
  if (cell !== '' || cells.length > 0 || state === 'closed') endRow();
  return rows;
}
