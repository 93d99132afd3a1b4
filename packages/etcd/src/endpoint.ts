import { X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { isIP } from 'node:net';
import { checkServerIdentity } from 'node:tls';
import type { Clock } from '@causeway/tables';
import {
  type ChannelCredentials,
  type Client,
  connectivityState,
  credentials,
  Metadata,
  type ServiceError,
} from '@grpc/grpc-js';
import { KvError } from './errors.ts';
import { services } from './proto.ts';

export interface TlsOptions {
  /** PEM files. They are read again before each new connection, so that renewed ones are used. */
  readonly caFile?: string;
  readonly certFile?: string;
  readonly keyFile?: string;
  /** The same as PEM text, for what does not stand in files. */
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
  /** The name in the server's certificate, where it is not the endpoint's host. */
  readonly serverName?: string;
}

export interface EndpointOptions {
  readonly tls: TlsOptions | undefined;
  readonly clock: Clock;
  /** Milliseconds of silence before a ping; half as much again without its answer ends the connection. */
  readonly keepAlive: number;
}

export interface Stubs {
  readonly kv: Client;
  readonly watch: Client;
  readonly lease: Client;
  readonly maintenance: Client;
  readonly auth: Client;
}

interface Connection {
  readonly stubs: Stubs;
  /** The files' contents, to notice that they have changed. */
  readonly stamp: string;
}

/** The channel to one etcd member: opened when first needed, rebuilt when its TLS files have changed. */
export class Endpoint {
  readonly url: string;
  readonly #target: string;
  readonly #tls: TlsOptions | undefined;
  readonly #clock: Clock;
  #connection: Connection | undefined;
  #opening: Promise<Connection> | undefined;
  #doubted = false;
  /** Our own, PEM. */
  #certificate: Buffer | undefined;

  readonly #keepAlive: number;

  constructor(url: string, options: EndpointOptions) {
    const { tls, clock, keepAlive } = options;
    this.url = url;
    this.#clock = clock;
    this.#keepAlive = keepAlive;
    const { target, secure } = parseUrl(url);
    this.#target = target;
    this.#tls = secure ? (tls ?? {}) : undefined;
  }

  /** The stubs of a channel that is connected. Throws `unavailable` if that takes longer than `wait` ms. */
  async ready(wait: number, signal: AbortSignal): Promise<Stubs> {
    const ready = this.#connection && this.#state() === connectivityState.READY;
    if (ready && this.#connection && !this.#doubted) return this.#connection.stubs;
    this.#doubted = false;
    this.#opening ??= this.#open().finally(() => {
      this.#opening = undefined;
    });
    const { stubs } = await this.#opening;
    const due = this.#clock.now() + wait;
    const channel = stubs.kv.getChannel();
    let last = false;
    while (!signal.aborted) {
      const state = channel.getConnectivityState(true);
      if (state === connectivityState.READY) return stubs;
      const left = due - this.#clock.now();
      if (state === connectivityState.SHUTDOWN || last) break;
      // Time may have run out while we had no processor: the sockets are looked at once more.
      last = left <= 0;
      await new Promise<void>((resolve) => {
        const patience = Math.min(Math.max(left, 20), 250);
        channel.watchConnectivityState(state, Date.now() + patience, () => resolve());
      });
    }
    signal.throwIfAborted();
    const message = `etcd at ${this.url}: no connection within ${Math.round(wait)} ms${this.#expiry()}`;
    throw new KvError(
      'unavailable',
      this.url,
      `${message}${await lastError(stubs).catch(() => '')}`,
    );
  }

  /**
   * A call has failed: look at the TLS files again before the next. With TLS 1.3 a refused client
   * certificate shows only after the handshake, so the channel seems ready time and again.
   */
  doubt(): void {
    this.#doubted = true;
  }

  /** A server that refuses a certificate says no more than that it is bad. */
  #expiry(): string {
    const pem = this.#certificate;
    if (pem === undefined) return '';
    try {
      const { validFromDate, validToDate } = new X509Certificate(pem);
      const now = this.#clock.now();
      if (now > validToDate.getTime()) {
        return `; our certificate has expired on ${validToDate.toISOString()}`;
      }
      if (now < validFromDate.getTime()) {
        return `; our certificate is not valid before ${validFromDate.toISOString()}`;
      }
    } catch {
      // What is wrong with it TLS has said.
    }
    return '';
  }

  #state(): connectivityState | undefined {
    return this.#connection?.stubs.kv.getChannel().getConnectivityState(false);
  }

  async #open(): Promise<Connection> {
    const files = await this.#read();
    const stamp = files.map((file) => file?.toString('latin1') ?? '').join('\n');
    if (this.#connection?.stamp === stamp) return this.#connection;
    this.#certificate = files[1];
    const options: Record<string, string | number> = {
      // Ours alone: the stubs of one endpoint share one channel's sub-channels, and no other client's.
      'grpc.use_local_subchannel_pool': 1,
      'grpc.keepalive_time_ms': this.#keepAlive,
      // Loading eBPF programs keeps the loop busy for seconds: their acknowledgement must have the time for it.
      'grpc.keepalive_timeout_ms': this.#keepAlive,
      'grpc.keepalive_permit_without_calls': 1,
      'grpc.initial_reconnect_backoff_ms': 100,
      'grpc.max_reconnect_backoff_ms': 3_000,
      // A record of each call that nobody asks for.
      'grpc.enable_channelz': 0,
      'grpc.max_receive_message_length': 64 * 1024 * 1024,
    };
    let security: ChannelCredentials;
    try {
      security = this.#credentials(files, options);
    } catch (cause) {
      const message = `etcd at ${this.url}: the TLS files do not fit together`;
      throw new KvError('unavailable', this.url, message, cause);
    }
    this.close();
    const { KV, Watch, Lease, Maintenance, Auth } = services();
    const kv = new KV(this.#target, security, options);
    const shared = { ...options, channelOverride: kv.getChannel() };
    const stubs: Stubs = {
      kv,
      watch: new Watch(this.#target, security, shared),
      lease: new Lease(this.#target, security, shared),
      maintenance: new Maintenance(this.#target, security, shared),
      auth: new Auth(this.#target, security, shared),
    };
    this.#connection = { stubs, stamp };
    return this.#connection;
  }

  #credentials(
    [ca, cert, key]: readonly (Buffer | undefined)[],
    options: Record<string, string | number>,
  ): ChannelCredentials {
    if (!this.#tls) return credentials.createInsecure();
    const { serverName } = this.#tls;
    if (serverName !== undefined) {
      options['grpc.ssl_target_name_override'] = serverName;
      options['grpc.default_authority'] = serverName;
      return credentials.createSsl(ca ?? null, key ?? null, cert ?? null);
    }
    const address = new URL(this.url).hostname.replace(/^\[|\]$/g, '');
    if (!isIP(address)) return credentials.createSsl(ca ?? null, key ?? null, cert ?? null);
    // Node refuses an address as the name in the handshake and gRPC would give it one. So the handshake
    // gets a name that no certificate can have, and the certificate is checked against the address.
    options['grpc.ssl_target_name_override'] = 'address.invalid';
    return credentials.createSsl(ca ?? null, key ?? null, cert ?? null, {
      checkServerIdentity: (_name, certificate) => checkServerIdentity(address, certificate),
    });
  }

  #read(): Promise<(Buffer | undefined)[]> {
    const { caFile, certFile, keyFile, ca, cert, key } = this.#tls ?? {};
    const sources = [
      { path: caFile, pem: ca },
      { path: certFile, pem: cert },
      { path: keyFile, pem: key },
    ];
    return Promise.all(
      sources.map(({ path, pem }) =>
        path === undefined
          ? pem === undefined
            ? undefined
            : Buffer.from(pem)
          : readFile(path).catch((cause) => {
              throw new KvError(
                'unavailable',
                path,
                `TLS file ${path} cannot be read: ${cause.message}`,
                cause,
              );
            }),
      ),
    );
  }

  close(): void {
    this.#connection?.stubs.kv.close();
    this.#connection = undefined;
  }
}

/** Why the channel is not connected: gRPC tells it only to a call that it refuses at once. */
function lastError(stubs: Stubs): Promise<string> {
  const probe = stubs.maintenance as Client &
    Record<
      string,
      (q: object, m: Metadata, o: object, done: (e: ServiceError | null) => void) => void
    >;
  return new Promise((resolve) => {
    const options = { deadline: Date.now() + 50 };
    probe.Status?.({}, new Metadata(), options, (error) => {
      const reason = /Last error: (.*)$/s.exec(error?.details ?? '')?.[1];
      resolve(reason === undefined ? '' : `: ${reason.split('. Resolution note')[0]}`);
    });
  });
}

/** `http://host:port`, `https://host:port`, `host:port` or `unix:/path`. Throws `invalid`. */
function parseUrl(url: string): { target: string; secure: boolean } {
  if (url.startsWith('unix:/')) return { target: url, secure: false };
  const full = url.includes('://') ? url : `http://${url}`;
  const parsed = URL.canParse(full) ? new URL(full) : undefined;
  const plain =
    parsed && (parsed.pathname === '/' || parsed.pathname === '') && parsed.search === '';
  if (
    !parsed ||
    !plain ||
    parsed.hostname === '' ||
    !['http:', 'https:'].includes(parsed.protocol)
  ) {
    throw new KvError(
      'invalid',
      url,
      `endpoint ${JSON.stringify(url)} is not of the form https://HOST:PORT`,
    );
  }
  const { hostname, port, protocol } = parsed;
  const target = `${hostname}:${port || (protocol === 'https:' ? '443' : '80')}`;
  // gRPC's own schemes keep a literal address from being looked up as a name.
  if (hostname.startsWith('[')) return { target: `ipv6:${target}`, secure: protocol === 'https:' };
  const scheme = /^[0-9.]+$/.test(hostname) ? 'ipv4:' : 'dns:';
  return { target: `${scheme}${target}`, secure: protocol === 'https:' };
}
