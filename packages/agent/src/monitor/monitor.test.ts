import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { AgentError } from '../errors.ts';
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

test('a reader that does not read loses the oldest lines, is told so, and never grows', async () => {
  const { made } = monitor();
  const stream = made.stream(new Set<MonitorType>(['drop']));
  for (let i = 0; i < 10_000; i++) made.publish({ type: 'drop', i });
  const reader = stream.getReader();
  const seen: Record<string, unknown>[] = [];
  while (seen.at(-1)?.i !== 9999) {
    const { value } = await reader.read();
    seen.push(JSON.parse(new TextDecoder().decode(value)));
  }
  const lost = seen.filter((line) => line.type === 'lost');
  const drops = seen.filter((line) => line.type === 'drop');
  assert.equal(drops.length + lost.reduce((sum, line) => sum + Number(line.count), 0), 10_000);
  assert.ok(drops.length <= 100 + 64);
  await reader.cancel();
  assert.equal(made.readers, 0);
});

test('the number of readers and the names of types are checked', () => {
  const { made } = monitor(1);
  made.stream(new Set<MonitorType>(['drop']));
  assert.throws(
    () => made.stream(new Set<MonitorType>(['drop'])),
    (error: AgentError) => error.code === 'monitor-full',
  );
  assert.deepEqual([...parseMonitorTypes('drop, verdict')], ['drop', 'verdict']);
  assert.throws(
    () => parseMonitorTypes('drops'),
    (error: AgentError) => error.field === 'type',
  );
});
