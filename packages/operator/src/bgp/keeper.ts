import type { Log } from '@causeway/daemon';
import type { Kv } from '@causeway/etcd';
import { statePrefix } from '@causeway/mesh';
import {
  type CiliumBGPNodeConfig,
  type Condition,
  type EmptyStoreGuard,
  ResourceError,
  type ResourceStore,
  withConditions,
} from '@causeway/resources';
import { type Clock, deepEqual, Gate } from '@causeway/tables';
import type { OperatorTables } from '../sources.ts';
import { bgpWanted, peerConditions, type WantedNodeConfig } from './wanted.ts';

/** A rollout of labels is taken in one look. */
const SETTLE_MS = 200;
/** How often nodes are looked for that tell of sessions and are gone. */
const CHECK_MS = 10_000;
const OWNER = 'CiliumBGPClusterConfig';

export interface BgpKeeperOptions {
  readonly kv: Kv;
  readonly store: ResourceStore;
  readonly tables: OperatorTables;
  readonly guard: EmptyStoreGuard;
  readonly cluster: string;
  readonly clock: Clock;
  readonly wall: () => number;
  readonly log: Log;
}

/**
 * Keeps a CiliumBGPNodeConfig for each node that speaks BGP, and the conditions of what it follows from. The status is
 * the agents' own, but a node whose agent has left the store is taken at its word no longer.
 */
export class BgpKeeper implements Disposable {
  readonly #options: BgpKeeperOptions;
  readonly #wake = new Gate();
  readonly #undo: (() => void)[];
  /** Nodes that the last look found without an agent: one look may fall between two leases. */
  #silent: ReadonlySet<string> = new Set();

  constructor(options: BgpKeeperOptions) {
    this.#options = options;
    const { bgp, nodes } = options.tables;
    this.#undo = [...Object.values(bgp), nodes].map((table) =>
      table.onCommit(() => this.#wake.open()),
    );
  }

  async run(signal: AbortSignal, good: () => void): Promise<void> {
    const { clock } = this.#options;
    let checkAt = clock.now();
    while (!signal.aborted) {
      const over = new AbortController();
      const either = AbortSignal.any([signal, over.signal]);
      const woken = this.#wake.wait(either);
      await this.round(signal);
      if (clock.now() >= checkAt) {
        await this.doubt(signal);
        checkAt = clock.now() + CHECK_MS;
      }
      good();
      await clock.sleep(SETTLE_MS, signal);
      await Promise.race([woken, clock.sleep(CHECK_MS, either)]);
      over.abort();
    }
  }

  /** One look at everything. Throws KvError. */
  async round(signal: AbortSignal): Promise<void> {
    const { tables, guard } = this.#options;
    // Whatever is written to a store that was emptied makes it one that holds something.
    if (!guard.hasObjects) return;
    const { bgp } = tables;
    const hasSecret = (name: string): boolean => bgp.secrets.get(name) !== undefined;
    const wanted = bgpWanted({
      nodes: tables.nodes,
      configs: [...bgp.configs],
      override: (node) => bgp.overrides.get(node),
      hasPeerConfig: (name) => bgp.peers.get(name) !== undefined,
      hasSecret,
    });
    for (const [name, config] of wanted.nodes) await this.#keep(name, config, signal);
    for (const object of [...bgp.nodes]) {
      if (wanted.nodes.has(object.metadata.name) || !isOurs(object)) continue;
      await this.#take(object, signal);
    }
    for (const config of bgp.configs) {
      await this.#say(OWNER, config, wanted.conditions.get(config.metadata.name) ?? [], signal);
    }
    for (const config of bgp.peers) {
      await this.#say('CiliumBGPPeerConfig', config, peerConditions(config, hasSecret), signal);
    }
  }

  /** Nobody knows how the sessions of a node are whose agent is gone. Throws KvError. */
  async doubt(signal: AbortSignal): Promise<void> {
    const { kv, tables, store, cluster } = this.#options;
    const telling = [...tables.bgp.nodes].filter(tells);
    if (telling.length === 0) return;
    const prefix = statePrefix('nodes', cluster);
    const { entries } = await kv.list(prefix, { keysOnly: true, signal });
    const live = new Set(entries.map(({ key }) => key.slice(prefix.length)));
    const silent = new Set<string>();
    for (const { metadata, status } of telling) {
      const { name } = metadata;
      if (live.has(name)) continue;
      silent.add(name);
      if (!this.#silent.has(name)) continue;
      await passing(
        store.patchStatus(
          'CiliumBGPNodeConfig',
          { name },
          { bgpInstances: (status?.bgpInstances ?? []).map(unknown) },
          { signal },
        ),
      );
    }
    this.#silent = silent;
  }

  async #keep(name: string, { owner, spec }: WantedNodeConfig, signal: AbortSignal): Promise<void> {
    const { store, tables, log } = this.#options;
    const stored = tables.bgp.nodes.get(name);
    const ownerReferences = [
      {
        apiVersion: owner.apiVersion,
        kind: OWNER,
        name: owner.metadata.name,
        ...(owner.metadata.uid === undefined ? {} : { uid: owner.metadata.uid }),
        controller: true,
      },
    ];
    if (stored === undefined) {
      const object = {
        apiVersion: 'cilium.io/v2',
        kind: 'CiliumBGPNodeConfig',
        metadata: { name, ownerReferences },
        spec,
      } as const;
      await passing(store.create<CiliumBGPNodeConfig>(object, { signal }));
      log.debug({ node: name, config: owner.metadata.name }, 'a node speaks BGP');
      return;
    }
    const same =
      deepEqual(stored.spec, spec) && deepEqual(stored.metadata.ownerReferences, ownerReferences);
    if (same) return;
    const metadata = { ...stored.metadata, ownerReferences };
    await passing(store.update({ ...stored, metadata, spec }, { signal }));
  }

  async #take({ metadata }: CiliumBGPNodeConfig, signal: AbortSignal): Promise<void> {
    const { name, resourceVersion } = metadata;
    await passing(
      this.#options.store.delete(
        'CiliumBGPNodeConfig',
        { name },
        { ...(resourceVersion === undefined ? {} : { resourceVersion }), signal },
      ),
    );
  }

  async #say(
    kind: 'CiliumBGPClusterConfig' | 'CiliumBGPPeerConfig',
    { metadata, status }: StatusHolder,
    wanted: readonly Condition[],
    signal: AbortSignal,
  ): Promise<void> {
    const { store, wall } = this.#options;
    const at = new Date(wall()).toISOString().replace(/\.\d+Z$/, 'Z');
    const shown = status?.conditions ?? [];
    const conditions = withConditions(shown, wanted, metadata.generation, at);
    if (conditions === undefined) return;
    await passing(store.patchStatus(kind, { name: metadata.name }, { conditions }, { signal }));
  }

  [Symbol.dispose](): void {
    for (const undo of this.#undo) undo();
  }
}

interface StatusHolder {
  readonly metadata: { readonly name: string; readonly generation?: number };
  readonly status?: { readonly conditions?: Parameters<typeof withConditions>[0] } | undefined;
}

type InstanceStatus = NonNullable<
  NonNullable<CiliumBGPNodeConfig['status']>['bgpInstances']
>[number];

/** Gone, changed or made meanwhile: the watch tells, and the next look does what is still to be done. */
async function passing(write: Promise<unknown>): Promise<void> {
  try {
    await write;
  } catch (error) {
    if (!(error instanceof ResourceError)) throw error;
  }
}

const isOurs = ({ metadata }: CiliumBGPNodeConfig): boolean =>
  metadata.ownerReferences?.some(({ kind }) => kind === OWNER) ?? false;

/** Whether its status says anything of a session. */
const tells = ({ status }: CiliumBGPNodeConfig): boolean =>
  status?.bgpInstances?.some(({ peers }) =>
    peers?.some(({ peeringState = 'unknown' }) => peeringState !== 'unknown'),
  ) ?? false;

const unknown = ({ peers, ...instance }: InstanceStatus): InstanceStatus => ({
  ...instance,
  peers: (peers ?? []).map(({ name, peerAddress, peerASN }) => ({
    name,
    peerAddress,
    ...(peerASN === undefined ? {} : { peerASN }),
    peeringState: 'unknown',
  })),
});
