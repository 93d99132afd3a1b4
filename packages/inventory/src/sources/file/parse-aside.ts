import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { InventoryError } from '../../errors.ts';
import type { SourceItem } from '../../source.ts';
import type { FileFormat } from './parse.ts';

export type WorkerWord =
  | { readonly type: 'items'; readonly items: readonly SourceItem[] }
  | { readonly type: 'done' }
  | {
      readonly type: 'refused';
      readonly message: string;
      readonly field: string | undefined;
      readonly value: unknown;
      readonly hint: string | undefined;
    };

/**
 * `parseFile` in a thread of its own: a file of 100,000 machines takes seconds, in which this process would lose its
 * lead. Throws InventoryError `bad-file`, or the system's error.
 */
export async function parseAside(
  file: string,
  format: FileFormat,
  signal: AbortSignal,
): Promise<SourceItem[]> {
  const items: SourceItem[] = [];
  let end: WorkerWord | undefined;
  const worker = new Worker(new URL('./parse-worker.ts', import.meta.url), {
    workerData: { file, format },
  });
  worker.on('message', (word: WorkerWord) => {
    if (word.type === 'items') items.push(...word.items);
    else end = word;
  });
  const stop = () => void worker.terminate();
  signal.addEventListener('abort', stop);
  if (signal.aborted) stop();
  try {
    // An error of the thread rejects this.
    await once(worker, 'exit');
  } finally {
    signal.removeEventListener('abort', stop);
  }
  if (end?.type === 'done') return items;
  if (end?.type !== 'refused') {
    throw new InventoryError('bad-file', `${file} was not read to its end`, { value: file });
  }
  const { field, hint, message, value } = end;
  throw new InventoryError('bad-file', message, {
    value,
    ...(field === undefined ? {} : { field }),
    ...(hint === undefined ? {} : { hint }),
  });
}
