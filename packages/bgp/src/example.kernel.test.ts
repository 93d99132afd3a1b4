import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { Address } from '@causeway/ip';
import { Asn, BgpShell, RouterId, Speaker } from '../index.ts';
import { PeerCore } from '../testing/peer-core.ts';
import { readable } from '../testing/updates.ts';
import { Peer } from './peer.ts';

test('the README’s example runs, and is this one', async () => {
  // The spine, which the example connects to.
  const spine = new BgpShell();
  const core = new PeerCore((effect) => spine.effect(effect));
  const updates: unknown[] = [];
  const peer = new Peer(
    {
      name: 'leaf',
      target: { address: Address.parse('127.0.0.1') },
      passive: true,
      asn: 'any',
      localAsn: Asn.of(65001),
      routerId: RouterId.parse('192.0.2.2'),
      families: [{ family: 'ipv4-unicast' }],
    },
    { random: Math.random, nextConnection: spine.nextConnection },
  );
  core.peers.set('leaf', peer);
  core.onUpdate = (_peer, update) => {
    updates.push(readable(update));
  };
  spine.attach(core);
  core.input('leaf', { type: 'start' }, performance.now());
  await spine.listen({ address: '127.0.0.2', port: 1790 });
  const { log } = console;
  console.log = () => {};
  try {
    // example
    await using shell = new BgpShell();
    const speaker = new Speaker(
      {
        config: {
          asn: Asn.of(65001),
          routerId: RouterId.parse('192.0.2.1'),
          policies: { policies: {} },
        },
        random: Math.random,
        nextConnection: shell.nextConnection,
        emit: (effect) => {
          if (effect.type === 'event') console.log(effect.event.type);
          else if (effect.type !== 'feed') shell.effect(effect);
        },
      },
      performance.now(),
    );
    shell.attach(speaker);
    await shell.listen({ address: '127.0.0.1', port: 1790 });

    const neighbor = Address.parse('127.0.0.2');
    speaker.addPeer(
      {
        name: 'spine',
        target: { address: neighbor, port: 1790 },
        asn: 'internal',
        families: [{ family: 'ipv4-unicast' }], // an external neighbour needs policies (RFC 8212)
      },
      performance.now(),
    );
    speaker.setPaths(
      'pods',
      [{ prefix: '10.4.7.0/24', communities: ['65001:7'] }],
      performance.now(),
    );
    shell.wakeUp(); // the speaker was used behind the shell's back

    const { rows } = speaker.routes({ family: 'ipv4-unicast', view: 'loc' });
    const why = speaker.why('10.4.7.0/24'); // every path, and the step by which it won or lost
    // end
    assert.equal(rows.length, 1);
    assert.ok(why !== undefined);
    const ends = () => updates.some((one) => 'endOfRib' in (one as object));
    await core.until('the table', ends);
    assert.deepEqual(updates.slice(0, 2), [
      {
        announced: [{ family: 'ipv4-unicast', prefixes: ['10.4.7.0/24'], nextHop: '7f000001' }],
        attributes: {
          origin: 0,
          asPath: [],
          localPreference: 100,
          communities: [0xfde90007],
        },
      },
      { endOfRib: 'ipv4-unicast' },
    ]);
  } finally {
    console.log = log;
    await spine[Symbol.asyncDispose]();
  }
  const own = readFileSync(import.meta.filename, 'utf8');
  const example =
    /\/\/ example\n([\s\S]*?) {4}\/\/ end/.exec(own)?.[1]?.replaceAll(/^ {4}/gm, '') ?? '?';
  assert.ok(readFileSync(`${import.meta.dirname}/../README.md`, 'utf8').includes(example));
});
