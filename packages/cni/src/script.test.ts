import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';

test('the script holds a carriage return, without which HTTP refuses and each call starts a Node', () => {
  const script = readFileSync(path.join(import.meta.dirname, '../bin/causeway-cni'), 'latin1');
  assert.match(script, /^cr='\r' #/m);
});
