import type { Address } from '@causeway/ip';
import {
  type ClusterConfig,
  encodeIp,
  encodeNode,
  identityKey,
  ipKey,
  nodeKey,
} from '@causeway/mesh';
import type { Endpoint } from './member.ts';
import type { Numbers } from './numbers.ts';

export type Write =
  | { readonly type: 'put'; readonly key: string; readonly value: string }
  | { readonly type: 'delete'; readonly key: string };

/**
 * Writes in the order in which they must become visible: what is referred to before what refers to it, and
 * the other way round when it goes (clustermesh-kvstore.md, section 6.1).
 */
export interface Batch {
  /** New identities and nodes. */
  readonly before: readonly Write[];
  /** Entries of addresses. */
  readonly entries: readonly Write[];
  /** Nodes without entries. Identities go later, when their time has come. */
  readonly after: readonly Write[];
}

export interface ClusterSettings {
  readonly name: string;
  readonly config: ClusterConfig;
}

interface Written {
  readonly value: string;
  readonly labels: string;
  readonly node: Address | undefined;
}

/** An address that has no entry, and why. */
export interface Unpublished {
  readonly address: Address;
  readonly reason: string;
}

/** Where numbers rest between one lead and the next. */
export const restingKey = (number: number): string => `causeway/inventory/resting/${number}`;

/** Turns endpoints into keys, and knows which keys stand. */
export class Publication {
  readonly #cluster: ClusterSettings;
  readonly numbers: Numbers;
  readonly #written = new Map<Address, Written>();
  /** Entries by the node that takes their tunnels. */
  readonly #nodes = new Map<Address, number>();
  readonly #unpublished = new Map<Address, string>();

  constructor(cluster: ClusterSettings, numbers: Numbers) {
    this.#cluster = cluster;
    this.numbers = numbers;
  }

  get entries(): number {
    return this.#written.size;
  }

  get nodes(): number {
    return this.#nodes.size;
  }

  /** Addresses without an entry, and why: the first of them. */
  unpublished(most: number): Unpublished[] {
    const rows = this.#unpublished.entries().take(most);
    return [...rows.map(([address, reason]) => ({ address, reason }))];
  }

  get unpublishedCount(): number {
    return this.#unpublished.size;
  }

  numberOf(labels: string): number | undefined {
    return this.numbers.of(labels);
  }

  whyNot(address: Address): string | undefined {
    return this.#unpublished.get(address);
  }

  /** Every identity's key is to be written with its next user: the store has none of them. */
  forgetKeys(): this {
    this.numbers.forgetKeys();
    return this;
  }

  /** What the store holds already; its identity must have been restored into `numbers`. */
  restore(address: Address, value: string, labels: string, node: Address | undefined): void {
    this.numbers.take(labels);
    this.#written.set(address, { value, labels, node });
    if (node !== undefined) this.#nodes.set(node, (this.#nodes.get(node) ?? 0) + 1);
  }

  /** What has to be written so that these addresses are as they should be. Writing it twice does no harm. */
  batch(
    wanted: readonly { readonly address: Address; readonly endpoint: Endpoint | undefined }[],
    now: number,
  ): Batch {
    const before: Write[] = [];
    const entries: Write[] = [];
    const after: Write[] = [];
    for (const { address, endpoint } of wanted) {
      const written = this.#written.get(address);
      const next =
        endpoint === undefined ? undefined : this.#next(address, endpoint, written, before);
      if (next === undefined) {
        if (endpoint === undefined) this.#unpublished.delete(address);
        if (written === undefined) continue;
        // One that has no number any more must not go on under its old one.
        this.#written.delete(address);
        entries.push({ type: 'delete', key: ipKey(address) });
      } else if (next.value === written?.value) {
        continue;
      } else {
        this.#written.set(address, next);
        entries.push({ type: 'put', key: ipKey(address), value: next.value });
      }
      this.#count(next?.node, written?.node, before, after);
      if (written !== undefined && written.labels !== next?.labels) {
        this.numbers.give(written.labels, now);
      }
    }
    return { before, entries, after };
  }

  /**
   * Identities that nobody has used for long enough, and numbers that have rested. `retry`: addresses that there was
   * no number for, to be tried again.
   */
  due(now: number): { readonly writes: readonly Write[]; readonly retry: readonly Address[] } {
    const { rest, free } = this.numbers.due(now);
    const writes = [
      ...rest.flatMap(({ number, labels }): Write[] => [
        { type: 'put', key: restingKey(number), value: labels },
        { type: 'delete', key: identityKey(number) },
      ]),
      ...free.map((number): Write => ({ type: 'delete', key: restingKey(number) })),
    ];
    return { writes, retry: free.length === 0 ? [] : [...this.#unpublished.keys()] };
  }

  /** Every key that should stand, for comparing with the store. */
  *standing(): Generator<readonly [key: string, value: string]> {
    for (const { number, labels } of this.numbers) yield [identityKey(number), labels];
    for (const node of this.#nodes.keys()) yield [this.#nodeKey(node), this.#nodeValue(node)];
    for (const [address, { value }] of this.#written) yield [ipKey(address), value];
  }

  #next(
    address: Address,
    endpoint: Endpoint,
    written: Written | undefined,
    before: Write[],
  ): Written | undefined {
    const { labels } = endpoint;
    let identity = written?.labels === labels ? this.numbers.of(labels) : undefined;
    if (identity === undefined) {
      try {
        const { number, fresh } = this.numbers.take(labels);
        identity = number;
        if (fresh) {
          before.push({ type: 'put', key: identityKey(number), value: labels });
          before.push({ type: 'delete', key: restingKey(number) });
        }
      } catch (error) {
        this.#unpublished.set(address, (error as Error).message);
        return undefined;
      }
    }
    this.#unpublished.delete(address);
    const node = endpoint.nodeAddress;
    const value = encodeIp({
      address,
      hostIP: node,
      identity,
      encryptionKey: 0,
      metadata: sourceText(endpoint.source, endpoint.id),
      namespace: endpoint.namespace,
      pod: endpoint.name,
      serviceAccount: endpoint.serviceAccount,
      namedPorts: [],
    });
    return { value, labels, node };
  }

  #count(
    next: Address | undefined,
    last: Address | undefined,
    before: Write[],
    after: Write[],
  ): void {
    if (next === last) return;
    if (next !== undefined) {
      const uses = this.#nodes.get(next) ?? 0;
      this.#nodes.set(next, uses + 1);
      if (uses === 0) {
        const key = this.#nodeKey(next);
        before.push({ type: 'put', key, value: this.#nodeValue(next) });
        // It came back in the batch that lets it go.
        const gone = after.findIndex((write) => write.key === key);
        if (gone >= 0) after.splice(gone, 1);
      }
    }
    if (last === undefined) return;
    const uses = (this.#nodes.get(last) ?? 1) - 1;
    if (uses > 0) this.#nodes.set(last, uses);
    else {
      this.#nodes.delete(last);
      after.push({ type: 'delete', key: this.#nodeKey(last) });
    }
  }

  /** Names of nodes are read without their cluster in places, so they carry it (section 7). */
  #nodeKey(node: Address): string {
    return nodeKey(this.#cluster.name, this.#nodeName(node));
  }

  #nodeName(node: Address): string {
    return `${this.#cluster.name}-${node.replaceAll(/[.:]/g, '-').replace(/-$/, '-0')}`;
  }

  #nodeValue(node: Address): string {
    return encodeNode({
      name: this.#nodeName(node),
      cluster: this.#cluster.name,
      clusterId: this.#cluster.config.id,
      addresses: [{ type: 'InternalIP', ip: node }],
      podCIDRs: { ipv4: [], ipv6: [] },
      healthIPs: {},
      ingressIPs: {},
      source: 'custom-resource',
      encryptionKey: 0,
      labels: undefined,
      annotations: undefined,
      nodeIdentity: 0,
      wireguardPublicKey: '',
      bootId: '',
    });
  }
}

/** Who an entry belongs to: it stands where readers look for nothing, and is all that a restart has to go by. */
export const sourceText = (source: string, id: string): string =>
  `causeway-inventory:${source}:${id}`;

export function sourceOf(metadata: string): { source: string; id: string } | undefined {
  const [, source, id] = /^causeway-inventory:([a-z0-9-]+):(.+)$/s.exec(metadata) ?? [];
  return source === undefined || id === undefined ? undefined : { source, id };
}
