import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { loadConfig } from '@causeway/daemon';
import { stationConfig } from './config.ts';

test('the configuration that the guide starts a station by is one', () => {
  const { listen, runDir } = loadConfig(
    join(import.meta.dirname, '../station.yaml'),
    stationConfig,
  );
  assert.deepEqual(listen, [{ address: '::', port: 11_019 }]);
  assert.equal(runDir, '/run/causeway-bmp');
});
