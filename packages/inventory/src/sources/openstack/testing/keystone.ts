import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { freePort } from '@causeway/etcd/testing';
import { Program, Scratch } from '../../../../testing/process.ts';

const script = new URL('keystone-server.py', import.meta.url).pathname;

export interface KeystoneOptions {
  /** Of Neutron, as the catalogue shall say it. */
  readonly network: string;
}

interface Token {
  readonly token: string;
  readonly user: string;
}

/** Debian's Keystone on loopback, on SQLite, with one administrator and a catalogue. */
export class RealKeystone implements AsyncDisposable {
  /** With its version. */
  readonly url: string;
  readonly region = 'one';
  readonly #scratch: Scratch;
  readonly #program: Program;
  #token: Promise<Token> | undefined;

  private constructor(url: string, scratch: Scratch, program: Program) {
    this.url = url;
    this.#scratch = scratch;
    this.#program = program;
  }

  static async start(options: KeystoneOptions): Promise<RealKeystone> {
    const scratch = new Scratch('keystone');
    const port = await freePort();
    const conf = scratch.file('keystone.conf');
    writeFileSync(
      conf,
      `[database]
connection = sqlite:///${scratch.file('keystone.sqlite')}
[fernet_tokens]
key_repository = ${scratch.file('keys')}
[fernet_receipts]
key_repository = ${scratch.file('keys')}
[credential]
key_repository = ${scratch.file('keys')}
[identity]
password_hash_rounds = 4
`,
    );
    const program = new Program('keystone', scratch, [
      '/usr/bin/python3',
      '-B',
      script,
      conf,
      String(port),
      'one',
      options.network,
    ]);
    const keystone = new RealKeystone(`http://127.0.0.1:${port}/v3`, scratch, program);
    try {
      await program.ready(async () => (await fetch(keystone.url)).ok);
    } catch (error) {
      await keystone[Symbol.asyncDispose]();
      throw error;
    }
    return keystone;
  }

  /** What a service needs to know of its users. */
  get middleware(): string {
    return `[keystone_authtoken]
auth_type = password
auth_url = ${this.url}
www_authenticate_uri = ${this.url}
username = admin
password = secret
user_domain_name = Default
project_name = admin
project_domain_name = Default
`;
  }

  /** The administrator's; it lasts an hour. */
  token(): Promise<Token> {
    this.#token ??= this.#askToken();
    return this.#token;
  }

  async #askToken(): Promise<Token> {
    const answer = await fetch(`${this.url}/auth/tokens`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({
        auth: {
          identity: {
            methods: ['password'],
            password: {
              user: { name: 'admin', domain: { name: 'Default' }, password: 'secret' },
            },
          },
          scope: { project: { name: 'admin', domain: { name: 'Default' } } },
        },
      }),
    });
    const token = answer.headers.get('x-subject-token');
    const body = (await answer.json()) as { token: { user: { id: string } } };
    assert.ok(token, `Keystone gives no token: ${answer.status}`);
    return { token, user: body.token.user.id };
  }

  async project(name: string): Promise<string> {
    return this.#create('project', '/projects', { name, domain_id: 'default' });
  }

  async applicationCredential(): Promise<{ readonly id: string; readonly secret: string }> {
    const { user } = await this.token();
    const id = await this.#create(
      'application_credential',
      `/users/${user}/application_credentials`,
      { name: 'causeway', secret: 'of-the-application', roles: [{ name: 'admin' }] },
    );
    return { id, secret: 'of-the-application' };
  }

  async #create(kind: string, path: string, fields: object): Promise<string> {
    const { token } = await this.token();
    const answer = await fetch(`${this.url}${path}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'x-auth-token': token },
      body: JSON.stringify({ [kind]: fields }),
    });
    const text = await answer.text();
    assert.equal(answer.status, 201, text);
    const id = (JSON.parse(text) as Record<string, { id: string }>)[kind]?.id;
    assert.ok(id);
    return id;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#program[Symbol.asyncDispose]();
    this.#scratch[Symbol.dispose]();
  }
}
