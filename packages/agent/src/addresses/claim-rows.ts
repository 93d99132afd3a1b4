import type { RecordKind } from '@causeway/daemon';
import { type Claim, ownerText, parseClaim } from '@causeway/ipam';
import type { Database, Table } from '@causeway/tables';
import { z } from 'zod';

export interface ClaimRow {
  readonly claim: Claim;
  /** Of the key; 0 for a claim that the store has not heard of yet. */
  readonly revision: number;
}

export type ClaimTable = Table<ClaimRow, string, 'owner'>;

export const claimTable = (database: Database): ClaimTable =>
  database.table({
    name: 'address-claims',
    key: ({ claim }: ClaimRow): string => claim.address,
    indexes: { owner: { keys: ({ claim }) => ownerText(claim.owner) } },
    columns: [
      { name: 'address', of: ({ claim }) => claim.address },
      { name: 'owner', of: ({ claim }) => ownerText(claim.owner) },
      { name: 'home', of: ({ claim }) => claim.home ?? '' },
      { name: 'at', of: ({ claim }) => claim.at ?? '' },
      { name: 'announced', of: ({ claim }) => claim.announced },
      { name: 'revision', of: ({ revision }) => revision },
    ],
  });

/**
 * The copy in the run directory of claims that concern this node, those in its CIDRs among them: with it they count
 * while the store is away, also after a restart.
 */
export const claimRecord: RecordKind<ClaimRow> = {
  format: 'causeway-address-claim',
  version: 1,
  parse(payload) {
    const { claim, revision } = z
      .strictObject({ claim: z.unknown(), revision: z.int().min(0) })
      .parse(payload);
    return { claim: parseClaim(claim), revision };
  },
};
