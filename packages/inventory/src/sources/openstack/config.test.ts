import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { checkConfig, DaemonError, parseConfig } from '@causeway/daemon';
import { openstackSource } from './config.ts';

const good = {
  type: 'openstack',
  name: 'dc1',
  auth: {
    method: 'password',
    url: 'https://keystone:5000/v3',
    username: 'reader',
    passwordFile: '/etc/causeway/password',
    project: 'admin',
  },
};

const refused = (config: unknown): DaemonError => {
  try {
    checkConfig(config, openstackSource);
  } catch (error) {
    if (error instanceof DaemonError) return error;
  }
  return assert.fail('was taken');
};

test('takes a name and credentials, and knows the rest', () => {
  const config = checkConfig(good, openstackSource);
  assert.deepEqual(config.deviceOwners, ['compute:*', 'baremetal:*']);
  assert.equal(config.poll.changesSeconds, 3);
});

test('takes what the README shows', () => {
  const readme = readFileSync(new URL('README.md', import.meta.url), 'utf8');
  const shown = /```yaml\n(.*?)```/s.exec(readme)?.[1] ?? '';
  assert.equal(parseConfig(shown, openstackSource).notifications?.vhost, '/');
});

test('refuses by field and value, and repeats no secret', () => {
  const cases: readonly [object, string][] = [
    [{ auth: { ...good.auth, password: 'hush' } }, 'auth.password'],
    [{ auth: { ...good.auth, passwordFile: undefined } }, 'auth.password'],
    [{ auth: { ...good.auth, url: 'https://user:hush@keystone/v3' } }, 'auth.url'],
    [{ auth: { method: 'none' } }, 'endpoints.network'],
    [{ auth: { method: 'none' }, endpoints: { network: 'http://n:9696' } }, 'endpoints.compute'],
    [{ poll: { changesSeconds: 0 } }, 'poll.changesSeconds'],
    [{ endpoints: { network: 'neutron:9696' } }, 'endpoints.network'],
    [{ deviceOwner: 'compute:nova' }, 'deviceOwner'],
    [
      { notifications: { hosts: ['amqp://r:5672'], username: 'u', password: 'hush' } },
      'notifications.hosts.0',
    ],
  ];
  for (const [change, field] of cases) {
    const error = refused({ ...good, ...change });
    assert.equal(error.field, field);
    if (field !== 'auth.url') assert.equal(error.message.includes('hush'), false, error.message);
  }
});
