import { readFileSync } from 'node:fs';
import { parentPort, workerData } from 'node:worker_threads';
import { InventoryError } from '../../errors.ts';
import { type FileFormat, parseFile } from './parse.ts';
import type { WorkerWord } from './parse-aside.ts';

/** Of one message: so that whoever gets it is not held up for long. */
const ITEMS = 1000;

const { file, format } = workerData as { readonly file: string; readonly format: FileFormat };
const say = (word: WorkerWord) => parentPort?.postMessage(word);

try {
  const items = parseFile(readFileSync(file, 'utf8'), format, file);
  for (let i = 0; i < items.length; i += ITEMS) {
    say({ type: 'items', items: items.slice(i, i + ITEMS) });
  }
  say({ type: 'done' });
} catch (error) {
  if (!(error instanceof InventoryError)) throw error;
  const { field, hint, message, value } = error;
  say({ type: 'refused', message, field, value: shown(value), hint });
}

/** Whatever cannot be handed over is told as a text. */
function shown(value: unknown): unknown {
  return typeof value === 'object' && value !== null ? JSON.stringify(value) : value;
}
