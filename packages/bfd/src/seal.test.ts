import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { drawSeal, isSealed, sealed } from './seal.ts';

const u32 = fc.nat(0xffff_ffff);

test('every sealed number is known by its seal, is not 0, and another than the others', () => {
  fc.assert(
    fc.property(u32, u32, fc.nat(0xffff), fc.nat(0xffff), (a, b, one, other) => {
      const draws = [a, b];
      const seal = drawSeal(() => draws.shift() ?? 0);
      const number = sealed(seal, one);
      assert.ok(number > 0 && number <= 0xffff_ffff);
      assert.ok(isSealed(seal, number));
      assert.equal(sealed(seal, other) === number, one === other);
    }),
  );
});

test('one in 65,536 numbers has the seal, and what they share is not to be seen in them', () => {
  const seal = { factor: 0x85eb_ca6b, mark: 0x1234 };
  let known = 0;
  for (let i = 0; i < 1 << 20; i++) if (isSealed(seal, Math.imul(i, 0x9e37_79b1) >>> 0)) known++;
  assert.ok(known < 64, `${known} of a million`);
  const upper = new Set(Array.from({ length: 1000 }, (_, low) => sealed(seal, low * 61) >>> 16));
  assert.ok(upper.size > 900, `${upper.size} upper halves of 1,000 numbers`);
});
