import assert from 'node:assert/strict';
import { test } from 'node:test';
import { kubernetesSource } from './config.ts';
import { StandInKubeServer } from './testing/stand-in.ts';
import { kubernetesSuite } from './testing/suite.ts';

kubernetesSuite('a stand-in', () => StandInKubeServer.start(), { crowd: 5000 });

test('a configuration names a kubeconfig or a server, and not both', () => {
  for (const bad of [
    {},
    { server: 'x' },
    { kubeconfig: '/k', server: 'https://x' },
    { kubeconfig: '/k', tokenFile: '/t' },
  ]) {
    assert.equal(
      kubernetesSource.safeParse({ type: 'kubernetes', name: 'k', ...bad }).success,
      false,
    );
  }
});
