import type { Inventory } from './core/inventory.ts';
import type { SourceSink } from './source.ts';

/**
 * What a source is given: its words go to the inventory under its name, in their order, as long as the signal does
 * not abort. A long list is taken in steps, between which the program does its other work; what is said meanwhile
 * waits, and the next list makes it void. `changed` hears of every word, of reports too: who waits for a source to
 * speak may have nothing to wait for once it says that it has failed.
 */
export function sinkOf(
  inventory: Inventory,
  source: string,
  monotonic: () => number,
  signal: AbortSignal,
  changed: () => void,
): SourceSink {
  type Word = () => Generator<void> | undefined;
  let waiting: Word[] = [];
  let current: Generator<void> | undefined;

  const advance = () => {
    if (signal.aborted) return;
    while (current === undefined || current.next().done) {
      current = waiting.shift()?.();
      if (current === undefined && waiting.length === 0) break;
    }
    changed();
    if (current !== undefined) setImmediate(advance);
  };
  const say = (word: Word) => {
    if (signal.aborted) return;
    waiting.push(word);
    if (current === undefined) advance();
  };
  return {
    snapshot: (items) => {
      waiting = [];
      say(() => inventory.snapshotInSteps(source, items, monotonic()));
    },
    put: (item) =>
      say(() => {
        inventory.put(source, item, monotonic());
        return undefined;
      }),
    delete: (id) =>
      say(() => {
        inventory.delete(source, id);
        return undefined;
      }),
    report: (report) => {
      if (signal.aborted) return;
      inventory.report(source, report);
      changed();
    },
  };
}
