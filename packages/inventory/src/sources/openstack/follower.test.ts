import assert from 'node:assert/strict';
import { test } from 'node:test';
import { silentLog } from '@causeway/daemon';
import { flush, VirtualClock } from '@causeway/tables';
import { RecordingSink } from '../../../testing/index.ts';
import { openstackSource } from './config.ts';
import { Follower } from './follower.ts';
import type { Site } from './site.ts';
import { rarely } from './testing/follow.ts';

const config = openstackSource.parse({
  name: 'site',
  type: 'openstack',
  auth: { method: 'password', url: 'http://[::1]/v3', username: 'u', password: 'p', project: 'p' },
  region: 'one',
  poll: rarely,
});

test('a list that is called for while it is being made is made once more, for it may be too old', async () => {
  const asked: string[] = [];
  const empty = { objects: [], unknown: new Map<string, string>(), serverTime: 1 };
  let once = '';
  const answer = <T>(list: string, value: T) => {
    asked.push(list);
    if (once === list) {
      once = '';
      follower.lookAgain();
    }
    return Promise.resolve(value);
  };
  const site = {
    names: () => answer('names', { networks: new Map(), projects: new Map() }),
    ports: () => answer('ports', empty),
    servers: () => answer('servers', empty),
    serversChangedSince: () => answer('changed servers', empty),
    portsChangedSince: () => answer('changed ports', empty),
    roll: () => answer('roll', []),
  } as unknown as Site;
  const follower = new Follower({
    ...{ config, site, sink: new RecordingSink(), clock: new VirtualClock() },
    ...{ random: Math.random, log: silentLog },
  });
  const stop = new AbortController();
  let running: Promise<void> | undefined;
  const since = async (list: string, begin: () => void) => {
    asked.length = 0;
    once = list;
    begin();
    await flush();
    return asked.join(', ');
  };
  const again = 'changed servers, changed ports, roll';
  const start = () => {
    running = follower.run(stop.signal);
  };
  assert.equal(await since('ports', start), `names, ports, servers, ${again}`);
  const lookAgain = () => follower.lookAgain();
  assert.equal(await since('changed ports', lookAgain), `changed servers, changed ports, ${again}`);
  assert.equal(await since('roll', lookAgain), `${again}, ${again}`);
  assert.equal(await since('', lookAgain), again);
  stop.abort();
  await running;
});
