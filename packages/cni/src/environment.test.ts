import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseEnvironment } from './environment.ts';
import { CniError } from './errors.ts';

const good = {
  CNI_COMMAND: 'ADD',
  CNI_CONTAINERID: 'c1',
  CNI_IFNAME: 'eth0',
  CNI_NETNS: '/run/netns/c1',
};

const refused = (env: Record<string, string | undefined>, ...named: string[]) => {
  assert.throws(
    () => parseEnvironment({ ...good, ...env }),
    (error) =>
      error instanceof CniError &&
      error.code === 4 &&
      named.every((name) => error.message.includes(name)),
    JSON.stringify(env),
  );
};

test('every variable that is wrong is named', () => {
  refused({ CNI_COMMAND: undefined }, 'CNI_COMMAND');
  refused({ CNI_COMMAND: 'add' }, 'CNI_COMMAND', '"add"');
  refused(
    { CNI_CONTAINERID: '', CNI_IFNAME: 'a/b', CNI_NETNS: 'x' },
    'CONTAINERID',
    'IFNAME',
    'NETNS',
  );
});

test('container ids and interface names follow the specification and the kernel', () => {
  for (const id of ['.a', '-a', 'a/b', '../etc', 'a b', 'ä', 'a'.repeat(201)]) {
    refused({ CNI_CONTAINERID: id }, 'CNI_CONTAINERID');
  }
  for (const id of ['a', '0', 'a_b.c-d', 'f'.repeat(64)]) {
    assert.equal(parseEnvironment({ ...good, CNI_CONTAINERID: id }).containerId, id);
  }
  for (const name of ['.', '..', 'a:b', 'a b', 'a\tb', 'sixteen-letters!', 'ääääääää']) {
    refused({ CNI_IFNAME: name }, 'CNI_IFNAME');
  }
  for (const name of ['eth0', 'fifteen-letters', '...', 'ä']) {
    assert.equal(parseEnvironment({ ...good, CNI_IFNAME: name }).ifname, name);
  }
});

test('CNI_ARGS: pods, unknown keys and truth values', () => {
  const args = (text: string) => parseEnvironment({ ...good, CNI_ARGS: text }).args;
  assert.deepEqual(
    args('K8S_POD_NAMESPACE=a;K8S_POD_NAME=b;K8S_POD_UID=c;K8S_POD_INFRA_CONTAINER_ID=d'),
    {
      podNamespace: 'a',
      podName: 'b',
      podUid: 'c',
    },
  );
  assert.deepEqual(args(''), {});
  assert.deepEqual(args('IgnoreUnknown=true;FOO=BAR;'), {});
  // Podman's own names: no pod, but no reason to refuse the container.
  assert.deepEqual(args('IgnoreUnknown=1;K8S_POD_NAME=nifty_hopper'), {});
  assert.deepEqual(args('K8S_POD_NAMESPACE=web;K8S_POD_NAME=web'), {});
  assert.deepEqual(args('K8S_POD_NAME=web'), {});
  assert.deepEqual(args('K8S_POD_UID=1'), {});
  assert.equal(args('K8S_POD_NAMESPACE=web;K8S_POD_NAME=web;K8S_POD_UID=1').podName, 'web');
  refused({ CNI_ARGS: 'FOO=BAR' }, 'CNI_ARGS', '"FOO"');
  refused({ CNI_ARGS: 'IgnoreUnknown=maybe' }, 'IgnoreUnknown', '"maybe"');
  refused({ CNI_ARGS: 'K8S_POD_NAME' }, 'CNI_ARGS');
  refused({ CNI_ARGS: 'K8S_POD_NAME=../x' }, 'K8S_POD_NAME', '"../x"');
  refused({ CNI_ARGS: 'x'.repeat(9_000) }, 'CNI_ARGS');
});

test('DEL looks at no more than it needs', () => {
  const env = { CNI_COMMAND: 'DEL', CNI_CONTAINERID: 'c1', CNI_IFNAME: 'eth0', CNI_ARGS: ';;=' };
  assert.deepEqual(parseEnvironment(env), {
    command: 'DEL',
    containerId: 'c1',
    ifname: 'eth0',
    netns: '',
    args: {},
  });
});
