import type { Address } from '@causeway/ip';
import { checkStore } from '@causeway/mesh';
import { Gate } from '@causeway/tables';
import { labelsOf, type MemberView, memberView } from './api/views.ts';
import { clusterOf, makeInventory, makePublication, sourcesOf } from './assemble.ts';
import type { Endpoint } from './core/member.ts';
import type { SourceView } from './core/source-entries.ts';
import type { Hosted } from './lead.ts';
import { retrying } from './retry.ts';
import { sinkOf } from './sink.ts';
import { makeSource } from './sources/registry.ts';
import { restore } from './writer/restore.ts';
import { readStored, storedEndpoints } from './writer/stored.ts';

interface Shown {
  readonly source: string;
  readonly name: string;
  readonly namespace: string;
  readonly labels: readonly string[];
  readonly nodeAddress: Address | undefined;
}

export interface EntryChange {
  readonly action: 'add' | 'change' | 'remove';
  readonly address: Address;
  readonly before: Shown | undefined;
  readonly after: Shown | undefined;
}

/** What a run would do to the store, had it begun now. */
export interface DryRun {
  /** Every source has spoken; otherwise what the silent ones have stays as it is. */
  readonly complete: boolean;
  readonly changes: readonly EntryChange[];
  readonly identities: { readonly add: readonly { number: number; labels: readonly string[] }[] };
  readonly nodes: { readonly add: readonly string[]; readonly remove: readonly string[] };
  readonly conflicts: readonly {
    readonly address: Address;
    readonly holder: MemberView;
    readonly refused: readonly MemberView[];
  }[];
  readonly unpublished: readonly { readonly address: Address; readonly reason: string }[];
  readonly sources: readonly SourceView[];
  /** Endpoints with something that was left out. */
  readonly warnings: readonly MemberView[];
}

const MAX_SHOWN = 1000;

/**
 * Reads the store and asks every source, and writes nothing. Throws KvError, MeshError `foreign-store`.
 * @param waitSeconds for the slowest source; none is waited for that reads files and has found a mistake in them.
 * @param waiting told of the sources that are still waited for, whenever one has said something.
 */
export async function dryRun(
  hosted: Hosted,
  waitSeconds: number,
  signal: AbortSignal,
  waiting: (sources: readonly SourceView[]) => void = () => {},
): Promise<DryRun> {
  const { config, kv, clock, random, log, monotonic, store } = hosted;
  const cluster = clusterOf(config);
  await checkStore(kv, cluster.name, cluster.config, signal);
  const stored = await readStored(kv, cluster.name, signal);
  const inventory = makeInventory(config);
  const publication = makePublication(config);
  restore(stored, inventory, publication, monotonic());
  const stop = new AbortController();
  const ended = AbortSignal.any([signal, stop.signal]);
  const told = new Gate();
  const context = { clock, random, log };
  const running = sourcesOf(config).map((settings) => {
    const source = makeSource(settings, { context, store });
    const sink = sinkOf(inventory, source.name, monotonic, ended, () => told.open());
    const onError = (message: string | undefined) => {
      if (message !== undefined) sink.report({ state: 'failed', message });
    };
    return retrying({ name: `source ${source.name}`, clock, random, log, onError }, ended, () =>
      source.run(sink, ended),
    );
  });
  const deadline = monotonic() + waitSeconds * 1000;
  while (!inventory.synced && !ended.aborted && monotonic() < deadline) {
    const silent = inventory.sources(monotonic()).filter(isWaitedFor);
    if (silent.length === 0) break;
    waiting(silent);
    const asleep = new AbortController();
    const either = AbortSignal.any([ended, asleep.signal]);
    await Promise.race([told.wait(either), clock.sleep(deadline - monotonic(), either)]);
    asleep.abort();
  }
  stop.abort();
  await Promise.allSettled(running);

  const now = monotonic();
  const before = new Map<Address, Endpoint>();
  for (const each of storedEndpoints(stored)) {
    for (const address of each.addresses) before.set(address, each);
  }
  const wanted = inventory
    .takeChanged(Number.POSITIVE_INFINITY)
    .map((address) => ({ address, endpoint: inventory.endpoint(address) }));
  const batch = publication.batch(wanted, now);
  const written = new Set(batch.entries.map(({ key }) => key.slice(key.lastIndexOf('/') + 1)));
  const changes = wanted.flatMap(({ address, endpoint }): EntryChange[] => {
    if (!written.has(address)) return [];
    const last = before.get(address);
    const action = endpoint === undefined ? 'remove' : last === undefined ? 'add' : 'change';
    return [{ action, address, before: shown(last), after: shown(endpoint) }];
  });
  const named = (key: string) => key.slice(key.lastIndexOf('/') + 1);
  const nodesAdded = batch.before.filter(
    ({ type, key }) => type === 'put' && key.includes('/nodes/'),
  );
  const identities = batch.before.flatMap((write) =>
    write.type === 'put' && write.key.includes('/identities/')
      ? [{ number: Number(named(write.key)), labels: labelsOf(write.value) }]
      : [],
  );
  return {
    complete: inventory.synced,
    changes,
    identities: { add: identities },
    nodes: {
      add: nodesAdded.map(({ key }) => named(key)),
      remove: batch.after.map(({ key }) => named(key)),
    },
    conflicts: [...inventory.conflicts()].slice(0, MAX_SHOWN).map((each) => ({
      address: each.address,
      holder: memberView(each.holder, publication),
      refused: each.waiting.map((member) => memberView(member, publication)),
    })),
    unpublished: publication.unpublished(MAX_SHOWN),
    sources: inventory.sources(now),
    warnings: [...inventory.members()]
      .filter(({ warnings }) => warnings.length > 0)
      .slice(0, MAX_SHOWN)
      .map((member) => memberView(member, publication)),
  };
}

/** A file with a mistake stays as it is until somebody mends it, who waits for this answer. */
const isWaitedFor = ({ synced, type, report }: SourceView): boolean =>
  !synced && type !== 'gone' && !(type === 'file' && report.state === 'failed');

const shown = (endpoint: Endpoint | undefined): Shown | undefined =>
  endpoint && {
    source: endpoint.source,
    name: endpoint.name,
    namespace: endpoint.namespace,
    labels: labelsOf(endpoint.labels),
    nodeAddress: endpoint.nodeAddress,
  };
