import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Address } from '@causeway/ip';
import fc from 'fast-check';
import { Claims } from './claims.ts';

const ADDRESS = '192.0.2.1' as Address;

interface Party {
  readonly name: string;
  withheld: boolean;
}

const party = (name: string): Party => ({ name, withheld: false });

/** One address and those who want it, with what must be so at any moment of any history. */
class Row {
  readonly claims = new Claims<Party>();
  readonly wanting = new Set<Party>();

  claim(who: Party): void {
    this.wanting.add(who);
    this.#told(() => this.claims.claim(ADDRESS, who));
  }

  release(who: Party): void {
    this.wanting.delete(who);
    this.#told(() => this.claims.release(ADDRESS, who));
  }

  withhold(who: Party): void {
    if (who.withheld) return;
    who.withheld = true;
    this.#told(() => this.claims.weaken(ADDRESS, who));
  }

  /** As whoever is named again does: he claims what he still wants. */
  keep(who: Party): void {
    who.withheld = false;
    if (this.wanting.has(who)) this.claim(who);
  }

  replace(before: Party, after: Party): void {
    if (!this.wanting.delete(before)) return;
    this.wanting.add(after);
    this.claims.replace(ADDRESS, before, after);
  }

  #told(work: () => boolean): void {
    const before = this.claims.holder(ADDRESS);
    assert.equal(work(), this.claims.holder(ADDRESS) !== before, 'a new holder is told of');
  }

  check(): void {
    const holder = this.claims.holder(ADDRESS);
    const row = [...(holder === undefined ? [] : [holder]), ...this.claims.waiting(ADDRESS)];
    assert.equal(new Set(row).size, row.length, 'each stands in one place');
    assert.deepEqual(new Set(row), this.wanting, 'whoever wants it, and nobody who let it go');
    if ([...this.wanting].some(({ withheld }) => !withheld)) assert.equal(holder?.withheld, false);
    assert.equal(this.claims.conflicts, row.length > 1 ? 1 : 0);
    assert.equal(this.claims.size, Math.min(row.length, 1));
  }
}

test('a claimant who takes the place of a withheld holder no longer waits for it', () => {
  const row = new Row();
  const [a, b] = [party('a'), party('b')];
  row.claim(a);
  row.claim(b);
  row.withhold(b);
  row.withhold(a);
  row.keep(b);
  row.check();
  assert.equal(row.claims.holder(ADDRESS), b);
  row.release(b);
  row.check();
  assert.equal(row.claims.holder(ADDRESS), a);
});

test('after any claims and releases the holder is a live claimant, and nobody who released holds', () => {
  const word = fc.record({
    who: fc.nat(3),
    kind: fc.constantFrom('claim', 'claim', 'release', 'withhold', 'keep', 'replace'),
  });
  fc.assert(
    fc.property(fc.array(word, { maxLength: 60 }), (words) => {
      const row = new Row();
      const parties = ['a', 'b', 'c', 'd'].map(party);
      for (const { who, kind } of words) {
        const each = parties[who]!;
        if (kind === 'replace') {
          parties[who] = { ...each };
          row.replace(each, parties[who]);
        } else row[kind](each);
        row.check();
      }
    }),
    { numRuns: 500 },
  );
});
