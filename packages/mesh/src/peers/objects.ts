import { createHash } from 'node:crypto';
import { Prefix } from '@causeway/ip';
import {
  type EmptyStoreGuard,
  KindFollower,
  MESH_SECRETS_NAMESPACE,
  type MeshPeer,
  type ResourceStore,
  type Secret,
  type SourceStatus,
  secretValue,
} from '@causeway/resources';
import { Database, type Table } from '@causeway/tables';
import type { PeerList } from './peers.ts';
import type { BadPeer, PeerSpec } from './types.ts';

/** What is kept of a Secret: no other value of it concerns a peer. */
interface Credentials {
  readonly name: string;
  readonly ca: string | undefined;
  readonly cert: string | undefined;
  readonly key: string | undefined;
}

export interface PeerObjectsOptions {
  readonly store: ResourceStore;
  readonly guard: EmptyStoreGuard;
  readonly own: string;
  readonly log: ConstructorParameters<typeof KindFollower>[3];
  readonly onList: (list: PeerList) => void;
}

/** MeshPeer objects of the registry and the Secrets that they name, followed. */
export class PeerObjects implements AsyncDisposable {
  readonly #options: PeerObjectsOptions;
  readonly #peers: Table<MeshPeer, string>;
  readonly #secrets: Table<Credentials, string>;
  readonly #followers: readonly (AsyncDisposable & { status(): SourceStatus })[];
  #pending = false;
  #closed = false;

  constructor(options: PeerObjectsOptions) {
    this.#options = options;
    const { store, guard, log } = options;
    const database = new Database();
    this.#peers = database.table({ name: 'peers', key: ({ metadata }) => metadata.name });
    this.#secrets = database.table({ name: 'secrets', key: ({ name }) => name });
    const key = (_: string | undefined, name: string) => name;
    this.#followers = [
      new KindFollower(
        store,
        { kind: 'MeshPeer', table: this.#peers, row: (object) => object, key },
        guard,
        log,
      ),
      new KindFollower(
        store,
        {
          kind: 'Secret',
          namespace: MESH_SECRETS_NAMESPACE,
          table: this.#secrets,
          row: credentialsOf,
          key,
        },
        guard,
        log,
      ),
    ];
    const changed = () => this.#changed();
    this.#peers.onCommit(changed);
    this.#secrets.onCommit(changed);
    void this.#peers.whenInitialized().then(changed, () => {});
    void this.#secrets.whenInitialized().then(changed, () => {});
  }

  status(): SourceStatus[] {
    return this.#followers.map((each) => each.status());
  }

  #changed(): void {
    if (this.#pending) return;
    this.#pending = true;
    queueMicrotask(() => {
      this.#pending = false;
      if (this.#closed || !this.#peers.initialized || !this.#secrets.initialized) return;
      this.#options.onList(this.#list());
    });
  }

  #list(): PeerList {
    const peers: PeerSpec[] = [];
    const bad: BadPeer[] = [];
    for (const object of this.#peers.rows()) {
      const { secretName } = object.spec;
      const secret = secretName === undefined ? undefined : this.#secrets.get(secretName);
      const spec = specOf(object, secret, this.#options.own);
      if ('reason' in spec) bad.push(spec);
      else peers.push(spec);
    }
    return { peers, bad };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    await Promise.all(this.#followers.map((each) => each[Symbol.asyncDispose]()));
  }
}

function credentialsOf(secret: Secret): Credentials | undefined {
  const [ca, cert, key] = ['ca.crt', 'tls.crt', 'tls.key'].map((name) => secretValue(secret, name));
  if (ca === undefined && cert === undefined && key === undefined) return undefined;
  return { name: secret.metadata.name, ca, cert, key };
}

/** How a MeshPeer's store is reached, or why it cannot be. */
export function specOf(
  { metadata: { name }, spec }: MeshPeer,
  secret: Credentials | undefined,
  own: string,
): PeerSpec | BadPeer {
  const bad = (reason: string): BadPeer => ({ name, source: 'object', reason });
  if (name === own) return bad('this is the own cluster; a MeshPeer describes another one');
  const { endpoints, secretName, serverName, id, allowedCIDRs, suspended = false } = spec;
  const named = `Secret ${MESH_SECRETS_NAMESPACE}/${secretName}`;
  if (secretName !== undefined && secret === undefined) {
    return bad(
      `${named} (spec.secretName) is not there, or has none of ca.crt, tls.crt and tls.key`,
    );
  }
  if ((secret?.cert === undefined) !== (secret?.key === undefined)) {
    return bad(`${named} has only one of tls.crt and tls.key`);
  }
  const plain = endpoints.find((each) => each.startsWith('http:'));
  if (plain !== undefined && secret !== undefined) {
    return bad(`spec.endpoints ${plain} would be spoken to without the TLS of ${named}`);
  }
  const tls = {
    ...(secret?.ca === undefined ? {} : { ca: secret.ca }),
    ...(secret?.cert === undefined ? {} : { cert: secret.cert }),
    ...(secret?.key === undefined ? {} : { key: secret.key }),
    ...(serverName === undefined ? {} : { serverName }),
  };
  const text = JSON.stringify([endpoints, tls, id, suspended, allowedCIDRs]);
  return {
    name,
    source: 'object',
    endpoints,
    tls,
    id,
    suspended,
    ...(allowedCIDRs === undefined
      ? {}
      : { allowedCIDRs: allowedCIDRs.map((each) => Prefix.parse(each, { hostBits: 'clear' })) }),
    stamp: `object ${createHash('sha256').update(text).digest('hex')}`,
  };
}
