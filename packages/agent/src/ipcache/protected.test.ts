import assert from 'node:assert/strict';
import { test } from 'node:test';
import { StoreSockets } from './protected.ts';

test("the store's sockets, by address or by name, in both families", async () => {
  const sockets = new StoreSockets(
    [
      'http://192.0.2.10:2379',
      'https://[2001:db8::10]',
      'https://etcd.example:2379',
      'http://[::1]:1',
    ],
    async (host) => {
      assert.equal(host, 'etcd.example');
      return ['192.0.2.11', '2001:db8::11'];
    },
  );
  assert.deepEqual(await sockets.find(), [
    { address: '192.0.2.10', port: 2379, protocol: 6 },
    { address: '2001:db8::10', port: 443, protocol: 6 },
    { address: '192.0.2.11', port: 2379, protocol: 6 },
    { address: '2001:db8::11', port: 2379, protocol: 6 },
  ]);
});

test('a name keeps its addresses while nobody answers for it', async () => {
  let answer: readonly string[] | undefined = ['192.0.2.11'];
  const sockets = new StoreSockets(['http://etcd.example:2379'], async () => {
    if (answer === undefined) throw new Error('EAI_AGAIN');
    return answer;
  });
  const addresses = async () => (await sockets.find()).map(({ address }) => address);
  assert.deepEqual(await addresses(), ['192.0.2.11']);
  answer = undefined;
  assert.deepEqual(await addresses(), ['192.0.2.11']);
  answer = ['192.0.2.12'];
  assert.deepEqual(await addresses(), ['192.0.2.12']);
  const [, peer] = await sockets.find(['https://192.0.2.77:2379']);
  assert.deepEqual(peer, { address: '192.0.2.77', port: 2379, protocol: 6 }, "a peer's store too");
});
