import assert from 'node:assert/strict';
import { test } from 'node:test';
import { clusterConfigKey, type PeerView, peerUser, type StoreOffer } from '@causeway/mesh';
import { ExposedStore } from '@causeway/mesh/testing';
import { Authority } from '@causeway/pki';
import { viewPeer } from './view.ts';

const CONFIG = '{"id":1,"capabilities":{"maxConnectedClusters":255}}';

/** What is wrong, in a word. */
function fault(view: PeerView): string {
  const [endpoint] = view.endpoints;
  if (endpoint?.unreachable !== undefined) return `unreachable: ${endpoint.unreachable}`;
  if (endpoint?.refused !== undefined) return `refused: ${endpoint.refused}`;
  if (view.unreadable.length > 0) return `unreadable: ${view.unreadable.join(' ')}`;
  if (view.open.length > 0) return `open: ${view.open.join(' ')}`;
  return 'error' in view.config ? `config: ${view.config.error}` : 'none';
}

test('what is wrong with a store that was offered shows, each by itself, and nothing is written', async () => {
  await using store = await ExposedStore.start('east');
  await using root = store.connect('root');
  const now = new Date();
  const day = 86_400_000;
  const { certificate, key } = await store.admit('west');
  const ca = store.directory.trust;
  const good: StoreOffer = { endpoints: [store.endpoint], ca, certificate, key };
  const look = async (change: Partial<StoreOffer> = {}, at = now) =>
    fault(await viewPeer({ ...good, ...change }, 'east', at));

  assert.match(await look(), /^config: its store has no cilium\/cluster-config\/east/);
  await root.put(clusterConfigKey('east'), '{"id":"one"}');
  assert.match(await look(), /^config: .*id/);
  await root.put(clusterConfigKey('east'), CONFIG);
  assert.equal(await look(), 'none');

  const port = new URL(store.endpoint).port;
  assert.equal(await look({ endpoints: [`https://localhost:${port}`] }), 'none');
  assert.equal(await look({ serverName: 'east.mesh.example' }), 'none');
  assert.match(await look({ serverName: 'other.example' }), /^refused: .*other\.example/);
  assert.match(await look({ endpoints: ['https://127.0.0.1:1'] }), /^unreachable: .*ECONNREFUSED/);

  const elsewhere = await Authority.create('elsewhere', { now, days: 1 });
  const foreign = await elsewhere.authority.issueClient(peerUser('west'), { now, days: 1 });
  assert.match(
    await look({ ca: elsewhere.credentials.certificate }),
    /^refused: .*does not lead to/,
  );
  assert.match(await look({ ...foreign }), /^refused: .*does not lead to causeway east/);
  // Fitting in itself, and not what this server has.
  assert.match(
    await look({ ca: elsewhere.credentials.certificate, ...foreign }),
    /^refused: .*(self.signed|unable to (get|verify)|issuer)/i,
  );
  assert.match(await look({ key: foreign.key }), /^refused: the key is not the one/);
  assert.match(await look({}, new Date(now.getTime() + 400 * day)), /^refused: .*good only until/);

  const rootFiles = store.directory.userFiles('root');
  const { readFileSync } = await import('node:fs');
  const all = {
    certificate: readFileSync(rootFiles.certFile, 'utf8'),
    key: readFileSync(rootFiles.keyFile, 'utf8'),
  };
  assert.match(await look(all), /^open: causeway\/registry\/\*.*for writing/);
  await using auth = store.auth();
  const range = { type: 'prefix', prefix: 'cilium/state/' } as const;
  await auth.withdraw(peerUser('west'), range);
  assert.equal(await look(), 'unreadable: cilium/state/nodes/v1/*');
  await auth.grant(peerUser('west'), { access: 'readwrite', range });
  assert.match(
    await look(),
    /^open: cilium\/state\/nodes\/v1\/east\/causeway-may-i-write for writing$/,
  );
  await store.admit('west');
  assert.equal(await look(), 'none');
  const { entries } = await root.list('');
  assert.deepEqual(
    entries.map((entry) => entry.key),
    [clusterConfigKey('east')],
  );
  await store.directory.revokeClients('west', now);
  assert.match(await look(), /^refused: it took the connection and refused the call/);
});
