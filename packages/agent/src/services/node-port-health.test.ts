import assert from 'node:assert/strict';
import { once } from 'node:events';
import http from 'node:http';
import net from 'node:net';
import { test } from 'node:test';
import { silentLog } from '@causeway/daemon';
import { systemClock } from '@causeway/etcd';
import { freePort } from '@causeway/etcd/testing';
import { NodePortHealthServers } from './node-port-health.ts';

async function until<T>(ask: () => Promise<T | undefined>): Promise<T> {
  for (;;) {
    const answer = await ask().catch(() => undefined);
    if (answer !== undefined) return answer;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

interface Body {
  readonly service: { readonly name: string };
  readonly localEndpoints: number;
}

const ask = (port: number, host = '127.0.0.1') =>
  until(async () => {
    const response = await fetch(`http://${host}:${port}/healthz`);
    const weight = response.headers.get('x-load-balancing-endpoint-weight');
    return { status: response.status, weight, body: (await response.json()) as Body };
  });

test('it answers as kube-proxy does, in both families, and follows the backends', async () => {
  await using servers = new NodePortHealthServers({ clock: systemClock, log: silentLog });
  const port = await freePort('::');
  const service = { namespace: 'shop', name: 'web', port };
  servers.set([{ ...service, localEndpoints: 2 }]);
  const healthy = {
    status: 200,
    weight: '2',
    body: {
      service: { namespace: 'shop', name: 'web' },
      localEndpoints: 2,
      serviceProxyHealthy: true,
    },
  };
  assert.deepEqual(await ask(port), healthy);
  assert.deepEqual(await ask(port, '[::1]'), healthy);
  servers.set([{ ...service, localEndpoints: 0 }]);
  const { status, weight, body } = await ask(port);
  assert.deepEqual([status, weight, body.localEndpoints], [503, '0', 0]);
  servers.set([]);
  await until(async () => {
    try {
      await fetch(`http://127.0.0.1:${port}/`);
      return undefined;
    } catch {
      return true;
    }
  });
  assert.deepEqual(servers.problems(), []);
});

test('a port that another has is told of, and two services with one port are', async () => {
  const other = net.createServer().listen(0);
  await once(other, 'listening');
  const { port } = other.address() as net.AddressInfo;
  await using servers = new NodePortHealthServers({ clock: systemClock, log: silentLog });
  servers.set([{ namespace: 'shop', name: 'web', port, localEndpoints: 1 }]);
  const [problem] = await until(async () =>
    servers.problems().length > 0 ? servers.problems() : undefined,
  );
  assert.match(problem!, new RegExp(`health check port ${port} of shop/web: .*EADDRINUSE`));
  servers.set([]);
  await new Promise((resolve) => other.close(resolve));
  const free = await freePort('::');
  servers.set([
    { namespace: 'shop', name: 'a', port: free, localEndpoints: 1 },
    { namespace: 'shop', name: 'b', port: free, localEndpoints: 1 },
  ]);
  assert.deepEqual(servers.problems(), [`port ${free} of shop/b is shop/a's`]);
  assert.equal((await ask(free)).body.service.name, 'a');
});

test('a connection that could not be taken does not make a port that is open be opened again', async (t) => {
  const made: http.Server[] = [];
  const create = http.createServer as (...of: unknown[]) => http.Server;
  t.mock.method(http, 'createServer', (...of: unknown[]) => {
    const server = create(...of);
    made.push(server);
    return server;
  });
  const waits: (() => void)[] = [];
  const clock = {
    ...systemClock,
    now: () => 0,
    sleep: () => new Promise<void>((done) => waits.push(done)),
  };
  await using servers = new NodePortHealthServers({ clock, log: silentLog });
  const port = await freePort('::');
  servers.set([{ namespace: 'shop', name: 'web', port, localEndpoints: 1 }]);
  await ask(port);
  const opened = t.mock.method(made[0]!, 'listen');
  made[0]!.emit('error', new Error('accept EMFILE'));
  assert.match(servers.problems()[0]!, /EMFILE/);
  for (const done of waits) done();
  assert.deepEqual(await until(async () => (servers.problems().length === 0 ? [] : undefined)), []);
  assert.equal(opened.mock.callCount(), 0);
  assert.equal((await ask(port)).status, 200);
});
