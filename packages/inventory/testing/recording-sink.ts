import type { SourceItem, SourceReport, SourceSink } from '../src/source.ts';

type Word =
  | { readonly type: 'snapshot'; readonly items: readonly SourceItem[] }
  | { readonly type: 'put'; readonly item: SourceItem }
  | { readonly type: 'delete'; readonly id: string }
  | { readonly type: 'report'; readonly report: SourceReport };

/** Keeps what a source tells, in order, and what it amounts to. */
export class RecordingSink implements SourceSink {
  readonly words: Word[] = [];
  readonly items = new Map<string, SourceItem>();

  get snapshots(): number {
    return this.words.filter(({ type }) => type === 'snapshot').length;
  }

  get lastReport(): SourceReport | undefined {
    const word = this.words.findLast(({ type }) => type === 'report');
    return word?.type === 'report' ? word.report : undefined;
  }

  snapshot(items: readonly SourceItem[]): void {
    this.words.push({ type: 'snapshot', items });
    this.items.clear();
    for (const item of items) this.items.set(item.id, item);
  }

  put(item: SourceItem): void {
    this.words.push({ type: 'put', item });
    this.items.set(item.id, item);
  }

  delete(id: string): void {
    this.words.push({ type: 'delete', id });
    this.items.delete(id);
  }

  report(report: SourceReport): void {
    this.words.push({ type: 'report', report });
  }
}
