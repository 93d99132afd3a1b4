import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { freePort } from '@causeway/etcd/testing';
import { Program, Scratch } from '../../../../testing/process.ts';
import type { RealKeystone } from './keystone.ts';

const script = new URL('neutron-server.py', import.meta.url).pathname;
/** The one that Debian's package brings. */
const paste = '/usr/lib/python3/dist-packages/neutron/tests/etc/api-paste.ini';

export interface NeutronOptions {
  /** A free one if absent. */
  readonly port?: number;
  /** `rabbit://...`, to which it notifies; without, it notifies nobody. */
  readonly transport?: string;
  /** With it, Neutron refuses `changed_since`, as it does unless told otherwise. */
  readonly filterValidation?: boolean;
  readonly pageSize?: number;
  /** Who it asks about its users; without, everyone may do everything. */
  readonly keystone?: RealKeystone;
}

/** Debian's neutron-server on loopback: ML2, SQLite, no authentication. */
export class Neutron implements AsyncDisposable {
  readonly url: string;
  readonly #scratch: Scratch;
  readonly #program: Program;
  readonly #keystone: RealKeystone | undefined;

  private constructor(
    url: string,
    scratch: Scratch,
    program: Program,
    keystone: RealKeystone | undefined,
  ) {
    this.#keystone = keystone;
    this.url = url;
    this.#scratch = scratch;
    this.#program = program;
  }

  static async start(options: NeutronOptions = {}): Promise<Neutron> {
    const scratch = new Scratch('neutron');
    const port = options.port ?? (await freePort());
    writeFileSync(
      scratch.file('neutron.conf'),
      `[DEFAULT]
auth_strategy = ${options.keystone === undefined ? 'noauth' : 'keystone'}
core_plugin = ml2
service_plugins =
api_paste_config = ${paste}
bind_host = 127.0.0.1
bind_port = ${port}
api_workers = 0
rpc_workers = 0
rpc_state_report_workers = 0
transport_url = ${options.transport ?? 'fake://'}
state_path = ${scratch.path}
dhcp_agent_notification = false
notify_nova_on_port_status_changes = false
notify_nova_on_port_data_changes = false
filter_validation = ${options.filterValidation ?? true}
pagination_max_limit = ${options.pageSize ?? 1000}
[database]
connection = sqlite:///${scratch.file('neutron.sqlite')}
[oslo_messaging_notifications]
driver = ${options.transport === undefined ? 'noop' : 'messagingv2'}
[oslo_concurrency]
lock_path = ${scratch.file('lock')}
[quotas]
quota_port = -1
[ml2]
type_drivers = local
tenant_network_types = local
mechanism_drivers =
${options.keystone?.middleware ?? ''}`,
    );
    const program = new Program('neutron-server', scratch, [
      '/usr/bin/python3',
      '-B',
      script,
      scratch.file('neutron.conf'),
    ]);
    const neutron = new Neutron(`http://127.0.0.1:${port}`, scratch, program, options.keystone);
    try {
      await program.ready(async () => (await fetch(`${neutron.url}/`)).ok);
    } catch (error) {
      await neutron[Symbol.asyncDispose]();
      throw error;
    }
    return neutron;
  }

  /** A network with a subnet of each family; gives its id. */
  async network(project: string, ipv4: string, ipv6: string): Promise<string> {
    const id = await this.#create('network', { name: `net-of-${project}`, tenant_id: project });
    for (const [cidr, version] of [
      [ipv4, 4],
      [ipv6, 6],
    ])
      await this.#create('subnet', {
        network_id: id,
        tenant_id: project,
        cidr,
        ip_version: version,
      });
    return id;
  }

  port(fields: object): Promise<string> {
    return this.#create('port', fields);
  }

  async update(id: string, fields: object): Promise<void> {
    await this.#ask('PUT', `/ports/${id}`, { port: fields });
  }

  async retag(id: string, tags: readonly string[]): Promise<void> {
    await this.#ask('PUT', `/ports/${id}/tags`, { tags });
  }

  async delete(id: string): Promise<void> {
    await this.#ask('DELETE', `/ports/${id}`);
  }

  async addressesOf(id: string): Promise<string[]> {
    const answer = (await this.#ask('GET', `/ports/${id}`)) as {
      port: { fixed_ips: { ip_address: string }[] };
    };
    return answer.port.fixed_ips.map((each) => each.ip_address).sort();
  }

  async #create(kind: 'network' | 'subnet' | 'port', fields: object): Promise<string> {
    const answer = (await this.#ask('POST', `/${kind}s`, { [kind]: fields })) as Record<
      string,
      { id: string }
    >;
    const id = answer[kind]?.id;
    assert.ok(id);
    return id;
  }

  async #ask(method: string, path: string, body?: object): Promise<unknown> {
    const answer = await fetch(`${this.url}/v2.0${path}`, {
      method,
      headers: {
        'content-type': 'application/json',
        ...(this.#keystone === undefined
          ? {}
          : { 'x-auth-token': (await this.#keystone.token()).token }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const text = await answer.text();
    assert.ok(answer.ok, `${method} ${path}: ${answer.status} ${text}`);
    return text === '' ? undefined : JSON.parse(text);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#program[Symbol.asyncDispose]();
    this.#scratch[Symbol.dispose]();
  }
}
