import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { Address, Prefix, PrefixTrie, subtract } from '../index.ts';

test('the README’s example runs, and is this one', () => {
  // example
  const pods = Prefix.parse('10.4.0.0/16');
  const node = Prefix.subnetAt(pods, 24, 7); // '10.4.7.0/24'
  const gateway = Prefix.nth(node, 1); // '10.4.7.1'
  const same = gateway === Address.parse('::ffff:10.4.7.1'); // true: one address, one text

  const routes = new PrefixTrie<string>();
  routes.set(pods, 'cluster');
  routes.set(node, 'node-7');
  const route = routes.lookup(gateway); // { prefix: '10.4.7.0/24', value: 'node-7' }

  const allowed = subtract([node], [Prefix.host(gateway)]); // 8 prefixes that leave out the gateway
  // end
  assert.deepEqual(
    [node, gateway, same, route?.value, allowed.length],
    ['10.4.7.0/24', '10.4.7.1', true, 'node-7', 8],
  );
  const own = readFileSync(import.meta.filename, 'utf8');
  const example =
    /\/\/ example\n([\s\S]*?) {2}\/\/ end/.exec(own)?.[1]?.replaceAll(/^ {2}/gm, '') ?? '?';
  assert.ok(readFileSync(`${import.meta.dirname}/../README.md`, 'utf8').includes(example));
});
