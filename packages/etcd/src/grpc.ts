import type { Client, ClientDuplexStream, ServiceError } from '@grpc/grpc-js';
import { Metadata } from '@grpc/grpc-js';
import { Endpoint, type EndpointOptions, type Stubs } from './endpoint.ts';
import type { Entry } from './entry.ts';
import { KvError } from './errors.ts';
import { fromGrpc } from './grpc-errors.ts';
import { compareOf, eventOf, headerOf, operationOf, rangeOf, resultOf } from './messages.ts';
import type { WireHeader, WireLease, WireTxn, WireWatch } from './proto.ts';
import type { RangeMessage } from './range-message.ts';
import type {
  Call,
  Header,
  RangeRequest,
  Stream,
  StreamEvent,
  StreamHandlers,
  Transport,
  TxnRequest,
} from './transport.ts';

type Unary = (
  request: object,
  metadata: Metadata,
  options: { deadline: number },
  callback: (error: ServiceError | null, response: unknown) => void,
) => { cancel(): void };

/** Longest wait for a connection before the next endpoint gets its turn, when there is a next one. */
const turn = 1000;

/** etcd over gRPC. One endpoint is in use at a time; one that fails or is late makes room for the next. */
export class GrpcTransport implements Transport {
  readonly #endpoints: readonly Endpoint[];
  readonly #closed = new AbortController();
  #current = 0;

  constructor(urls: readonly string[], options: EndpointOptions) {
    if (urls.length === 0) throw new KvError('invalid', urls, 'at least one endpoint is needed');
    this.#endpoints = urls.map((url) => new Endpoint(url, options));
  }

  /** A connected endpoint, trying each once. Nothing has been sent when this throws. */
  async #connect(call: Call): Promise<{ endpoint: Endpoint; stubs: Stubs }> {
    const signal = AbortSignal.any([call.signal, this.#closed.signal]);
    const count = this.#endpoints.length;
    let failure: unknown;
    for (let tried = 0; tried < count; tried++) {
      const endpoint = this.#endpoints[this.#current % count] as Endpoint;
      try {
        const wait = count === 1 ? call.deadline : Math.min(turn, call.deadline / count);
        return { endpoint, stubs: await endpoint.ready(wait, signal) };
      } catch (error) {
        if (signal.aborted) throw error;
        failure = error;
        this.#leave(endpoint);
      }
    }
    throw failure;
  }

  /** The next call goes elsewhere, unless another has moved on already. */
  #leave(endpoint: Endpoint): void {
    const count = this.#endpoints.length;
    endpoint.doubt();
    if (this.#endpoints[this.#current % count] === endpoint)
      this.#current = (this.#current + 1) % count;
  }

  async #unary<T>(
    service: keyof Stubs,
    method: string,
    request: object,
    about: string,
    call: Call,
  ): Promise<{ response: T; endpoint: string }> {
    // gRPC's deadlines are wall-clock times, whatever clock the caller lives by.
    const deadline = Date.now() + call.deadline;
    const { endpoint, stubs } = await this.#connect(call);
    const stub = stubs[service] as Client & Record<string, Unary>;
    try {
      const response = await new Promise<T>((resolve, reject) => {
        const pending = stub[method]?.(request, new Metadata(), { deadline }, (error, value) => {
          call.signal.removeEventListener('abort', cancel);
          if (error) reject(error);
          else resolve(value as T);
        });
        const cancel = () => pending?.cancel();
        call.signal.addEventListener('abort', cancel);
        if (call.signal.aborted) cancel();
      });
      return { response, endpoint: endpoint.url };
    } catch (error) {
      const failure = fromGrpc(error, about, endpoint.url);
      if (failure.code === 'unavailable' || failure.code === 'deadline') this.#leave(endpoint);
      throw failure;
    }
  }

  /** A call of the auth service. */
  async auth<T>(method: string, request: object, about: string, call: Call): Promise<T> {
    const { response } = await this.#unary<T>('auth', method, request, about, call);
    return response;
  }

  async get(key: string, call: Call): Promise<{ header: Header; entry: Entry | undefined }> {
    const request = { key: Buffer.from(key) };
    const { response, endpoint } = await this.#unary<RangeMessage>(
      'kv',
      'Range',
      request,
      key,
      call,
    );
    const [entry] = response.entries;
    return { header: headerOf(response.header, endpoint), entry };
  }

  async range(request: RangeRequest, call: Call) {
    const wire = {
      ...rangeOf(request.prefix),
      // The key behind the last one: it with a zero byte.
      ...(request.after === undefined ? {} : { key: Buffer.from(`${request.after}\0`) }),
      limit: request.limit,
      revision: request.revision,
      // Ascending by key is the server's natural order and its cheap one; an explicit order makes it sort.
      sort_order: 'NONE',
      keys_only: request.keysOnly,
    };
    const { response, endpoint } = await this.#unary<RangeMessage>(
      'kv',
      'Range',
      wire,
      request.prefix,
      call,
    );
    const { header, entries, more } = response;
    return { header: headerOf(header, endpoint), entries, more };
  }

  async txn({ compare, success, failure }: TxnRequest, call: Call) {
    const wire = {
      compare: compare.map(compareOf),
      success: success.map(operationOf),
      failure: failure.map(operationOf),
    };
    const { response, endpoint } = await this.#unary<WireTxn>(
      'kv',
      'Txn',
      wire,
      'transaction',
      call,
    );
    const operations = response.succeeded ? success : failure;
    const results = operations.map((operation, i) => resultOf(operation, response.responses[i]));
    return { header: headerOf(response.header, endpoint), succeeded: response.succeeded, results };
  }

  async leaseGrant(ttl: number, call: Call) {
    const { response, endpoint } = await this.#unary<WireLease>(
      'lease',
      'LeaseGrant',
      { TTL: ttl },
      'lease',
      call,
    );
    return {
      header: headerOf(response.header, endpoint),
      id: response.ID,
      ttl: Number(response.TTL),
    };
  }

  async leaseRevoke(id: string, call: Call) {
    const { response, endpoint } = await this.#unary<WireLease>(
      'lease',
      'LeaseRevoke',
      { ID: id },
      id,
      call,
    );
    return { header: headerOf(response.header, endpoint) };
  }

  /** One renewal on a stream of its own: three in a lease's life are not worth keeping a stream whole. */
  async leaseKeepAlive(id: string, call: Call): Promise<{ header: Header; ttl: number }> {
    const deadline = Date.now() + call.deadline;
    const { endpoint, stubs } = await this.#connect(call);
    const open = (
      stubs.lease as unknown as Record<
        string,
        (m: Metadata, o: object) => ClientDuplexStream<object, WireLease>
      >
    ).LeaseKeepAlive;
    const stream = open?.call(stubs.lease, new Metadata(), { deadline });
    if (!stream) throw new KvError('internal', id, 'the lease service has no LeaseKeepAlive');
    const cancel = () => stream.cancel();
    call.signal.addEventListener('abort', cancel);
    try {
      const response = await new Promise<WireLease>((resolve, reject) => {
        stream.on('data', resolve);
        stream.on('error', reject);
        stream.on('end', () =>
          reject(
            new KvError('unavailable', id, `etcd at ${endpoint.url}: the renewal was not answered`),
          ),
        );
        stream.write({ ID: id });
      });
      return { header: headerOf(response.header, endpoint.url), ttl: Number(response.TTL) };
    } catch (error) {
      const failure = fromGrpc(error, `lease ${id}`, endpoint.url);
      if (failure.code === 'unavailable' || failure.code === 'deadline') this.#leave(endpoint);
      throw failure;
    } finally {
      call.signal.removeEventListener('abort', cancel);
      stream.cancel();
    }
  }

  async probe(call: Call): Promise<{ header: Header }> {
    const { response, endpoint } = await this.#unary<{ header: WireHeader | null }>(
      'maintenance',
      'Status',
      {},
      'status',
      call,
    );
    return { header: headerOf(response.header, endpoint) };
  }

  watch(request: { prefix: string; startRevision: number }, handlers: StreamHandlers): Stream {
    const end = new AbortController();
    let stream: ClientDuplexStream<object, WireWatch> | undefined;
    let paused = false;
    const finish = (error?: KvError) => {
      if (end.signal.aborted) return;
      end.abort();
      stream?.cancel();
      if (error) handlers.ended(error);
    };
    const start = async () => {
      const { endpoint, stubs } = await this.#connect({ signal: end.signal, deadline: 5000 });
      if (end.signal.aborted) return;
      const metadata = new Metadata();
      // A member cut off from its cluster ends the watch instead of staying silent.
      metadata.set('hasleader', 'true');
      const open = (
        stubs.watch as unknown as Record<
          string,
          (m: Metadata) => ClientDuplexStream<object, WireWatch>
        >
      ).Watch;
      stream = open?.call(stubs.watch, metadata);
      if (!stream) throw new KvError('internal', request.prefix, 'the watch service has no Watch');
      // Reading starts by pause() or data listener only; a pause asked for while connecting still holds.
      stream.on('data', (response) =>
        this.#onWatch(response, endpoint, request, handlers, finish, pieces),
      );
      stream.on('error', (error) => {
        if (end.signal.aborted) return;
        this.#leave(endpoint);
        finish(fromGrpc(error, request.prefix, endpoint.url));
      });
      stream.on('end', () =>
        finish(
          new KvError('unavailable', request.prefix, `etcd at ${endpoint.url} ended the watch`),
        ),
      );
      if (paused) stream.pause();
      stream.write({
        create_request: {
          ...rangeOf(request.prefix),
          start_revision: request.startRevision,
          progress_notify: true,
          fragment: true,
        },
      });
    };
    const pieces: StreamEvent[] = [];
    start().catch((error) => finish(fromGrpc(error, request.prefix, 'any endpoint')));
    return {
      pause: () => {
        paused = true;
        stream?.pause();
      },
      resume: () => {
        paused = false;
        stream?.resume();
      },
      close: () => finish(),
    };
  }

  #onWatch(
    response: WireWatch,
    endpoint: Endpoint,
    request: { prefix: string; startRevision: number },
    handlers: StreamHandlers,
    finish: (error: KvError) => void,
    pieces: StreamEvent[],
  ): void {
    const about = request.prefix;
    try {
      if (response.canceled) {
        const compacted = Number(response.compact_revision);
        const text = response.cancel_reason || `compacted up to ${compacted}`;
        const failure = fromGrpc(new Error(text), about, endpoint.url);
        const code = /permission denied/.test(text) ? 'permission-denied' : 'unavailable';
        finish(
          compacted > 0
            ? new KvError(
                'compacted',
                request.startRevision,
                `revision ${request.startRevision} is gone: ${text}`,
              )
            : new KvError(code, about, failure.message),
        );
        return;
      }
      const header = headerOf(response.header, endpoint.url);
      if (response.created) {
        handlers.created(header);
        return;
      }
      for (const event of response.events) pieces.push(eventOf(event));
      // A revision that comes in fragments is told in one piece.
      if (response.fragment) return;
      handlers.events(header, pieces.splice(0));
    } catch (error) {
      finish(fromGrpc(error, about, endpoint.url));
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed.abort(new KvError('closed', undefined, 'the client was closed'));
    for (const endpoint of this.#endpoints) endpoint.close();
  }
}
