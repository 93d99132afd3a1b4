import assert from 'node:assert/strict';
import { test } from 'node:test';
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
async function printed(
  answer: unknown,
  run: (invocation: Invocation, args: readonly string[]) => Promise<void>,
  ...args: readonly string[]
): Promise<string> {
  const speaker = { node: 'n1', get: async () => answer };
  const agents = [{ node: 'n1', beside: () => speaker }];
  const invocation: Invocation = {
    json: false,
    options: {},
    contextName: undefined,
    withTarget: (work) => work({ name: 'test', agents } as never),
  };
  const write = process.stdout.write;
  let text = '';
  process.stdout.write = ((part: string) => {
    text += part;
    return true;
  }) as typeof write;
  try {
    await run(invocation, args);
  } finally {
    process.stdout.write = write;
  }
  return text;
}

test('a prefix that nobody announces is not shown as that which covers it', async () => {
  const first = async (asked: string) => (await printed(WHY, bgpWhy, asked)).split('\n')[0];
  assert.equal(
    await first('192.0.2.0/24'),
    'n1: 192.0.2.0/24 has no route of its own; 0.0.0.0/0 serves it',
  );
  assert.equal(await first('192.0.2.7'), 'n1: 192.0.2.7 is served by 0.0.0.0/0');
  assert.equal(await first('0.0.0.0/0'), 'n1: 0.0.0.0/0');
});

test('a switch’s name where its neighbours are meant names them', async () => {
  const peers = ['tor-1-ipv4', 'tor-1-ipv6', 'tor-2-ipv4'].map((name) => ({ name }));
  await assert.rejects(printed(peers, bgpPeers, 'tor-1'), {
    code: 'not-found',
    hint: 'did you mean tor-1-ipv4 or tor-1-ipv6?',
  });
  await assert.rejects(printed(peers, bgpPeers, 'tr-2-ipv4'), {
    hint: 'did you mean tor-2-ipv4?',
  });
});
