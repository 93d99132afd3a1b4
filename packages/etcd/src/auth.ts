import type { ForeignPermission, KeyRange, Permission, StoreAuth } from './auth-types.ts';
import { systemClock } from './clock.ts';
import type { ConnectOptions } from './connect.ts';
import { KvError } from './errors.ts';
import { GrpcTransport } from './grpc.ts';
import { rangeOf } from './messages.ts';
import type { WireNames, WirePermission, WireRole } from './proto.ts';
import type { CallOptions } from './types.ts';

/** The users and roles of a real etcd (3.4 and later). Throws `invalid`. */
export function connectAuth(options: ConnectOptions): StoreAuth {
  const { endpoints, tls, keepAlive = 10_000, clock = systemClock, deadline = 5000 } = options;
  const transport = new GrpcTransport(endpoints, { tls, clock, keepAlive });
  return new EtcdAuth(transport, typeof deadline === 'number' ? deadline : deadline());
}

/** What etcd answers where nothing is left to do; the texts are part of its API. */
const ALREADY = /(user|role) name already exists/;
const GONE = /(user|role) name not found|is not granted to the (user|role)/;
const UNKNOWN = /(user|role) name not found/;
const NO_ROOT = /root user does not/;

class EtcdAuth implements StoreAuth {
  readonly #transport: GrpcTransport;
  readonly #deadline: number;
  readonly #stop = new AbortController();

  constructor(transport: GrpcTransport, deadline: number) {
    this.#transport = transport;
    this.#deadline = deadline;
  }

  async users(options?: CallOptions): Promise<readonly string[]> {
    return (await this.#call<WireNames>('UserList', {}, 'users', options)).names;
  }

  async roles(options?: CallOptions): Promise<readonly string[]> {
    return (await this.#call<WireNames>('RoleList', {}, 'roles', options)).names;
  }

  async rolesOf(user: string, options?: CallOptions): Promise<readonly string[] | undefined> {
    const about = `user ${user}`;
    return this.#known(
      this.#call<WireNames>('UserGet', { name: user }, about, options).then(({ names }) => names),
    );
  }

  async permissionsOf(role: string, options?: CallOptions) {
    const about = `role ${role}`;
    return this.#known(
      this.#call<WireRole>('RoleGet', { name: role }, about, options).then(({ perm }) =>
        perm.map(permissionOf),
      ),
    );
  }

  addUser(name: string, options?: CallOptions): Promise<void> {
    const request = { name, options: { no_password: true } };
    return this.#do('UserAdd', request, `user ${name}`, ALREADY, options);
  }

  deleteUser(name: string, options?: CallOptions): Promise<void> {
    return this.#do('UserDelete', { name }, `user ${name}`, GONE, options);
  }

  addRole(name: string, options?: CallOptions): Promise<void> {
    return this.#do('RoleAdd', { name }, `role ${name}`, ALREADY, options);
  }

  deleteRole(name: string, options?: CallOptions): Promise<void> {
    return this.#do('RoleDelete', { name }, `role ${name}`, GONE, options);
  }

  giveRole(user: string, role: string, options?: CallOptions): Promise<void> {
    return this.#do('UserGrantRole', { user, role }, `user ${user}`, undefined, options);
  }

  takeRole(user: string, role: string, options?: CallOptions): Promise<void> {
    return this.#do('UserRevokeRole', { user, role }, `user ${user}`, GONE, options);
  }

  grant(role: string, { access, range }: Permission, options?: CallOptions): Promise<void> {
    const perm = { permType: access.toUpperCase(), ...wireRange(range) };
    return this.#do(
      'RoleGrantPermission',
      { name: role, perm },
      `role ${role}`,
      undefined,
      options,
    );
  }

  withdraw(
    role: string,
    range: KeyRange | ForeignPermission['range'],
    options?: CallOptions,
  ): Promise<void> {
    const request = { role, ...wireRange(range) };
    return this.#do('RoleRevokePermission', request, `role ${role}`, GONE, options);
  }

  async enable(options?: CallOptions): Promise<void> {
    try {
      await this.#call('AuthEnable', {}, 'auth', options);
    } catch (error) {
      if (!(error instanceof KvError && NO_ROOT.test(error.message))) throw error;
      throw new KvError('invalid', 'root', error.message, error);
    }
  }

  /** A change; `done` is the refusal that says that nothing is left to do. */
  async #do(
    method: string,
    request: object,
    about: string,
    done: RegExp | undefined,
    options: CallOptions | undefined,
  ): Promise<void> {
    try {
      await this.#call(method, request, about, options);
    } catch (error) {
      if (done !== undefined && error instanceof KvError && done.test(error.message)) return;
      throw error;
    }
  }

  async #known<T>(answer: Promise<T>): Promise<T | undefined> {
    try {
      return await answer;
    } catch (error) {
      if (error instanceof KvError && UNKNOWN.test(error.message)) return undefined;
      throw error;
    }
  }

  #call<T>(
    method: string,
    request: object,
    about: string,
    options: CallOptions | undefined,
  ): Promise<T> {
    const signal = options?.signal
      ? AbortSignal.any([options.signal, this.#stop.signal])
      : this.#stop.signal;
    const deadline = options?.deadline ?? this.#deadline;
    return this.#transport.auth<T>(method, request, about, { signal, deadline });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort(new KvError('closed', undefined, 'the client was closed'));
    await this.#transport[Symbol.asyncDispose]();
  }
}

function wireRange(range: KeyRange | ForeignPermission['range']): {
  key: Buffer;
  range_end: Buffer;
} {
  switch (range.type) {
    case 'key':
      return { key: Buffer.from(range.key), range_end: Buffer.alloc(0) };
    case 'prefix':
      return rangeOf(range.prefix);
    case 'range':
      return { key: Buffer.from(range.from, 'latin1'), range_end: Buffer.from(range.to, 'latin1') };
    default:
      return range satisfies never;
  }
}

function permissionOf({
  permType,
  key,
  range_end,
}: WirePermission): Permission | ForeignPermission {
  const access = permType.toLowerCase() as Permission['access'];
  if (range_end.length === 0) return { access, range: { type: 'key', key: key.toString() } };
  const prefix = key.equals(Buffer.of(0)) ? '' : key.toString();
  if (rangeOf(prefix).range_end.equals(range_end))
    return { access, range: { type: 'prefix', prefix } };
  // Byte for byte: what others granted need not be text.
  const [from, to] = [key.toString('latin1'), range_end.toString('latin1')];
  return { access, range: { type: 'range', from, to } };
}
