import type { Inventory } from './core/inventory.ts';
import type { SourceSink } from './source.ts';

/** What a source is given: its words go to the inventory under its name, as long as the signal does not abort. */
export function sinkOf(
  inventory: Inventory,
  source: string,
  monotonic: () => number,
  signal: AbortSignal,
  changed: () => void,
): SourceSink {
  const heard = (word: () => void) => {
    if (signal.aborted) return;
    word();
    changed();
  };
  return {
    snapshot: (items) => heard(() => inventory.snapshot(source, items, monotonic())),
    put: (item) => heard(() => inventory.put(source, item, monotonic())),
    delete: (id) => heard(() => inventory.delete(source, id)),
    report: (report) => {
      if (!signal.aborted) inventory.report(source, report);
    },
  };
}
