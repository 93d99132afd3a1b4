import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { freePort } from '@causeway/etcd/testing';
import { Program, Scratch } from '../../../../testing/process.ts';

const file = (name: string) => new URL(name, import.meta.url).pathname;

export interface NovaOptions {
  /** `rabbit://...`, to which it notifies; without, it notifies nobody. */
  readonly transport?: string;
  /** Of Neutron, which Nova asks for the security groups of what it lists. */
  readonly network: string;
}

/**
 * Debian's nova-api on loopback, on SQLite and without authentication. What its conductor and hypervisor
 * do, making and ending instances, a stand-in does in the tables by Nova's own code.
 */
export class Nova implements AsyncDisposable {
  /** With its version. */
  readonly url: string;
  readonly #scratch: Scratch;
  readonly #api: Program;
  readonly #compute: Program;
  readonly #answers: AsyncIterator<string>;

  private constructor(
    url: string,
    scratch: Scratch,
    api: Program,
    compute: Program,
    answers: AsyncIterator<string>,
  ) {
    this.url = url;
    this.#scratch = scratch;
    this.#api = api;
    this.#compute = compute;
    this.#answers = answers;
  }

  static async start(options: NovaOptions): Promise<Nova> {
    const scratch = new Scratch('nova');
    const port = await freePort();
    const conf = scratch.file('nova.conf');
    writeFileSync(
      conf,
      `[DEFAULT]
osapi_compute_listen = 127.0.0.1
osapi_compute_listen_port = ${port}
osapi_compute_workers = 1
enabled_apis = osapi_compute
transport_url = ${options.transport ?? 'fake://'}
state_path = ${scratch.path}
host = api
[api]
auth_strategy = noauth2
[wsgi]
api_paste_config = ${file('nova-paste.ini')}
[database]
connection = sqlite:///${scratch.file('main.sqlite')}
[api_database]
connection = sqlite:///${scratch.file('api.sqlite')}
[neutron]
auth_type = none
endpoint_override = ${options.network}
[notifications]
notify_on_state_change = vm_and_task_state
notification_format = both
[oslo_messaging_notifications]
driver = ${options.transport === undefined ? 'noop' : 'messagingv2'}
[oslo_concurrency]
lock_path = ${scratch.file('lock')}
`,
    );
    const python = ['/usr/bin/python3', '-B'];
    const compute = new Program(
      'nova-compute-stand-in',
      scratch,
      [...python, file('nova-compute-stand-in.py'), conf],
      { pipes: true },
    );
    assert.ok(compute.child.stdout);
    const answers = createInterface(compute.child.stdout)[Symbol.asyncIterator]();
    const first = await answers.next();
    // It has made the tables, or has ended and says why in its log.
    await compute.ready(() => !first.done);
    const api = new Program('nova-api', scratch, [...python, file('nova-api.py'), conf]);
    const url = `http://127.0.0.1:${port}/v2.1`;
    const nova = new Nova(url, scratch, api, compute, answers);
    try {
      await api.ready(async () => (await nova.#ask('GET', '/servers')) !== undefined);
    } catch (error) {
      await nova[Symbol.asyncDispose]();
      throw error;
    }
    return nova;
  }

  async create(
    uuid: string,
    fields: { name: string; project: string; metadata: Record<string, string> },
  ): Promise<void> {
    await this.#order({ create: { uuid, ...fields } });
  }

  /** As its host does when the instance is gone. */
  async destroy(uuid: string): Promise<void> {
    await this.#order({ destroy: uuid });
  }

  async rename(uuid: string, name: string): Promise<void> {
    await this.#ask('PUT', `/servers/${uuid}`, { server: { name } });
  }

  async setMetadata(uuid: string, metadata: Record<string, string>): Promise<void> {
    await this.#ask('PUT', `/servers/${uuid}/metadata`, { metadata });
  }

  async retag(uuid: string, tags: readonly string[]): Promise<void> {
    await this.#ask('PUT', `/servers/${uuid}/tags`, { tags });
  }

  async #order(order: object): Promise<void> {
    this.#compute.child.stdin?.write(`${JSON.stringify(order)}\n`);
    const answer = await this.#answers.next();
    assert.ok(!answer.done, `the stand-in for Nova's compute died of ${JSON.stringify(order)}`);
  }

  async #ask(method: string, path: string, body?: object): Promise<unknown> {
    const answer = await fetch(`${this.url}${path}`, {
      method,
      headers: {
        'content-type': 'application/json',
        'openstack-api-version': 'compute 2.26',
        'x-auth-token': 'admin:admin',
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const text = await answer.text();
    assert.ok(answer.ok, `${method} ${path}: ${answer.status} ${text}`);
    return text === '' ? undefined : JSON.parse(text);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([this.#api[Symbol.asyncDispose](), this.#compute[Symbol.asyncDispose]()]);
    this.#scratch[Symbol.dispose]();
  }
}
