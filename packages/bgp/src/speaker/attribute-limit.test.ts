import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Address } from '@causeway/ip';
import { ignoreEffects, Neighbor } from '../../testing/index.ts';
import { Speaker } from '../speaker.ts';
import { Asn, RouterId } from '../types.ts';
import type { SpeakerPeerConfig } from './config.ts';
import type { SpeakerEvent } from './types.ts';

const MIB = 1 << 20;

/** A speaker, and neighbours by the last byte of their address. */
function site(attributeBytes: number) {
  let next = 1;
  const events: SpeakerEvent[] = [];
  const speaker = new Speaker(
    {
      config: {
        asn: Asn.of(65000),
        routerId: RouterId.parse('192.0.2.254'),
        // biome-ignore lint/suspicious/noThenProperty: the policy language's word
        policies: { policies: { all: { statements: [{ then: 'accept' }] } } },
        attributeBytes,
      },
      random: () => 0.5,
      nextConnection: () => next++,
      emit: (effect) => {
        if (effect.type === 'event') events.push(effect.event);
        else ignoreEffects(effect);
      },
    },
    0,
  );
  let now = 0;
  const settle = (ms: number): void => {
    for (const end = now + ms; now < end; now += 250)
      for (let i = 0; (speaker.deadline ?? Number.POSITIVE_INFINITY) <= now && i < 1000; i++)
        speaker.work(now);
  };
  const neighbor = (name: string, last: number) => {
    const config: SpeakerPeerConfig = {
      name,
      target: { address: Address.parse(`192.0.2.${last}`) },
      asn: Asn.of(65000 + last),
      passive: true,
      families: [{ family: 'ipv4-unicast', import: 'all' }],
    };
    speaker.addPeer(config, now);
    const one = new Neighbor(speaker, {
      config,
      asn: Asn.of(65000 + last),
      localAsn: Asn.of(65000),
      routerId: RouterId.parse(`198.51.100.${last}`),
    });
    one.up(now);
    const hop = Address.toBytes(Address.parse(`192.0.2.${last}`));
    /** A route with about 3,600 bytes of attributes; `tail` makes them distinct. */
    const announce = (index: number, tail: number): void =>
      one.announce(
        'ipv4-unicast',
        {
          origin: 0,
          asPath: [{ type: 'sequence', asns: [Asn.of(65000 + last)] }],
          communities: Array.from({ length: 900 }, (_, i) => (i === 899 ? 0x10000 + tail : i)),
        },
        hop,
        [[24, (last << 24) | (index << 8), 0]],
        now,
      );
    return { one, announce };
  };
  return { speaker, events, neighbor, settle };
}

test('beyond the limit of distinct attributes the neighbour with most of them falls, and nobody else', () => {
  const { speaker, events, neighbor, settle } = site(2 * MIB);
  const modest = neighbor('modest', 1);
  const greedy = neighbor('greedy', 2);
  for (let i = 0; i < 100; i++) modest.announce(i, i);
  // As many routes as one likes, where they share their attributes.
  const many = neighbor('many', 3);
  for (let i = 0; i < 2000; i++) many.announce(i, 7);
  assert.ok(speaker.counters().established === 3);
  for (let i = 0; i < 1000 && greedy.one.isUp; i++) {
    greedy.announce(i, 5000 + i);
    if (speaker.peer('greedy')?.state !== 'established') break;
  }
  const row = speaker.peer('greedy');
  assert.notEqual(row?.state, 'established');
  const reason = row?.lastDown?.reason;
  assert.equal(reason?.why, 'too-many-attributes');
  assert.equal(reason.retain, false);
  assert.match(reason.text ?? '', /MiB of distinct path attributes/);
  assert.deepEqual([reason.notification?.code, reason.notification?.subcode], [6, 8]);
  settle(2_000);
  assert.equal(row === undefined, false);
  assert.equal(speaker.peer('greedy')?.families[0]?.received, 0);
  assert.equal(speaker.peer('modest')?.families[0]?.received, 100);
  assert.equal(speaker.peer('many')?.families[0]?.received, 2000);
  assert.equal(events.filter(({ type }) => type === 'peer-down').length, 1, 'one fall is enough');
  // It may try again after a while.
  settle(300_000);
  assert.notEqual(speaker.peer('greedy')?.state, 'idle');
});

test('what routes needed is given back when they go', () => {
  const { speaker, neighbor, settle } = site(64 * MIB);
  const { one, announce } = neighbor('one', 1);
  const before = speaker.counters().tableBytes;
  for (let i = 0; i < 4000; i++) announce(i, i);
  const full = speaker.counters();
  assert.equal(full.attributeSets, 4000);
  assert.ok(full.attributeBytes > 14 * MIB);
  // Half of it goes: nothing moves. The rest goes but for a few, whose attributes are as they were.
  const gone = (from: number, to: number) => {
    for (let i = from; i < to; i++)
      one.withdraw('ipv4-unicast', [[24, (1 << 24) | (i << 8), 0]], 0);
    settle(2_000);
  };
  gone(0, 2000);
  assert.equal(speaker.counters().attributeBytes, full.attributeBytes);
  gone(2000, 3990);
  const { attributeBytes, attributeSets } = speaker.counters();
  assert.equal(attributeSets, 10);
  assert.ok(attributeBytes < MIB, `${attributeBytes} bytes for ten sets`);
  const rows = speaker.routes({ family: 'ipv4-unicast', view: 'received', peer: 'one' }).rows;
  assert.deepEqual(
    rows.map(({ prefix, attributes }) => [prefix, attributes.communities?.at(-1)]).sort(),
    Array.from({ length: 10 }, (_, i) => [
      `1.${(3990 + i) >> 8}.${(3990 + i) & 255}.0/24`,
      0x10000 + 3990 + i,
    ]).sort(),
  );
  // And grows again.
  for (let i = 0; i < 3000; i++) announce(i, 9000 + i);
  assert.equal(speaker.counters().attributeSets, 3010);
  assert.equal(speaker.peer('one')?.families[0]?.received, 3010);
  gone(0, 4000);
  assert.equal(speaker.counters().attributeSets, 0);
  assert.ok(speaker.counters().tableBytes < before + MIB);
});
