import { readFile } from 'node:fs/promises';
import { TokenBucket } from '@causeway/tables';
import { InventoryError } from '../../errors.ts';
import type { Source, SourceContext, SourceSink } from '../../source.ts';
import { listen } from './amqp.ts';
import type { OpenStackSourceConfig, TlsConfig } from './config.ts';
import { Follower } from './follower.ts';
import { httpTransport } from './http.ts';
import { Keystone } from './keystone.ts';
import { Service } from './service.ts';
import { Site } from './site.ts';

/** Secrets and certificates are small; more is a wrong file. */
const MOST_FILE_BYTES = 1_048_576;

/** Ports of Neutron and the servers of Nova behind them, as items of the inventory. */
export class OpenStackSource implements Source {
  readonly name: string;
  readonly type = 'openstack';
  readonly #config: OpenStackSourceConfig;
  readonly #context: SourceContext;

  constructor(config: OpenStackSourceConfig, context: SourceContext) {
    this.name = config.name;
    this.#config = config;
    this.#context = context;
  }

  /** Files are read anew at each start. @throws InventoryError `bad-file` for one that cannot be. */
  async run(sink: SourceSink, signal: AbortSignal): Promise<void> {
    const config = this.#config;
    const { clock, random, log } = this.#context;
    await using send = httpTransport({
      timeoutMs: config.limits.timeoutSeconds * 1000,
      answerBytes: config.limits.answerBytes,
      tls: await tlsOf(config.tls, 'tls'),
    });
    const secret = await authSecret(config);
    const keystone = new Keystone({ auth: config.auth, secret, send, now: () => clock.now() });
    const shared = {
      where: { interface: config.interface, region: config.region },
      keystone,
      send,
      bucket: new TokenBucket({ perSecond: config.limits.requestsPerSecond }, clock.now()),
      clock,
      random,
    };
    const { auth, endpoints } = config;
    const site = new Site(
      {
        network: new Service({
          ...shared,
          name: 'Neutron',
          types: ['network'],
          url: endpoints.network,
          version: '/v2.0',
        }),
        compute: config.compute
          ? new Service({
              ...shared,
              name: 'Nova',
              types: ['compute'],
              url: endpoints.compute,
              version: '',
            })
          : undefined,
        identity:
          auth.method === 'none'
            ? undefined
            : new Service({
                ...shared,
                name: 'Keystone',
                types: ['identity'],
                url: auth.url,
                version: '/v3',
              }),
      },
      config,
    );
    const follower = new Follower({ config, site, sink, clock, random, log });
    await Promise.all([follower.run(signal), this.#notifications(follower, signal)]);
  }

  async #notifications(follower: Follower, signal: AbortSignal): Promise<void> {
    const { notifications } = this.#config;
    if (notifications === undefined) return;
    await listen(
      {
        config: notifications,
        password: await secretOf(
          notifications.password,
          notifications.passwordFile,
          'notifications.passwordFile',
        ),
        tls:
          notifications.tls === undefined
            ? undefined
            : await tlsOf(notifications.tls, 'notifications.tls'),
        clock: this.#context.clock,
        random: this.#context.random,
        onHints: (hints) => follower.hint(hints),
        onConnected: () => follower.lookAgain(),
        onState: (trouble) => follower.notificationState(trouble),
      },
      signal,
    );
  }
}

async function authSecret({ auth }: OpenStackSourceConfig): Promise<string | undefined> {
  if (auth.method === 'none') return undefined;
  return auth.method === 'password'
    ? secretOf(auth.password, auth.passwordFile, 'auth.passwordFile')
    : secretOf(auth.secret, auth.secretFile, 'auth.secretFile');
}

async function secretOf(
  text: string | undefined,
  file: string | undefined,
  field: string,
): Promise<string> {
  if (file === undefined) return text ?? '';
  // Editors end a file with a new line, which no secret has.
  return (await contents(file, field)).replace(/\r?\n$/, '');
}

async function tlsOf(
  tls: TlsConfig,
  field: string,
): Promise<{ readonly ca?: string; readonly cert?: string; readonly key?: string }> {
  return {
    ...(tls.caFile === undefined ? {} : { ca: await contents(tls.caFile, `${field}.caFile`) }),
    ...(tls.certFile === undefined
      ? {}
      : { cert: await contents(tls.certFile, `${field}.certFile`) }),
    ...(tls.keyFile === undefined ? {} : { key: await contents(tls.keyFile, `${field}.keyFile`) }),
  };
}

async function contents(file: string, field: string): Promise<string> {
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (cause) {
    throw new InventoryError('bad-file', `${field}: ${file} cannot be read`, {
      field,
      value: file,
      cause,
    });
  }
  if (text.length > MOST_FILE_BYTES)
    throw new InventoryError(
      'bad-file',
      `${field}: ${file} is larger than ${MOST_FILE_BYTES} bytes`,
      {
        field,
        value: file,
      },
    );
  return text;
}
