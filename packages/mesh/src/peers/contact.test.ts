import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Contact, turnOf } from './contact.ts';

const times = { grace: 900_000, withdraw: 60_000 };

test('a loss ages: grace, then a growing share of services, then all', () => {
  const contact = new Contact(times, 0);
  assert.equal(contact.lastContact, undefined);
  contact.found(1000);
  contact.lose(10_000);
  assert.equal(contact.lastContact, 10_000);
  assert.deepEqual(contact.age(10_000 + 899_999), { type: 'kept' });
  assert.deepEqual(contact.age(10_000 + 930_000), { type: 'withdrawing', share: 0.5 });
  assert.deepEqual(contact.age(10_000 + 960_000), { type: 'withdrawn' });
});

test('a return within the grace is a non-event', () => {
  const contact = new Contact(times, 0);
  contact.found(0);
  contact.lose(1000);
  contact.found(800_000);
  assert.deepEqual(contact.age(900_000), { type: 'kept' });
  contact.lose(900_000);
  assert.equal(contact.left(900_000), 900_000);
  assert.equal(contact.pause(900_000), 0);
});

test('a peer that comes and goes is withdrawn in spite of short returns, and tried ever less often', () => {
  const contact = new Contact(times, 0);
  let now = 0;
  const pauses: number[] = [];
  // One second of contact in a hundred.
  for (; now < 2_000_000; now += 100_000) {
    contact.found(now);
    contact.lose(now + 1000);
    pauses.push(contact.pause(now + 1000));
    if (contact.age(now + 99_000).type === 'withdrawn') break;
  }
  assert.ok(now < 1_500_000, `kept for ${now} ms`);
  assert.deepEqual(pauses.slice(0, 3), [0, 0, 0]);
  for (let i = 4; i < 9; i++) assert.ok(pauses[i]! > pauses[i - 1]!, pauses.join());
  // A return that lasts forgives it.
  contact.found(now);
  contact.lose(now + 2_000_000);
  assert.equal(contact.left(now + 2_000_000), times.grace);
});

test('after a short return of a flapping peer services go gradually again, not at once', () => {
  const contact = new Contact(times, 0);
  for (let i = 0; i < 6; i++) {
    contact.found(i * 10);
    contact.lose(i * 10 + 5);
  }
  contact.found(1_000_000 - 200_000);
  contact.lose(1_000_000 - 199_000);
  const later = 1_000_000 + 60_000;
  const age = contact.age(later);
  assert.notEqual(age.type, 'kept');
  contact.found(later);
  contact.lose(later + 1);
  const { type } = contact.age(later + 2);
  assert.ok(type === 'kept' || type === 'withdrawing');
});

test('whatever comes and goes, age grows only out of contact and never beyond what passed', () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 1, max: 300_000 }), { maxLength: 40 }), (steps) => {
      const contact = new Contact(times, 0);
      let now = 0;
      let out = 0;
      for (const [index, step] of steps.entries()) {
        if (index % 2 === 0) contact.found(now);
        else contact.lose(now);
        now += step;
        if (index % 2 === 1) out += step;
        if (index % 2 === 0) assert.equal(contact.age(now).type, 'kept');
        if (out < times.grace) assert.equal(contact.age(now).type, 'kept');
      }
    }),
  );
});

test('turns spread evenly', () => {
  let below = 0;
  for (let i = 0; i < 10_000; i++) if (turnOf(`shop/service-${i}`) < 0.25) below++;
  assert.ok(below > 2300 && below < 2700, String(below));
});
