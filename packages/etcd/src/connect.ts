import { Client, type ClientOptions } from './client.ts';
import { systemClock } from './clock.ts';
import type { TlsOptions } from './endpoint.ts';
import { GrpcTransport } from './grpc.ts';
import type { Kv } from './types.ts';

export interface ConnectOptions extends Partial<ClientOptions> {
  /** `https://HOST:PORT`, `http://HOST:PORT` or `unix:/PATH`; tried in turn. */
  readonly endpoints: readonly string[];
  /** For `https` endpoints; without a CA file the system's authorities count. */
  readonly tls?: TlsOptions;
}

/** A client of a real etcd (3.3 and later). Returns at once; whether it is connected is in `health()`. Throws `invalid`. */
export function connectKv(options: ConnectOptions): Kv {
  const { endpoints, tls, clock = systemClock, random = Math.random, ...rest } = options;
  return new Client(new GrpcTransport(endpoints, tls, clock), { clock, random, ...rest });
}
