/** Who may do what in the store. Two implementations, `connectAuth` and `MemoryEtcd.auth`, pass one suite. */

import type { CallOptions } from './types.ts';

/** Keys that a permission is about. */
export type KeyRange =
  | { readonly type: 'key'; readonly key: string }
  | { readonly type: 'prefix'; readonly prefix: string };

export interface Permission {
  readonly access: 'read' | 'write' | 'readwrite';
  readonly range: KeyRange;
}

/** What of a role is neither one key nor a prefix: granted by others, as etcd has it. */
export interface ForeignPermission {
  readonly access: Permission['access'];
  readonly range: { readonly type: 'range'; readonly from: string; readonly to: string };
}

/**
 * etcd's users and roles. Users have no passwords: a client's certificate names them, by its common name. All calls
 * throw KvError; what is there already, or gone already, is no error. Once auth is enabled only `root` may call.
 */
export interface StoreAuth extends AsyncDisposable {
  users(options?: CallOptions): Promise<readonly string[]>;
  roles(options?: CallOptions): Promise<readonly string[]>;
  /** The roles of a user; undefined for an unknown one. */
  rolesOf(user: string, options?: CallOptions): Promise<readonly string[] | undefined>;
  /** What a role may; undefined for an unknown one. */
  permissionsOf(
    role: string,
    options?: CallOptions,
  ): Promise<readonly (Permission | ForeignPermission)[] | undefined>;
  addUser(name: string, options?: CallOptions): Promise<void>;
  deleteUser(name: string, options?: CallOptions): Promise<void>;
  addRole(name: string, options?: CallOptions): Promise<void>;
  deleteRole(name: string, options?: CallOptions): Promise<void>;
  giveRole(user: string, role: string, options?: CallOptions): Promise<void>;
  takeRole(user: string, role: string, options?: CallOptions): Promise<void>;
  /** Replaces what the role may with the same range. */
  grant(role: string, permission: Permission, options?: CallOptions): Promise<void>;
  withdraw(
    role: string,
    range: KeyRange | ForeignPermission['range'],
    options?: CallOptions,
  ): Promise<void>;
  /** From now on every call needs a user. Throws `invalid` without a user `root` that has the role `root`. */
  enable(options?: CallOptions): Promise<void>;
}

export interface DesiredRole {
  readonly name: string;
  readonly permissions: readonly Permission[];
}

export interface DesiredUser {
  readonly name: string;
  readonly roles: readonly string[];
}

/** Makes these roles and users exactly what is said here, and touches no others. Widens nothing before it narrows. */
export async function settleAuth(
  auth: StoreAuth,
  desired: { readonly roles: readonly DesiredRole[]; readonly users: readonly DesiredUser[] },
  options: CallOptions = {},
): Promise<void> {
  for (const { name, permissions } of desired.roles) {
    const wanted = new Map(permissions.map((each) => [rangeText(each.range), each]));
    const present = await auth.permissionsOf(name, options);
    if (present === undefined) await auth.addRole(name, options);
    for (const { access, range } of present ?? []) {
      const text = rangeText(range);
      if (wanted.get(text)?.access === access) wanted.delete(text);
      else await auth.withdraw(name, range, options);
    }
    for (const permission of wanted.values()) await auth.grant(name, permission, options);
  }
  for (const { name, roles } of desired.users) {
    const present = await auth.rolesOf(name, options);
    if (present === undefined) await auth.addUser(name, options);
    for (const role of present ?? [])
      if (!roles.includes(role)) await auth.takeRole(name, role, options);
    for (const role of roles)
      if (!present?.includes(role)) await auth.giveRole(name, role, options);
  }
}

/** A range as people read it: `a/` `a/*` `a..b`. */
export function rangeText(range: KeyRange | ForeignPermission['range']): string {
  switch (range.type) {
    case 'key':
      return range.key;
    case 'prefix':
      return `${range.prefix}*`;
    case 'range':
      return `${range.from}..${range.to}`;
    default:
      return range satisfies never;
  }
}
