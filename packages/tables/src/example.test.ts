import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { stripTypeScriptTypes } from 'node:module';
import { test } from 'node:test';
import * as tables from '../index.ts';

test('the README’s example runs and prints what it says', async () => {
  const readme = readFileSync(`${import.meta.dirname}/../README.md`, 'utf8');
  const [, imports, body] = /```ts\nimport (\{.*\}) from '@causeway\/tables';\n(.*?)```/s.exec(
    readme,
  )!;
  const AsyncFunction = (async () => {}).constructor as FunctionConstructor;
  // A function of what it imports: code that is run as text imports nothing.
  const code = stripTypeScriptTypes(
    `async function run(${imports}: any) {${body}return {text, kernel}}`,
  );
  const run = new AsyncFunction('tables', `${code}; return run(tables)`) as unknown as (
    from: typeof tables,
  ) => Promise<{ text: string; kernel: Map<string, number> }>;
  const { text, kernel } = await run(tables);
  assert.equal(text, 'NODE  PODS  KERNEL\nn1    2     done');
  assert.deepEqual([...kernel], [['n1', 2]]);
});
