import { cidrLabels, type LabelSet, SCOPE } from '@causeway/identity';
import type { Prefix } from '@causeway/ip';
import type { Database, Table } from '@causeway/tables';

/** The identity of a prefix that policies speak of. It belongs to this node and never leaves it. */
export interface CidrIdentityRow {
  readonly prefix: Prefix;
  readonly identity: number;
  readonly labels: string;
}

export type CidrIdentityTable = Table<CidrIdentityRow, string, 'identity'>;

export const cidrIdentityTable = (database: Database): CidrIdentityTable =>
  database.table({
    name: 'cidr-identities',
    key: (row: CidrIdentityRow): string => row.prefix,
    indexes: { identity: { unique: true, keys: (row) => row.identity } },
  });

const LAST_LOCAL = 0x00ff_ffff;

/**
 * Numbers for prefixes, in the node-local scope. Numbers found in the kernel at the start are kept
 * for their prefix, and go round, so that a connection's remembered identity is not soon another's.
 */
export class CidrIdentities {
  readonly #table: CidrIdentityTable;
  readonly #dualStack: boolean;
  readonly #found: ReadonlyMap<string, number>;
  readonly #reserved: Set<number>;
  #last = 0;

  constructor(table: CidrIdentityTable, dualStack: boolean, found: ReadonlyMap<string, number>) {
    this.#table = table;
    this.#dualStack = dualStack;
    this.#found = found;
    this.#reserved = new Set(found.values());
    for (const id of this.#reserved) this.#last = Math.max(this.#last, id & LAST_LOCAL);
  }

  take(prefix: Prefix): { identity: number; labels: LabelSet } {
    const labels = cidrLabels(prefix, this.#dualStack);
    const known = this.#table.get(prefix);
    if (known !== undefined) return { identity: known.identity, labels };
    const identity = this.#found.get(prefix) ?? this.#next();
    this.#table.put({ prefix, identity, labels: labels.text });
    return { identity, labels };
  }

  /** The number that the prefix had. */
  release(prefix: Prefix): number | undefined {
    return this.#table.delete(prefix)?.identity;
  }

  #next(): number {
    for (;;) {
      this.#last = (this.#last % LAST_LOCAL) + 1;
      const identity = SCOPE.localCidr + this.#last;
      if (!this.#reserved.has(identity) && this.#table.first('identity', identity) === undefined)
        return identity;
    }
  }
}
