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
  /**
   * Milliseconds of silence before a ping; half as much again without its answer ends the connection.
   * Default 10,000; etcd as it is configured by default cuts off who pings more often than every 5 s.
   */
  readonly keepAlive?: number;
}

/** A client of a real etcd (3.3 and later). Returns at once; whether it is connected is in `health()`. Throws `invalid`. */
export function connectKv(options: ConnectOptions): Kv {
  const { endpoints, tls, keepAlive = 10_000, clock = systemClock, random = Math.random } = options;
  const transport = new GrpcTransport(endpoints, { tls, clock, keepAlive });
  return new Client(transport, { ...options, clock, random });
}
