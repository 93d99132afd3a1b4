import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EventStreams } from './events.ts';

interface Line {
  readonly type: string;
  readonly i: number;
}

async function readUntil(
  stream: ReadableStream<Uint8Array>,
  done: (line: Record<string, unknown>) => boolean,
): Promise<Record<string, unknown>[]> {
  const reader = stream.getReader();
  const seen: Record<string, unknown>[] = [];
  for (;;) {
    const { value } = await reader.read();
    seen.push(JSON.parse(new TextDecoder().decode(value)));
    if (done(seen.at(-1)!)) break;
  }
  await reader.cancel();
  return seen;
}

test('a reader first gets what is there already, however much, then what comes', async () => {
  const events = new EventStreams<Line>({ buffer: 10, readers: 2 });
  const first = Array.from({ length: 5000 }, (_, i) => ({ type: 'now', i }));
  const stream = events.stream({ first, wants: ({ i }) => i % 2 === 0 });
  for (let i = 0; i < 6; i++) events.publish({ type: 'then', i });
  const seen = await readUntil(stream, (line) => line.type === 'then' && line.i === 4);
  assert.equal(seen.length, 5003);
  assert.deepEqual(
    seen.slice(4999).map(({ type, i }) => [type, i]),
    [
      ['now', 4999],
      ['then', 0],
      ['then', 2],
      ['then', 4],
    ],
  );
});

test('a reader that does not read loses the oldest lines and is told how many', async () => {
  const events = new EventStreams<Line>({ buffer: 100, readers: 1 });
  const stream = events.stream();
  for (let i = 0; i < 10_000; i++) events.publish({ type: 'x', i });
  const seen = await readUntil(stream, (line) => line.i === 9999);
  const lost = seen.filter((line) => line.type === 'lost');
  assert.ok(lost.length > 0);
  const kept = seen.length - lost.length;
  assert.equal(kept + lost.reduce((sum, line) => sum + Number(line.count), 0), 10_000);
  assert.ok(kept <= 100 + 64);
});

test('readers are counted, refused when there are too many, and told of the end', async () => {
  const ended: string[] = [];
  const events = new EventStreams<Line>({ buffer: 4, readers: 1 });
  const stream = events.stream({ onClose: () => ended.push('first') });
  assert.throws(() => events.stream(), { code: 'stream-full' });
  events.publish({ type: 'x', i: 1 });
  events.close();
  assert.equal(await new Response(stream).text(), '{"type":"x","i":1}\n');
  assert.deepEqual(ended, ['first']);
  assert.equal(events.readers, 0);
  await events.stream({ onClose: () => ended.push('second') }).cancel();
  assert.deepEqual(ended, ['first', 'second']);
});
