import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AgentError } from '../errors.ts';
import { lockNetwork } from './lock.ts';

test('one agent holds the network of a node, and the next one has it when it ends', async () => {
  const name = `\0causeway-test-${process.pid}`;
  const first = await lockNetwork(name);
  await assert.rejects(
    lockNetwork(name),
    (error) => error instanceof AgentError && error.code === 'already-running',
  );
  await first[Symbol.asyncDispose]();
  await using _second = await lockNetwork(name);
});
