import assert from 'node:assert/strict';
import { test } from 'node:test';
import { z } from 'zod';
import { issueText } from './issue-text.ts';

test('what must be is said in our words, but for what a schema says itself', () => {
  const cases: [z.ZodType, unknown, string][] = [
    [z.number(), 'abc', 'must be a number'],
    [z.object({}), [], 'must be an object'],
    [z.number().int(), 1.5, 'must be a whole number'],
    [z.number().max(65_535), 70_000, 'must be at most 65535'],
    [z.number().gt(0), 0, 'must be greater than 0'],
    [z.string().min(1), '', 'must have at least 1 characters'],
    [z.array(z.string()).max(1), ['a', 'b'], 'must have at most 1 entries'],
    [z.enum(['a', 'b']), 'c', 'must be one of a, b'],
    [z.string().regex(/^a$/, 'a lone a'), 'b', 'must be a lone a'],
    [z.number().max(5, 'must be a small number'), 6, 'must be a small number'],
  ];
  for (const [schema, value, words] of cases) {
    const result = schema.safeParse(value);
    assert.equal(issueText(result.error!.issues[0]!), words);
  }
});
