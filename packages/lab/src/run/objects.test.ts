import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { parseManifests, validateAll } from '@causeway/resources';
import { loadLab, manifestFiles, shippedLabs } from '../file/load.ts';
import { planLab } from '../plan/plan.ts';
import { clusterObjects, loadClusterManifests } from './objects.ts';

const EXAMPLES = join(import.meta.dirname, '../../../../examples');

test('every example and everything that a shipped lab writes are valid objects', () => {
  const files = globSync(join(EXAMPLES, '**/*.yaml'));
  assert.ok(files.length > 10, 'examples are found');
  for (const path of files) validateAll(parseManifests(readFileSync(path, 'utf8')));
  for (const name of shippedLabs()) {
    const { file, source } = loadLab(name);
    for (const cluster of planLab(file).clusters) {
      const manifests = manifestFiles(source, cluster.settings.manifests).map((path) => ({
        path,
        text: readFileSync(path, 'utf8'),
      }));
      const { objects, pods } = loadClusterManifests(cluster, manifests);
      const own = clusterObjects(cluster, [...cluster.pods, ...pods]);
      validateAll(
        [...own, ...objects].map((value) => ({
          value: value as Readonly<Record<string, unknown>>,
          where: name,
        })),
      );
    }
  }
});

test('a StatefulSet is written once for its pods, with their labels', () => {
  const [cluster] = planLab(loadLab('pools').file).clusters;
  const objects = clusterObjects(cluster!, cluster!.pods) as {
    kind: string;
    metadata: { name: string };
    spec: { replicas?: number; template?: { metadata: { labels: object } } };
  }[];
  const sets = objects.filter(({ kind }) => kind === 'StatefulSet');
  assert.deepEqual(
    sets.map(({ metadata, spec }) => [
      metadata.name,
      spec.replicas,
      spec.template?.metadata.labels,
    ]),
    [['db', 2, { app: 'db' }]],
  );
});
