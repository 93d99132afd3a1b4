import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { test } from 'node:test';
import { silentLog } from '@causeway/daemon';
import { systemClock } from '@causeway/etcd';
import type { Address } from '@causeway/ip';
import { UdpWords } from './udp-words.ts';

/** A port that was free a moment ago. */
async function freePort(): Promise<number> {
  const socket = createSocket('udp6').bind(0);
  await once(socket, 'listening');
  const { port } = socket.address();
  socket.close();
  await once(socket, 'close');
  return port;
}

test('a node hears that it is counted out, by either family; rubbish is taken in silence', async () => {
  const asked: string[] = [];
  const isOut = (node: string) => {
    asked.push(node);
    return node === 'b';
  };
  const port = await freePort();
  await using words = new UdpWords(isOut, systemClock, silentLog, port);
  for (const address of ['127.0.0.1', '::1'] as Address[]) {
    // On a slow machine an answer may come too late; then it is asked again, as the agent does.
    let out = false;
    for (let tries = 0; !out && tries < 100; tries++) out = await words.ask(address, 'b');
    assert.ok(out, `by ${address}`);
    assert.equal(await words.ask(address, 'c'), false);
  }
  const stranger = createSocket('udp4');
  for (const bytes of [
    '',
    '{',
    'null',
    '[]',
    '{"type":"ask","nonce":"x","node":"b"}',
    'x'.repeat(9_000),
  ]) {
    await new Promise((sent) => stranger.send(bytes, port, '127.0.0.1', sent));
  }
  const nonce = '0123456789abcdef';
  const ask = JSON.stringify({ type: 'ask', nonce, node: 'b' });
  const again = setInterval(() => stranger.send(ask, port, '127.0.0.1'), 50);
  const [answer] = (await once(stranger, 'message')) as [Buffer];
  clearInterval(again);
  assert.deepEqual(JSON.parse(answer.toString()), { type: 'say', nonce, node: 'b' });
  stranger.close();
  assert.deepEqual([...new Set(asked)], ['b', 'c']);
});

test('a port that another has leaves the node without words, and nothing else happens', async () => {
  const told: unknown[] = [];
  const port = await freePort();
  const log = { ...silentLog, warn: (fields: unknown) => told.push(fields) } as never;
  await using _first = new UdpWords(() => true, systemClock, silentLog, port);
  await using second = new UdpWords(() => true, systemClock, log, port);
  for (let tries = 0; told.length < 2 && tries < 100; tries++) {
    await second.ask('127.0.0.2' as Address, 'a');
  }
  assert.equal(told.length, 2);
});
