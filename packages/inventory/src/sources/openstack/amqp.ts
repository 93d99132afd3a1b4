import { messageWithCauses } from '@causeway/daemon';
import { type Clock, exponentialBackoff } from '@causeway/tables';
import { type Channel, type ChannelModel, connect } from 'amqplib';
import type { NotificationsConfig } from './config.ts';
import { closeQuietly } from './goodbye.ts';
import { type Hint, hintsOf, MOST_BYTES } from './notifications.ts';

/** What waits at the broker for us at most; the oldest goes, and the lists find what it told of. */
const MOST_WAITING = 100_000;
const PREFETCH = 200;
const CONNECT_MS = 10_000;
/** An exchange that is not there is looked for again so often: a service makes it when it first notifies. */
const LOOK_AGAIN_MS = 10_000;

export interface ListenerOptions {
  readonly config: NotificationsConfig;
  readonly password: string;
  readonly tls: { readonly ca?: string; readonly cert?: string; readonly key?: string } | undefined;
  readonly clock: Clock;
  readonly random: () => number;
  readonly onHints: (hints: readonly Hint[]) => void;
  /** From now on nothing is missed; what came before may have been. */
  readonly onConnected: () => void;
  /** In words, for people; undefined: as it should be. */
  readonly onState: (trouble: string | undefined) => void;
}

/**
 * Listens until the signal aborts. A queue of our own, exclusive and gone with the connection, so that no
 * other reader of notifications loses any to us and none pile up when we are away: what was missed
 * meanwhile is found by the lists that `onConnected` asks for. Exchanges are looked for, never made: made
 * with other properties than the services', they would keep those from starting.
 */
export async function listen(options: ListenerOptions, signal: AbortSignal): Promise<void> {
  const backoff = exponentialBackoff(options.random, { min: 500, max: 30_000 });
  let failures = 0;
  while (!signal.aborted) {
    const host = options.config.hosts[failures % options.config.hosts.length] ?? '';
    try {
      await connection(host, options, signal, () => {
        failures = 0;
      });
    } catch (error) {
      if (signal.aborted) return;
      failures++;
      options.onState(
        `no notifications: the broker ${host} ${trouble(error, options.password)}; asking by the clock instead`,
      );
      await options.clock.sleep(backoff(failures), signal);
    }
  }
}

async function connection(
  host: string,
  options: ListenerOptions,
  signal: AbortSignal,
  onWorking: () => void,
): Promise<void> {
  const { config } = options;
  const end = Promise.withResolvers<void>();
  // Whoever awaits it comes only after the handshake.
  end.promise.catch(() => {});
  const model = await within(
    connect(target(host, options), socket(options)),
    options.clock,
    signal,
  );
  const stop = () => end.resolve();
  signal.addEventListener('abort', stop);
  if (signal.aborted) stop();
  model.on('error', (error) => end.reject(error));
  model.on('close', (error) => end.reject(error ?? new Error('closed the connection')));
  try {
    const channel = await model.createChannel();
    channel.on('error', (error) => end.reject(error));
    channel.on('close', () => end.reject(new Error('closed the channel')));
    await channel.prefetch(PREFETCH);
    const { queue } = await channel.assertQueue('', {
      exclusive: true,
      autoDelete: true,
      maxLength: MOST_WAITING,
      arguments: { 'x-overflow': 'drop-head' },
    });
    await channel.consume(queue, (message) => {
      if (message === null) {
        end.reject(new Error('took the queue away'));
        return;
      }
      const hints = hintsOf(message.content);
      if (hints.length > 0) options.onHints(hints);
      // A hint in memory is enough: it is lost only with the process, which begins with a full list.
      channel.ack(message);
    });
    await bindAll(model, channel, queue, config, options, signal, end.promise, onWorking);
    await end.promise;
  } finally {
    signal.removeEventListener('abort', stop);
    await closeQuietly(model, options.clock);
  }
}

/** Binds each exchange as soon as it is there. */
async function bindAll(
  model: ChannelModel,
  channel: Channel,
  queue: string,
  config: NotificationsConfig,
  options: ListenerOptions,
  signal: AbortSignal,
  ended: Promise<void>,
  onWorking: () => void,
): Promise<void> {
  const missing = new Set(config.exchanges);
  const over = ended.then(
    () => true,
    () => true,
  );
  for (;;) {
    const before = missing.size;
    for (const exchange of [...missing]) {
      if (!(await exists(model, exchange))) continue;
      for (const topic of config.topics) await channel.bindQueue(queue, exchange, `${topic}.*`);
      missing.delete(exchange);
    }
    onWorking();
    if (missing.size < before) options.onConnected();
    options.onState(
      missing.size === 0
        ? undefined
        : `the broker has no exchange ${[...missing].join(', ')} yet: its service has notified nobody so far, or has notifications switched off`,
    );
    if (missing.size === 0 || signal.aborted) return;
    const pause = options.clock.sleep(LOOK_AGAIN_MS, signal).then(() => false);
    if (await Promise.race([pause, over])) return;
  }
}

/** On a channel of its own: asking for one that is not there closes the channel. */
async function exists(model: ChannelModel, exchange: string): Promise<boolean> {
  const probe = await model.createChannel();
  probe.on('error', () => {});
  try {
    await probe.checkExchange(exchange);
    await probe.close();
    return true;
  } catch (error) {
    if ((error as { code?: unknown }).code === 404) return false;
    throw error;
  }
}

function target(
  host: string,
  { config, password }: ListenerOptions,
): Parameters<typeof connect>[0] {
  const at = /^(.*?)(?::(\d+))?$/.exec(host);
  const bracketed = /^\[(.+)\](?::(\d+))?$/.exec(host);
  const [, name, port] = bracketed ?? at ?? [];
  return {
    protocol: config.tls === undefined ? 'amqp' : 'amqps',
    hostname: name ?? host,
    port: port === undefined ? (config.tls === undefined ? 5672 : 5671) : Number(port),
    username: config.username,
    password,
    vhost: config.vhost,
    heartbeat: config.heartbeatSeconds,
  };
}

const socket = ({ tls }: ListenerOptions): object => ({
  timeout: CONNECT_MS,
  maxFrameSize: 2 * MOST_BYTES,
  clientProperties: { connection_name: 'causeway inventory' },
  ...(tls?.ca === undefined ? {} : { ca: [Buffer.from(tls.ca)] }),
  ...(tls?.cert === undefined ? {} : { cert: tls.cert }),
  ...(tls?.key === undefined ? {} : { key: tls.key }),
});

/** A handshake that ends after all, when nobody waits any more, is closed. */
async function within(
  opening: Promise<ChannelModel>,
  clock: Clock,
  signal: AbortSignal,
): Promise<ChannelModel> {
  const aborted = Promise.withResolvers<never>();
  const abort = () => aborted.reject(signal.reason);
  signal.addEventListener('abort', abort);
  if (signal.aborted) abort();
  try {
    return await Promise.race([opening, aborted.promise]);
  } catch (error) {
    opening.then(
      (model) => closeQuietly(model, clock),
      () => {},
    );
    throw error;
  } finally {
    signal.removeEventListener('abort', abort);
  }
}

/** Without the secret, which some of the client's errors repeat. */
const trouble = (error: unknown, password: string): string =>
  `fails (${messageWithCauses(error)})`.replaceAll(password, '(secret)');
