import type { Log } from '@causeway/daemon';
import type { Clock } from '@causeway/tables';

export const PLATFORMS = Object.freeze(['bare-metal', 'vm', 'pod'] as const);
export type Platform = (typeof PLATFORMS)[number];

/**
 * One machine as its source knows it, unchecked: the core checks every field and refuses the item, by field
 * and value, without harm to the others. Everything here is taken from outside and may be hostile.
 */
export interface SourceItem {
  /** Unique in its source and the same for ever: a UUID of Nova or of a pod, a name in a file. At most 253 characters. */
  readonly id: string;
  /** For people, and as pod name in flows: a DNS subdomain, or made one. */
  readonly name: string;
  /** Texts of single addresses of both families; none is allowed (a server that has no port yet). */
  readonly addresses: readonly string[];
  readonly platform: Platform;
  /**
   * Becomes its labels unless rules say otherwise. What cannot stand in a label is left out, and said
   * wherever the item is shown.
   */
  readonly labels: Readonly<Record<string, string>>;
  /** Facts that are no labels but that filters and rules may name: `project`, `network`, `metadata/role`, `tag/web`. */
  readonly attributes?: Readonly<Record<string, string>>;
  /** The source's own default, then the inventory's, if absent. */
  readonly namespace?: string;
  /** Labels of the namespace, for selectors of namespaces. */
  readonly namespaceLabels?: Readonly<Record<string, string>>;
  readonly serviceAccount?: string;
  readonly site?: string;
  /** The address of the machine that takes tunnels to this one apart; absent for what is plainly routed. */
  readonly nodeAddress?: string;
  /** Gone after so long unless the source names it again. */
  readonly ttlSeconds?: number;
  /** What changes when the source writes the item again: a snapshot that repeats it does not renew `ttlSeconds`. */
  readonly version?: string;
  /** Why the source cannot read what it has under this id: what it said before stays, and this is shown. */
  readonly problem?: string;
}

export type SourceState = 'connecting' | 'listing' | 'following' | 'failed';

export interface SourceReport {
  readonly state: SourceState;
  /** One sentence for people: what fails, and what is done about it. */
  readonly message?: string;
}

/** Where a source tells what it sees. None of these throws or waits. */
export interface SourceSink {
  /**
   * Everything that there is, at one moment. What an earlier word named and this does not is deleted, subject
   * to the guard; the rest is compared, so that a repetition changes nothing. Only a complete and successful
   * list: whoever got half of it tells a report of `failed`, and everything stays.
   */
  snapshot(items: readonly SourceItem[]): void;
  /** A new item, or the whole new state of a known one. */
  put(item: SourceItem): void;
  delete(id: string): void;
  report(report: SourceReport): void;
}

/**
 * An adapter. It starts with a snapshot, follows with puts and deletes within seconds, and repeats the
 * snapshot after any loss and now and then.
 */
export interface Source {
  /** As in the configuration; unique in an inventory. */
  readonly name: string;
  /** The type in the configuration: `file`, `openstack`. */
  readonly type: string;
  /**
   * Works until the signal aborts, and retries by itself with growing pauses: it rejects only for what no
   * retry can mend, and is started again then all the same. Leaves nothing behind when it returns.
   */
  run(sink: SourceSink, signal: AbortSignal): Promise<void>;
}

/** What every adapter is made with; time and chance are handed in, so that tests own them. */
export interface SourceContext {
  readonly clock: Clock;
  /** In [0, 1). */
  readonly random: () => number;
  readonly log: Log;
}
