import type { IncomingMessage } from 'node:http';
import type { RequestOptions } from 'node:https';
import { InventoryError } from '../../errors.ts';
import { type Access, openAccess } from './access.ts';
import type { KubernetesSourceConfig } from './config.ts';

// Not by `import`: a module's facade of Node's HTTP loads fetch and WebSocket with it.
const http = process.getBuiltinModule('node:http');
const https = process.getBuiltinModule('node:https');

/** An object as far as any kind is alike. */
export interface KubeObject {
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string;
    readonly uid?: string;
    readonly resourceVersion?: string;
    readonly labels?: Readonly<Record<string, string>>;
    readonly ownerReferences?: readonly {
      readonly kind?: string;
      readonly name?: string;
      readonly controller?: boolean;
    }[];
  };
}

export interface KubeList {
  readonly items: readonly KubeObject[];
  readonly resourceVersion: string;
}

export type KubeEvent =
  | { readonly type: 'ADDED' | 'MODIFIED' | 'DELETED'; readonly object: KubeObject }
  | { readonly type: 'BOOKMARK'; readonly resourceVersion: string };

/** The server no longer has the revision: everything is listed again. */
export class Expired extends Error {
  override readonly name = 'Expired';
}

const ANSWER_BYTES = 256 << 20;
const LINE_BYTES = 4 << 20;
const TIMEOUT_MS = 60_000;
/** The server ends a watch itself by then; one that is silent for longer is dead. */
const WATCH_SECONDS = 300;

/** Lists and watches. Who asks is said by Kubernetes' own client library; the bytes are bounded here. */
export class KubeApi {
  readonly #config: KubernetesSourceConfig;
  readonly #server: string;
  /** Undefined once the server refused it: the token of a file has expired, and another may stand there by now. */
  #access: Access | undefined;

  private constructor(config: KubernetesSourceConfig, access: Access) {
    this.#config = config;
    this.#access = access;
    this.#server = access.server.replace(/\/$/, '');
  }

  /** @throws InventoryError `source-unreachable` for a kubeconfig that cannot be used. */
  static async open(config: KubernetesSourceConfig): Promise<KubeApi> {
    return new KubeApi(config, await openAccess(config));
  }

  /** All of it at one revision, page by page. Throws Expired when that revision went before the last page. */
  async list(
    path: string,
    query: Readonly<Record<string, string>>,
    signal: AbortSignal,
  ): Promise<KubeList> {
    const items: KubeObject[] = [];
    let next = '';
    let resourceVersion = '';
    do {
      const answer = await this.#get(
        path,
        {
          ...query,
          limit: String(this.#config.pageSize),
          ...(next === '' ? {} : { continue: next }),
        },
        signal,
      );
      const body = answer as {
        items?: unknown;
        metadata?: { continue?: string; resourceVersion?: string };
      };
      if (!Array.isArray(body.items) || typeof body.metadata?.resourceVersion !== 'string') {
        throw new InventoryError('bad-answer', `${path} did not answer with a list`, {
          field: 'server',
          value: this.#server,
        });
      }
      for (const each of body.items) if (isObject(each)) items.push(each);
      resourceVersion = body.metadata.resourceVersion;
      next = body.metadata.continue ?? '';
    } while (next !== '');
    return { items, resourceVersion };
  }

  /**
   * Resolves once the server has taken it up; ends when the server ends it, which it does every few minutes.
   * Both throw Expired and InventoryError.
   */
  async watch(
    path: string,
    query: Readonly<Record<string, string>>,
    resourceVersion: string,
    signal: AbortSignal,
  ): Promise<AsyncGenerator<KubeEvent>> {
    const message = await this.#open(
      path,
      {
        ...query,
        watch: 'true',
        resourceVersion,
        allowWatchBookmarks: 'true',
        timeoutSeconds: String(WATCH_SECONDS),
      },
      signal,
      (WATCH_SECONDS + 30) * 1000,
    );
    return this.#events(path, message);
  }

  async *#events(path: string, message: IncomingMessage): AsyncGenerator<KubeEvent> {
    let rest = '';
    message.setEncoding('utf8');
    try {
      for await (const chunk of message) {
        const lines = (rest + String(chunk)).split('\n');
        rest = lines.pop() ?? '';
        if (rest.length > LINE_BYTES) throw this.#bad(path, `a line of over ${LINE_BYTES} bytes`);
        for (const line of lines) if (line !== '') yield this.#event(path, line);
      }
    } catch (cause) {
      throw this.#translate(path, cause);
    }
  }

  #event(path: string, line: string): KubeEvent {
    let event: { type?: string; object?: unknown };
    try {
      event = JSON.parse(line) as typeof event;
    } catch {
      throw this.#bad(path, 'a line that is no JSON');
    }
    const { object, type } = event;
    if (type === 'ERROR') {
      const { code, message } = (object ?? {}) as { code?: number; message?: string };
      if (code === 410) throw new Expired(message ?? 'gone');
      throw this.#bad(path, `an error: ${String(message ?? code)}`);
    }
    if (type === 'BOOKMARK') {
      const version = (object as Partial<KubeObject> | undefined)?.metadata?.resourceVersion;
      return { type, resourceVersion: String(version ?? '') };
    }
    if ((type !== 'ADDED' && type !== 'MODIFIED' && type !== 'DELETED') || !isObject(object)) {
      throw this.#bad(path, `an event ${String(type)} of no kind that is known`);
    }
    return { type, object };
  }

  async #get(
    path: string,
    query: Readonly<Record<string, string>>,
    signal: AbortSignal,
  ): Promise<unknown> {
    const message = await this.#open(
      path,
      query,
      AbortSignal.any([signal, AbortSignal.timeout(TIMEOUT_MS)]),
      TIMEOUT_MS,
    );
    const chunks: Buffer[] = [];
    let length = 0;
    try {
      for await (const chunk of message) {
        length += (chunk as Buffer).length;
        if (length > ANSWER_BYTES) throw this.#bad(path, `over ${ANSWER_BYTES} bytes`);
        chunks.push(chunk as Buffer);
      }
      return JSON.parse(Buffer.concat(chunks).toString());
    } catch (cause) {
      throw this.#translate(path, cause);
    }
  }

  async #open(
    path: string,
    query: Readonly<Record<string, string>>,
    signal: AbortSignal,
    timeout: number,
  ): Promise<IncomingMessage> {
    const url = new URL(this.#server + path);
    for (const [key, value] of Object.entries(query)) url.searchParams.set(key, value);
    const options: RequestOptions = {
      method: 'GET',
      timeout,
      signal,
      headers: { accept: 'application/json', 'user-agent': 'causeway-inventory' },
    };
    let message: IncomingMessage;
    try {
      this.#access ??= await openAccess(this.#config);
      await this.#access.identify(options);
      message = await new Promise<IncomingMessage>((resolve, reject) => {
        const request = (url.protocol === 'https:' ? https : http).request(url, options, resolve);
        request.on('timeout', () => request.destroy(new Error(`silent for ${timeout / 1000} s`)));
        request.on('error', reject);
        request.end();
      });
    } catch (cause) {
      throw this.#translate(path, cause);
    }
    if (message.statusCode === 200) return message;
    if (message.statusCode === 401) this.#access = undefined;
    const text = await shortText(message);
    if (message.statusCode === 410) throw new Expired(text);
    throw new InventoryError(
      message.statusCode === 401 || message.statusCode === 403 ? 'forbidden' : 'bad-answer',
      `${url.host} answers ${message.statusCode} to ${path}: ${text}`,
      {
        field: 'server',
        value: this.#server,
        ...(message.statusCode === 403
          ? { hint: 'the user needs get, list and watch on pods and namespaces' }
          : {}),
      },
    );
  }

  #bad(path: string, what: string): InventoryError {
    return new InventoryError('bad-answer', `${path} of ${this.#server} answered with ${what}`, {
      field: 'server',
      value: this.#server,
    });
  }

  #translate(path: string, cause: unknown): unknown {
    if (cause instanceof InventoryError || cause instanceof Expired) return cause;
    return new InventoryError(
      'source-unreachable',
      `no whole answer of ${this.#server} to ${path}`,
      {
        field: 'server',
        value: this.#server,
        cause,
      },
    );
  }
}

async function shortText(message: IncomingMessage): Promise<string> {
  let text = '';
  try {
    for await (const chunk of message.setEncoding('utf8')) {
      text += String(chunk);
      if (text.length > 4096) break;
    }
    const status = JSON.parse(text) as { message?: unknown };
    return String(status.message ?? text).slice(0, 500);
  } catch {
    return text.slice(0, 200);
  }
}

const isObject = (value: unknown): value is KubeObject =>
  typeof (value as Partial<KubeObject> | null)?.metadata?.name === 'string';
