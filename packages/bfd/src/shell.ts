import { setFlagsFromString } from 'node:v8';
import { Worker } from 'node:worker_threads';
import { EventFd } from '@causeway/linux';
import { BfdError, type BfdErrorCode } from './errors.ts';
import type { SessionRow } from './row.ts';
import type {
  BfdEvent,
  Command,
  ConfigureAnswer,
  Message,
  PlainError,
  ThreadOptions,
  ThreadStatus,
} from './shell/messages.ts';
import type { SessionSpec } from './spec.ts';

export interface BfdOptions {
  /** Path of the network namespace to work in; the process's own unless told. */
  readonly netns?: string;
  /** The most sessions; 4,096 unless told. */
  readonly limit?: number;
  /** Runs in real time, or as far as it is allowed. True unless told. */
  readonly preferred?: boolean;
  /** Every change of state. If it throws, that is an uncaught error of the process. */
  readonly onEvent?: (event: BfdEvent) => void;
  /** The thread ended by itself, which it never should. */
  readonly onFailure?: (error: BfdError) => void;
}

type Ask = Command extends infer C ? (C extends Command ? Omit<C, 'id'> : never) : never;

/**
 * BFD sessions over real sockets, on a thread of their own: neither what the caller does nor its garbage
 * collector delays a packet. Every call is a message to that thread and costs the caller little.
 */
export class Bfd implements AsyncDisposable {
  readonly #worker: Worker;
  readonly #wake = new EventFd();
  readonly #options: BfdOptions;
  readonly #taken: Int32Array<SharedArrayBuffer>;
  readonly #waiting = new Map<
    number,
    {
      resolve: (value: unknown) => void;
      reject: (error: Error) => void;
      onPart: ((rows: readonly SessionRow[]) => void) | undefined;
    }
  >();
  readonly #ready = Promise.withResolvers<void>();
  readonly #ended: Promise<void>;
  #lastId = 0;
  #started = false;
  #stopping = false;
  #gone: BfdError | undefined;

  private constructor(options: BfdOptions) {
    this.#options = options;
    this.#taken = new Int32Array(new SharedArrayBuffer(4));
    // Otherwise a collection waits for helper threads, which have no priority on a busy machine.
    setFlagsFromString('--single-threaded-gc');
    this.#worker = new Worker(new URL('./shell/thread.ts', import.meta.url), {
      name: 'bfd',
      workerData: {
        wake: this.#wake.fd.number,
        taken: this.#taken,
        netns: options.netns,
        limit: options.limit,
        preferred: options.preferred ?? true,
      } satisfies ThreadOptions,
      // The thread is a file, whatever the process was started by.
      execArgv: [],
      // packages/linux owns and closes descriptors itself; Node would close their numbers once more.
      trackUnmanagedFds: false,
      // A small young generation makes each collection short.
      resourceLimits: { maxYoungGenerationSizeMb: 2, maxOldGenerationSizeMb: 64 },
    });
    this.#worker.on('message', (message: Message) => this.#take(message));
    this.#worker.on('error', (cause: Error) =>
      this.#fail(new BfdError('stopped', `the BFD thread failed: ${cause.message}`, { cause })),
    );
    this.#ended = new Promise((resolve) =>
      this.#worker.once('exit', () => {
        this.#fail(new BfdError('stopped', 'the BFD thread has ended'));
        this.#wake.close();
        resolve();
      }),
    );
  }

  /**
   * Also tells V8, for the whole process, to collect garbage without helper threads. Throws BfdError
   * `port-taken` if another BFD runs in this namespace, or LinuxError's codes.
   */
  static async start(options: BfdOptions = {}): Promise<Bfd> {
    const bfd = new Bfd(options);
    await bfd.#ready.promise;
    return bfd;
  }

  /**
   * Makes the sessions be exactly these; those known already are updated without a fall. Throws
   * BfdError `bad-session`, `duplicate-session` or `too-many-sessions` and changes nothing.
   */
  configure(sessions: readonly SessionSpec[]): Promise<ConfigureAnswer> {
    return this.#ask({ type: 'configure', sessions }) as Promise<ConfigureAnswer>;
  }

  /** How all sessions stand; those of many come from a few moments. */
  async sessions(): Promise<SessionRow[]> {
    const rows: SessionRow[] = [];
    await this.#ask({ type: 'sessions' }, (part) => rows.push(...part));
    return rows;
  }

  status(): Promise<ThreadStatus> {
    return this.#ask({ type: 'status' }) as Promise<ThreadStatus>;
  }

  #ask(ask: Ask, onPart?: (rows: readonly SessionRow[]) => void): Promise<unknown> {
    if (this.#gone !== undefined) return Promise.reject(this.#gone);
    const id = ++this.#lastId;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject, onPart });
      this.#worker.postMessage({ ...ask, id });
      this.#wake.signal();
    });
  }

  #take(message: Message): void {
    switch (message.type) {
      case 'ready':
        this.#started = true;
        this.#ready.resolve();
        break;
      case 'failed':
        this.#fail(errorFrom(message.error));
        break;
      case 'part':
        this.#waiting.get(message.id)?.onPart?.(message.rows);
        break;
      case 'answer':
        this.#waiting.get(message.id)?.resolve(message.value);
        this.#waiting.delete(message.id);
        break;
      case 'refusal':
        this.#waiting.get(message.id)?.reject(errorFrom(message.error));
        this.#waiting.delete(message.id);
        break;
      case 'event':
        Atomics.add(this.#taken, 0, 1);
        this.#options.onEvent?.(message.event);
        break;
      default:
        message satisfies never;
    }
  }

  #fail(error: BfdError): void {
    if (this.#gone !== undefined) return;
    this.#gone = error;
    this.#ready.reject(error);
    // Whoever waits for the start has the rejection; nobody may.
    this.#ready.promise.catch(() => {});
    for (const { reject } of this.#waiting.values()) reject(error);
    this.#waiting.clear();
    if (this.#started && !this.#stopping) this.#options.onFailure?.(error);
  }

  /** Tells all peers AdminDown, so that they take our going for what it is, and ends the thread. */
  async stop(): Promise<void> {
    if (!this.#stopping) {
      this.#stopping = true;
      await this.#ask({ type: 'stop' }).catch(() => {});
    }
    await this.#ended;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }
}

function errorFrom({ code, message, ...details }: PlainError): BfdError {
  return new BfdError(code as BfdErrorCode, message, details);
}
