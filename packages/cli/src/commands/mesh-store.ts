import { connectAuth, connectKv, type Kv, type StoreAuth } from '@causeway/etcd';
import { type CheckName, ROOT_USER, StoreDirectory } from '@causeway/mesh';
import { etcdStore, type ResourceStore } from '@causeway/resources';
import { CliError } from '../errors.ts';
import type { Invocation } from '../program/invocation.ts';

/** The own store as `root`, found by the directory of its certificates. */
export interface OwnStore extends AsyncDisposable {
  readonly directory: StoreDirectory;
  readonly kv: Kv;
  readonly store: ResourceStore;
  readonly auth: StoreAuth;
}

/** Throws MeshError `not-exposed`, CliError. */
export function openOwnStore(invocation: Invocation): OwnStore {
  const directory = StoreDirectory.open(textOption(invocation, 'pki') ?? '');
  const endpoints = directory.exposure?.etcd ?? [];
  if (endpoints.length === 0) {
    throw new CliError('bad-input', 'nothing says how this store is reached', {
      field: '--etcd',
      hint: 'run "causeway mesh expose --endpoints https://HOST:2379" first',
    });
  }
  const tls = directory.userFiles(ROOT_USER);
  const kv = connectKv({ endpoints, tls });
  const auth = connectAuth({ endpoints, tls });
  return {
    directory,
    kv,
    store: etcdStore(kv),
    auth,
    async [Symbol.asyncDispose]() {
      await auth[Symbol.asyncDispose]();
      await kv[Symbol.asyncDispose]();
    },
  };
}

export function textOption({ options }: Invocation, name: string): string | undefined {
  const value = options[name];
  return typeof value === 'string' && value !== '' ? value : undefined;
}

/** `a,b`; undefined if the option was not given. Throws CliError `bad-input` naming the one that is wrong. */
export function urlsOption(
  invocation: Invocation,
  name: string,
  flag: string,
): readonly string[] | undefined {
  const text = textOption(invocation, name);
  if (text === undefined) return undefined;
  return text.split(',').map((each) => {
    const url = URL.parse(each.trim());
    if (url?.protocol === 'https:' && url.pathname === '/' && url.search === '') return url.origin;
    throw new CliError('bad-input', `${JSON.stringify(each)} is not https://HOST:PORT`, {
      field: flag,
      value: each,
    });
  });
}

const CHECKS: readonly CheckName[] = ['mtu', 'version'];

/** Throws CliError `bad-input` for what cannot be accepted. */
export function acceptOption(invocation: Invocation): ReadonlySet<CheckName> {
  const text = textOption(invocation, 'accept') ?? '';
  const names = text === '' ? [] : text.split(',').map((each) => each.trim());
  for (const name of names) {
    if ((CHECKS as readonly string[]).includes(name)) continue;
    throw new CliError('bad-input', `${JSON.stringify(name)} cannot be accepted as it is`, {
      field: '--accept',
      value: name,
      hint: `only ${CHECKS.join(' and ')} can`,
    });
  }
  return new Set(names as CheckName[]);
}
