import type { Kv, KvWatch, WatchEvent, WatchOptions } from '../src/types.ts';

/** Reads a watch to its end and keeps what a consumer would: the events in short form, and the state. */
export class Watcher implements AsyncDisposable {
  readonly watch: KvWatch;
  readonly events: WatchEvent[] = [];
  readonly state = new Map<string, string>();
  readonly #reading: Promise<void>;

  constructor(kv: Kv, prefix: string, options?: WatchOptions) {
    this.watch = kv.watch(prefix, options);
    this.#reading = this.#read();
  }

  async #read(): Promise<void> {
    for await (const batch of this.watch.batches()) {
      for (const event of batch) {
        this.events.push(event);
        if (event.type === 'put') this.state.set(event.entry.key, event.entry.text);
        else if (event.type === 'delete') this.state.delete(event.key);
      }
    }
  }

  /** `put a=1`, `delete b synthetic`, `snapshot-start first`, ... */
  get log(): string[] {
    return this.events.map((event) => {
      switch (event.type) {
        case 'put':
          return `put ${event.entry.key}=${event.entry.text}`;
        case 'delete':
          return `delete ${event.key}${event.synthetic ? ' synthetic' : ''}`;
        case 'snapshot-start':
          return `snapshot-start ${event.reason}`;
        case 'disconnected':
          return `disconnected ${event.error.code}`;
        case 'synced':
          return 'synced';
        default:
          return event satisfies never;
      }
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.watch[Symbol.asyncDispose]();
    await this.#reading;
  }
}

/** Waits until the condition holds; throws with `what` after `limit` milliseconds. */
export async function eventually(
  what: string,
  condition: () => boolean | Promise<boolean>,
  limit = 25_000,
): Promise<void> {
  const end = Date.now() + limit;
  while (!(await condition())) {
    if (Date.now() > end) throw new Error(`not within ${limit} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
