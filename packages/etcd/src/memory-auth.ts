import type { ForeignPermission, KeyRange, Permission, StoreAuth } from './auth-types.ts';
import { rangeText } from './auth-types.ts';
import { KvError } from './errors.ts';
import { rangeOf } from './messages.ts';
import type { TxnRequest } from './transport.ts';

type Access = 'read' | 'write';

/** Users and roles of the store in memory, and what they may. */
export class MemoryAuth implements StoreAuth {
  readonly #users = new Map<string, Set<string>>();
  readonly #roles = new Map<string, Map<string, Permission>>([['root', new Map()]]);
  #enabled = false;

  async users(): Promise<readonly string[]> {
    return [...this.#users.keys()].sort();
  }

  async roles(): Promise<readonly string[]> {
    return [...this.#roles.keys()].sort();
  }

  async rolesOf(user: string): Promise<readonly string[] | undefined> {
    const roles = this.#users.get(user);
    return roles && [...roles].sort();
  }

  async permissionsOf(role: string): Promise<readonly Permission[] | undefined> {
    const permissions = this.#roles.get(role);
    return permissions && [...permissions.values()];
  }

  async addUser(name: string): Promise<void> {
    if (!this.#users.has(name)) this.#users.set(name, new Set());
  }

  async deleteUser(name: string): Promise<void> {
    this.#users.delete(name);
  }

  async addRole(name: string): Promise<void> {
    if (!this.#roles.has(name)) this.#roles.set(name, new Map());
  }

  async deleteRole(name: string): Promise<void> {
    this.#roles.delete(name);
    for (const roles of this.#users.values()) roles.delete(name);
  }

  async giveRole(user: string, role: string): Promise<void> {
    const roles = this.#users.get(user);
    if (!roles) throw new KvError('internal', user, `user name not found: ${user}`);
    if (!this.#roles.has(role)) throw new KvError('internal', role, `role name not found: ${role}`);
    roles.add(role);
  }

  async takeRole(user: string, role: string): Promise<void> {
    this.#users.get(user)?.delete(role);
  }

  async grant(role: string, permission: Permission): Promise<void> {
    const permissions = this.#roles.get(role);
    if (!permissions) throw new KvError('internal', role, `role name not found: ${role}`);
    permissions.set(rangeText(permission.range), permission);
  }

  async withdraw(role: string, range: KeyRange | ForeignPermission['range']): Promise<void> {
    this.#roles.get(role)?.delete(rangeText(range));
  }

  async enable(): Promise<void> {
    if (!this.#users.get('root')?.has('root'))
      throw new KvError('invalid', 'root', 'root user does not exist or has not the role root');
    this.#enabled = true;
  }

  /** Throws `permission-denied` as etcd does; `user` undefined is a connection without a certificate. */
  check(user: string | undefined, access: Access, range: KeyRange): void {
    if (!this.#enabled) return;
    if (user === undefined)
      throw new KvError('unauthenticated', undefined, 'etcdserver: user name is empty');
    const roles = this.#users.get(user);
    if (roles?.has('root')) return;
    const granted = [...(roles ?? [])].flatMap((role) => [
      ...(this.#roles.get(role)?.values() ?? []),
    ]);
    const fitting = granted.filter((each) => each.access === access || each.access === 'readwrite');
    if (
      covered(
        spanOf(range),
        fitting.map((each) => spanOf(each.range)),
      )
    )
      return;
    throw new KvError('permission-denied', rangeText(range), 'etcdserver: permission denied');
  }

  /** Both branches count, whichever runs. */
  checkTxn(user: string | undefined, { compare, success, failure }: TxnRequest): void {
    for (const { key } of compare) this.check(user, 'read', { type: 'key', key });
    for (const operation of [...success, ...failure]) {
      const access = operation.type === 'get' || operation.type === 'list' ? 'read' : 'write';
      this.check(
        user,
        access,
        'key' in operation
          ? { type: 'key', key: operation.key }
          : { type: 'prefix', prefix: operation.prefix },
      );
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {}
}

/** From the first key on, up to but without the end; an end that is a zero byte is none. */
type Span = readonly [from: Buffer, to: Buffer];

function spanOf(range: KeyRange): Span {
  if (range.type === 'key') {
    const key = Buffer.from(range.key);
    return [key, Buffer.concat([key, Buffer.of(0)])];
  }
  const { key, range_end } = rangeOf(range.prefix);
  return [key, range_end];
}

const endless = (end: Buffer): boolean => end.length === 1 && end[0] === 0;

/** Whether the spans together cover the asked one: etcd joins what touches. */
function covered([from, to]: Span, spans: readonly Span[]): boolean {
  const sorted = [...spans].sort((a, b) => Buffer.compare(a[0], b[0]));
  let at = from;
  for (const [first, end] of sorted) {
    if (Buffer.compare(first, at) > 0) return false;
    if (endless(end)) return true;
    if (Buffer.compare(end, at) > 0) at = end;
    if (!endless(to) && Buffer.compare(at, to) >= 0) return true;
  }
  return false;
}
