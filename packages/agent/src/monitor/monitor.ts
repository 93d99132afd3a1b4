import { AgentError } from '../errors.ts';

export const MONITOR_TYPES = ['drop', 'verdict', 'trace', 'audit'] as const;
export type MonitorType = (typeof MONITOR_TYPES)[number];

/** One line of `GET /v1/monitor`. */
export type MonitorLine =
  | ({ readonly type: MonitorType } & Readonly<Record<string, unknown>>)
  | { readonly type: 'lost'; readonly count: number };

export interface MonitorOptions {
  /** Lines kept for one reader that does not read. */
  readonly buffer: number;
  readonly clients: number;
  /** Told whenever the set of wanted types changes: the kernel sends only what somebody reads. */
  readonly onInterest: (types: ReadonlySet<MonitorType>) => void;
}

/**
 * Hands events to readers. Each reader has a queue of bounded length: one that does not keep up
 * loses the oldest lines and is told how many, and nobody else notices.
 */
export class Monitor {
  readonly #options: MonitorOptions;
  readonly #readers = new Set<Reader>();

  constructor(options: MonitorOptions) {
    this.#options = options;
  }

  /** Lines of JSON as bytes, until the reader cancels or the agent ends. */
  stream(types: ReadonlySet<MonitorType>): ReadableStream<Uint8Array> {
    if (this.#readers.size >= this.#options.clients) {
      throw new AgentError(
        'monitor-full',
        `${this.#readers.size} readers follow the monitor already`,
        {
          hint: 'close one of them, or raise limits.monitorClients',
        },
      );
    }
    const reader = new Reader(types, this.#options.buffer, () => {
      this.#readers.delete(reader);
      this.#tellInterest();
    });
    this.#readers.add(reader);
    this.#tellInterest();
    return reader.stream;
  }

  wants(type: MonitorType): boolean {
    for (const reader of this.#readers) if (reader.types.has(type)) return true;
    return false;
  }

  get readers(): number {
    return this.#readers.size;
  }

  publish(line: { readonly type: MonitorType } & Readonly<Record<string, unknown>>): void {
    let bytes: Uint8Array | undefined;
    for (const reader of this.#readers) {
      if (!reader.types.has(line.type)) continue;
      bytes ??= encode(line);
      reader.push(bytes);
    }
  }

  close(): void {
    for (const reader of [...this.#readers]) reader.end();
  }

  #tellInterest(): void {
    const all = new Set<MonitorType>();
    for (const reader of this.#readers) for (const type of reader.types) all.add(type);
    this.#options.onInterest(all);
  }
}

class Reader {
  readonly types: ReadonlySet<MonitorType>;
  readonly stream: ReadableStream<Uint8Array>;
  readonly #queue: Uint8Array[] = [];
  readonly #limit: number;
  readonly #onClose: () => void;
  #controller: ReadableStreamDefaultController<Uint8Array> | undefined;
  #lost = 0;
  #closed = false;

  constructor(types: ReadonlySet<MonitorType>, limit: number, onClose: () => void) {
    this.types = types;
    this.#limit = limit;
    this.#onClose = onClose;
    this.stream = new ReadableStream<Uint8Array>(
      {
        start: (controller) => {
          this.#controller = controller;
        },
        pull: () => this.#flush(),
        cancel: () => this.#close(),
      },
      { highWaterMark: 64 },
    );
  }

  push(bytes: Uint8Array): void {
    if (this.#closed) return;
    if (this.#queue.length >= this.#limit) {
      this.#queue.shift();
      this.#lost++;
    }
    this.#queue.push(bytes);
    this.#flush();
  }

  end(): void {
    if (this.#closed) return;
    this.#flush();
    this.#close();
    this.#controller?.close();
  }

  #flush(): void {
    const controller = this.#controller;
    if (controller === undefined || this.#closed) return;
    while ((controller.desiredSize ?? 0) > 0) {
      if (this.#lost > 0) {
        controller.enqueue(encode({ type: 'lost', count: this.#lost }));
        this.#lost = 0;
        continue;
      }
      const next = this.#queue.shift();
      if (next === undefined) return;
      controller.enqueue(next);
    }
  }

  #close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#queue.length = 0;
    this.#onClose();
  }
}

/** @throws AgentError `bad-request` for a type that does not exist. */
export function parseMonitorTypes(text: string | undefined): ReadonlySet<MonitorType> {
  if (text === undefined || text === '') return new Set(['drop']);
  const types = new Set<MonitorType>();
  for (const part of text.split(',', 16)) {
    const type = MONITOR_TYPES.find((each) => each === part.trim());
    if (type === undefined) {
      throw new AgentError(
        'bad-request',
        `type ${JSON.stringify(part.slice(0, 40))} is none of ${MONITOR_TYPES.join(', ')}`,
        {
          field: 'type',
          value: part,
        },
      );
    }
    types.add(type);
  }
  return types;
}

const encoder = new TextEncoder();
const encode = (line: MonitorLine): Uint8Array =>
  encoder.encode(
    `${JSON.stringify(line, (_, each) => (typeof each === 'bigint' ? Number(each) : each))}\n`,
  );
