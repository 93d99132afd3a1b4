import { test } from 'node:test';
import { findKubeApiserver, KubeApiserver } from './testing/kube-apiserver.ts';
import { kubernetesSuite } from './testing/suite.ts';

const binary = findKubeApiserver();
if (binary === undefined) {
  test('a real kube-apiserver: the suite of the Kubernetes source', {
    skip: 'no kube-apiserver: sh tools/kube-apiserver.sh builds one, or name one in CAUSEWAY_KUBE_APISERVER',
  });
} else {
  kubernetesSuite('kube-apiserver', () => KubeApiserver.start(binary), { crowd: 500 });
}
