import assert from 'node:assert/strict';
import { test } from 'node:test';
import { printed } from '../../testing/printed.ts';
import type { Invocation } from '../program/invocation.ts';
import { bgpPeers } from './bgp.ts';
import { bgpWhy } from './bgp-routes.ts';

const PATH = {
  best: true,
  multipath: false,
  prefix: '0.0.0.0/0',
  peer: 'tor-1-ipv4',
  nextHop: '192.0.2.1',
  asPath: '65101',
};
const WHY = {
  prefix: '0.0.0.0/0',
  paths: [{ route: PATH }],
  exports: [],
  kernel: { installed: true, hops: ['192.0.2.1 dev eth0'] },
};

/** What a command prints of speakers that give this one answer. */
function told(
  answer: unknown,
  run: (invocation: Invocation, args: readonly string[]) => Promise<void>,
  ...args: readonly string[]
): Promise<string> {
  const speaker = { node: 'n1', get: async () => answer };
  const agents = [{ node: 'n1', beside: () => speaker }];
  return printed(agents, (invocation) => run(invocation, args));
}

test('a prefix that nobody announces is not shown as that which covers it', async () => {
  const first = async (asked: string) => (await told(WHY, bgpWhy, asked)).split('\n')[0];
  assert.equal(
    await first('192.0.2.0/24'),
    'n1: 192.0.2.0/24 has no route of its own; 0.0.0.0/0 serves it',
  );
  assert.equal(await first('192.0.2.7'), 'n1: 192.0.2.7 is served by 0.0.0.0/0');
  assert.equal(await first('0.0.0.0/0'), 'n1: 0.0.0.0/0');
});

test('a switch’s name where its neighbours are meant names them', async () => {
  const peers = ['tor-1-ipv4', 'tor-1-ipv6', 'tor-2-ipv4'].map((name) => ({ name }));
  await assert.rejects(told(peers, bgpPeers, 'tor-1'), {
    code: 'not-found',
    hint: 'did you mean tor-1-ipv4 or tor-1-ipv6?',
  });
  await assert.rejects(told(peers, bgpPeers, 'tr-2-ipv4'), {
    hint: 'did you mean tor-2-ipv4?',
  });
});
