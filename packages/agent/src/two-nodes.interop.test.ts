import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { isolated } from './testing/isolated.ts';
import { nodeObject, TwoNodes, until } from './testing/two-nodes.ts';

isolated(import.meta.filename, () => {
  let nodes: TwoNodes;
  before(async () => {
    nodes = new TwoNodes();
    await nodes.startEtcd();
    await nodes.store.apply([
      nodeObject('a', 1),
      nodeObject('b', 2),
      { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'shop' } },
    ]);
  });
  after(() => nodes[Symbol.asyncDispose]());

  test('native routing: pods reach pods on their node and on the other, the node, and the world', async () => {
    await Promise.all([
      nodes.startAgent('a', { routingMode: 'native' }),
      nodes.startAgent('b', { routingMode: 'native' }),
    ]);
    await Promise.all([nodes.ready('a'), nodes.ready('b')]);
    const web = await nodes.addPod('a', 'web', { app: 'web' });
    const cli = await nodes.addPod('a', 'cli', { app: 'cli' });
    const far = await nodes.addPod('b', 'far', { app: 'far' });
    for (const family of ['ipv4', 'ipv6']) {
      assert.ok(nodes.ping('cli', web.addresses[family]), `same node ${family}`);
      assert.ok(nodes.ping('cli', cli.gateways[family]), `gateway ${family}`);
      await until(`other node ${family}`, () => nodes.ping('cli', far.addresses[family]));
      assert.ok(nodes.ping('a', web.addresses[family]), `host to pod ${family}`);
      assert.ok(nodes.ping('a', far.addresses[family]), `host to remote pod ${family}`);
    }
    assert.ok(nodes.ping('cli', '192.0.2.1'), 'pod to its node');
    assert.ok(nodes.ping('cli', '192.0.2.2'), 'pod to another node');
    assert.ok(nodes.ping('cli', '192.0.2.9'), 'pod to the world, masqueraded');
    assert.ok(nodes.ping('cli', '2001:db8::9'), 'the same in IPv6');
  });
});
