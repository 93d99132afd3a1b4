import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { DaemonError, parseConfig, silentLog } from '@causeway/daemon';
import { inventoryConfig } from './config.ts';
import { runInventory } from './daemon.ts';

test('the configuration in the README is one', () => {
  const readme = readFileSync(join(import.meta.dirname, '../README.md'), 'utf8');
  const [, text = ''] = /```yaml\n(.*?)```/s.exec(readme) ?? [];
  const config = parseConfig(text, inventoryConfig);
  assert.deepEqual(
    config.sources.map(({ type }) => type),
    ['file', 'kubernetes'],
  );
});

test('a setting that is none is refused with its name, its value and what is known', async () => {
  const cluster = { name: 'outside', id: 37 };
  const source = { type: 'file', name: 'site', path: '/x' };
  for (const [config, field, expected] of [
    [{}, 'cluster', /cluster/],
    [{ cluster: { ...cluster, name: 'default' } }, 'cluster.name', /not "default"/],
    [{ cluster: { ...cluster, id: 300 } }, 'cluster.id', /at most maxConnectedClusters, 255/],
    [{ cluster, guard: { share: 2 } }, 'guard.share', /./],
    [{ cluster, addresses: { deny: ['10.0.0.0/33'] } }, 'addresses.deny.0', /a prefix such as/],
    [{ cluster, sources: [source, source] }, 'sources.1.name', /unique/],
    [{ cluster, sources: [{ ...source, path: 'x' }] }, 'sources.0.path', /absolute/],
    [{ cluster, sources: [{ ...source, rescan: 1 }] }, 'sources.0.rescan', /no such setting/],
    [{ cluster, labels: [{ drop: 1 }] }, 'labels.0', /./],
    [{ cluster, gaurd: {} }, 'gaurd', /did you mean guard/],
  ] as const) {
    await assert.rejects(runInventory(config as never, { log: silentLog }), (error) => {
      assert.ok(error instanceof DaemonError);
      assert.equal(error.code, 'bad-config');
      assert.equal(
        error.field?.replaceAll(/\[(\d+)\]/g, '.$1').startsWith(field),
        true,
        error.message,
      );
      assert.match(error.message, expected);
      return true;
    });
  }
});

test('rules that cannot be are refused before anything runs', async () => {
  const cluster = { name: 'outside', id: 37 };
  const run = (more: object) =>
    runInventory({ cluster, runDir: '/nonexistent/causeway', ...more } as never, {
      log: silentLog,
    });
  await assert.rejects(run({ labels: [{ drop: '*a*b*c*d*e*f*g*h*i*' }] }), { code: 'bad-rule' });
  await assert.rejects(run({ identityLabels: ['('] }), { code: 'bad-filter-rule' });
});
