import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ApiError } from '@causeway/daemon';
import { Monitor, type MonitorType, parseMonitorTypes } from './monitor.ts';

function monitor(clients = 2) {
  const interests: string[] = [];
  const made = new Monitor({
    buffer: 100,
    clients,
    onInterest: (types) => interests.push([...types].sort().join()),
  });
  return { made, interests };
}

async function readAll(stream: ReadableStream<Uint8Array>): Promise<Record<string, unknown>[]> {
  const text = await new Response(stream).text();
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line));
}

test('readers get what they asked for, and the kernel is asked only for what is read', async () => {
  const { made, interests } = monitor();
  const drops = made.stream(new Set<MonitorType>(['drop']));
  const both = made.stream(new Set<MonitorType>(['drop', 'verdict']));
  made.publish({ type: 'drop', reason: 'spoofed' });
  made.publish({ type: 'verdict', allowed: true, bytes: 5n });
  made.publish({ type: 'trace' });
  made.close();
  assert.deepEqual(await readAll(drops), [{ type: 'drop', reason: 'spoofed' }]);
  assert.equal((await readAll(both)).length, 2);
  assert.deepEqual(interests, ['drop', 'drop,verdict', 'drop,verdict', '']);
});

test('the number of readers and the names of types are checked', () => {
  const { made } = monitor(1);
  made.stream(new Set<MonitorType>(['drop']));
  assert.throws(
    () => made.stream(new Set<MonitorType>(['drop'])),
    (error: ApiError) => error.code === 'stream-full',
  );
  assert.deepEqual([...parseMonitorTypes('drop, verdict')], ['drop', 'verdict']);
  assert.throws(
    () => parseMonitorTypes('drops'),
    (error: ApiError) => error.field === 'type',
  );
});
