import { silentLog } from '@causeway/daemon';
import { type Clock, clockFrom } from '@causeway/tables';
import { RecordingSink } from '../../../../testing/index.ts';
import { until } from '../../../../testing/process.ts';
import type { SourceItem } from '../../../source.ts';
import { openstackSource } from '../config.ts';
import { OpenStackSource } from '../source.ts';

/** A clock that runs faster than the world, so that pauses of seconds take none. */
export const clockAt = (speed: number): Clock =>
  clockFrom<NodeJS.Timeout>({
    now: () => (performance.now() + performance.timeOrigin) * speed,
    start: (callback, ms) => setTimeout(callback, ms / speed),
    stop: clearTimeout,
  });

/** Everything is asked often, as in no real configuration. */
export const often = { changesSeconds: 0.2, rollCallSeconds: 0.2, rollCallShare: 0.5 };
/** Nothing is asked by the clock after the first list. */
export const rarely = { changesSeconds: 3600, rollCallSeconds: 3600, resyncSeconds: 86_400 };
export const fast = { requestsPerSecond: 500 };

export class Followed implements AsyncDisposable {
  readonly sink = new RecordingSink();
  readonly #ending = new AbortController();
  readonly #running: Promise<void>;

  constructor(config: object, clock = clockAt(1)) {
    const source = new OpenStackSource(
      openstackSource.parse({ name: 'site', type: 'openstack', ...config }),
      { clock, random: Math.random, log: silentLog },
    );
    this.#running = source.run(this.sink, this.#ending.signal);
    this.#running.catch(() => {});
  }

  /** The item as soon as it fits. */
  async item(
    id: string,
    what: string,
    fits: (item: SourceItem) => boolean = () => true,
  ): Promise<SourceItem> {
    let found: SourceItem | undefined;
    await until(what, () => {
      found = this.sink.items.get(id);
      return found !== undefined && fits(found);
    });
    return found as SourceItem;
  }

  reported(what: string, message: RegExp | undefined, state = 'failed'): Promise<void> {
    return until(what, () => {
      const report = this.sink.lastReport;
      if (report?.state !== state) return false;
      return message === undefined
        ? report.message === undefined
        : message.test(report.message ?? '');
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#ending.abort();
    await this.#running;
  }
}

/** Every moment at which an item that was told of was not there. */
export function absences(sink: RecordingSink, id: string): number {
  let there = false;
  let found = 0;
  for (const word of sink.words) {
    if (word.type === 'put' && word.item.id === id) there = true;
    if (word.type === 'delete' && word.id === id) found++;
    if (word.type !== 'snapshot') continue;
    const named = word.items.some((each) => each.id === id);
    if (there && !named) found++;
    there ||= named;
  }
  return found;
}
