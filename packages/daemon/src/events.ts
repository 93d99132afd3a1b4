import { DaemonError } from './errors.ts';

export interface EventStreamOptions {
  /** Lines kept for one reader that does not read. */
  readonly buffer: number;
  readonly readers: number;
  /** How a person raises `readers`, for the refusal. */
  readonly hint?: string;
}

export interface StreamRequest<Line> {
  /** Which lines this reader wants. Default: all. */
  readonly wants?: (line: Line) => boolean;
  /** Lines that this reader gets first, one by one as it reads; they do not count against the buffer. */
  readonly first?: Iterable<object>;
  /** The reader is gone: it cancelled, or the streams were closed. */
  readonly onClose?: () => void;
}

/**
 * Hands events to readers as lines of JSON (NDJSON). Each reader has a queue of bounded length: one
 * that does not keep up loses the oldest lines, is told so by `{"type":"lost","count":n}`, and nobody
 * else notices.
 */
export class EventStreams<Line extends object> {
  readonly #options: EventStreamOptions;
  readonly #readers = new Set<Reader<Line>>();

  constructor(options: EventStreamOptions) {
    this.#options = options;
  }

  /**
   * Lines as bytes, until the reader cancels or `close`. @throws DaemonError `stream-full` when there
   * are as many readers as allowed.
   */
  stream(request: StreamRequest<Line> = {}): ReadableStream<Uint8Array> {
    if (this.#readers.size >= this.#options.readers) {
      throw new DaemonError(
        'stream-full',
        `${this.#readers.size} readers follow this stream already`,
        { hint: this.#options.hint ?? 'close one of them' },
      );
    }
    const reader = new Reader<Line>(request, this.#options.buffer, () => {
      this.#readers.delete(reader);
      request.onClose?.();
    });
    this.#readers.add(reader);
    return reader.stream;
  }

  get readers(): number {
    return this.#readers.size;
  }

  publish(line: Line): void {
    let bytes: Uint8Array | undefined;
    for (const reader of this.#readers) {
      if (!reader.wants(line)) continue;
      bytes ??= encodeLine(line);
      reader.push(bytes);
    }
  }

  /** Ends every stream after what it still has. */
  close(): void {
    for (const reader of [...this.#readers]) reader.end();
  }
}

class Reader<Line> {
  readonly wants: (line: Line) => boolean;
  readonly stream: ReadableStream<Uint8Array>;
  readonly #queue: Uint8Array[] = [];
  readonly #first: Iterator<object> | undefined;
  readonly #limit: number;
  readonly #onClose: () => void;
  #controller: ReadableStreamDefaultController<Uint8Array> | undefined;
  #firstDone: boolean;
  #lost = 0;
  #closed = false;

  constructor(request: StreamRequest<Line>, limit: number, onClose: () => void) {
    this.wants = request.wants ?? (() => true);
    this.#first = request.first?.[Symbol.iterator]();
    this.#firstDone = this.#first === undefined;
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
      const next = this.#next();
      if (next === undefined) return;
      controller.enqueue(next);
    }
  }

  #next(): Uint8Array | undefined {
    if (!this.#firstDone) {
      const next = this.#first?.next();
      if (next !== undefined && next.done !== true) return encodeLine(next.value);
      this.#firstDone = true;
    }
    if (this.#lost > 0) {
      const lost = encodeLine({ type: 'lost', count: this.#lost });
      this.#lost = 0;
      return lost;
    }
    return this.#queue.shift();
  }

  #close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#queue.length = 0;
    this.#onClose();
  }
}

const encoder = new TextEncoder();
const encodeLine = (line: object): Uint8Array =>
  encoder.encode(
    `${JSON.stringify(line, (_, each) => (typeof each === 'bigint' ? Number(each) : each))}\n`,
  );
