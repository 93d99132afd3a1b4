import { KvError } from '@causeway/etcd';
import {
  clusterConfigKey,
  PEER_LIMITS,
  type PeerCounts,
  type PeerStore,
  type PeerStream,
  type PeerTarget,
  statePrefix,
  syncedKey,
  turnOf,
} from '@causeway/mesh';
import { Mirror } from './mirror.ts';
import { type CacheWriter, writeAll } from './writes.ts';

export interface CacheTargetOptions extends CacheWriter {
  /** RFC 3339. */
  readonly now: () => string;
  readonly name: string;
  /** Ends with the lead: what is written after it is another's to write. */
  readonly signal: AbortSignal;
}

/** What a copy holds; MCS exports are operators' to read, and so are copied too. */
const KINDS = [
  'nodes',
  'services',
  'service-backends',
  'serviceexports',
  'identities',
  'ip',
] as const;
type CopiedKind = (typeof KINDS)[number];

/** The prefix of a kind; `serviceexports` has the form of services (section 1.9). */
const prefixOf = (kind: CopiedKind, cluster: string, tree: 'state' | 'cache'): string =>
  kind === 'serviceexports'
    ? `cilium/${tree}/serviceexports/v1/${cluster}/`
    : statePrefix(kind, cluster, tree);

/** All that a copy of a cluster stands under, with its markers. */
export const copyPrefixes = (cluster: string): string[] => [
  `cilium/synced/${cluster}/`,
  ...KINDS.map((kind) => prefixOf(kind, cluster, 'cache')),
];

/** A peer's state as a copy in the own store, in the form of KVStoreMesh (section 1.10). */
export class CacheTarget implements PeerTarget {
  readonly #options: CacheTargetOptions;
  readonly #mirrors = new Map<CopiedKind, Mirror>();
  #tree: 'state' | 'cache' | undefined;

  constructor(options: CacheTargetOptions) {
    this.#options = options;
  }

  open({ kv, config, configText, tree }: PeerStore, page: { size: number }): readonly PeerStream[] {
    const kinds: CopiedKind[] = ['nodes', 'services', 'identities', 'ip'];
    if (config.causeway?.serviceBackends) kinds.push('service-backends');
    if (config.serviceExportsEnabled !== undefined) kinds.push('serviceexports');
    if (tree !== this.#tree) this.#mirrors.clear();
    this.#tree = tree;
    const streams = kinds.map((kind) => this.#mirror(kind, tree).stream(kv, page.size));
    return [this.#config(configText, kinds), ...streams];
  }

  #mirror(kind: CopiedKind, tree: 'state' | 'cache'): Mirror {
    const known = this.#mirrors.get(kind);
    if (known !== undefined) return known;
    const { name } = this.#options;
    // Exports have the form and the number of services.
    const limited = kind === 'serviceexports' ? 'services' : kind;
    const made = new Mirror({
      ...this.#options,
      name: kind,
      from: prefixOf(kind, name, tree),
      to: prefixOf(kind, name, 'cache'),
      canary: syncedKey(name, kind, tree),
      marker: syncedKey(name, kind, 'cache'),
      most: {
        keys: PEER_LIMITS.rows[limited],
        value: PEER_LIMITS.bytes[limited],
        bytes: PEER_LIMITS.total[limited],
      },
    });
    this.#mirrors.set(kind, made);
    return made;
  }

  /** The config's copy says that it is one; everything else of it, also what we do not know, stays. */
  #config(text: string, kinds: readonly CopiedKind[]): PeerStream {
    const { name, signal } = this.#options;
    const key = clusterConfigKey(name);
    return {
      name: 'cluster-config',
      canary: undefined,
      start: ({ synced, broken }) => {
        const put = { type: 'put', key, value: copyOfConfig(text) } as const;
        // What the peer no longer has does not stay behind.
        const without = KINDS.filter((kind) => !kinds.includes(kind)).map((kind) => {
          this.#mirrors.delete(kind);
          return { type: 'delete-prefix', prefix: prefixOf(kind, name, 'cache') } as const;
        });
        const writing = writeAll(this.#options, [put, ...without], signal).then(synced, (error) =>
          broken(error instanceof KvError ? error : new KvError('internal', key, String(error))),
        );
        return { [Symbol.asyncDispose]: () => writing };
      },
    };
  }

  counts(): PeerCounts {
    const of = (kind: CopiedKind) => this.#mirrors.get(kind)?.size ?? 0;
    let rejected = 0;
    for (const { beyond } of this.#mirrors.values()) rejected += beyond;
    return {
      nodes: of('nodes'),
      services: of('services'),
      'service-backends': of('service-backends'),
      identities: of('identities'),
      ip: of('ip'),
      rejected,
    };
  }

  /** Services go by their turn, as agents that read directly take them away. */
  async withdrawServices(share: number): Promise<boolean> {
    const goes = (rest: string) => turnOf(rest.split('/').slice(0, 2).join('/')) < share;
    return this.#withdraw(['services', 'service-backends', 'serviceexports'], goes);
  }

  async withdrawAll(): Promise<boolean> {
    return this.#withdraw(
      ['services', 'service-backends', 'serviceexports', 'nodes', 'ip', 'identities'],
      () => true,
    );
  }

  async #withdraw(kinds: readonly CopiedKind[], goes: (rest: string) => boolean): Promise<boolean> {
    let any = false;
    for (const kind of kinds) {
      if (await this.#mirrors.get(kind)?.withdraw(goes, this.#options.signal)) any = true;
    }
    return any;
  }

  /** What stands here goes later, when readers have seen that the config is gone. */
  forget(): void {
    this.#mirrors.clear();
  }
}

/** Valid JSON, for it was decoded before. */
function copyOfConfig(text: string): string {
  const config = JSON.parse(text) as { capabilities?: object };
  const capabilities = { ...config.capabilities, cached: true, syncedCanaries: true };
  return JSON.stringify({ ...config, capabilities });
}
