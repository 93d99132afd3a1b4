import assert from 'node:assert/strict';
import { test } from 'node:test';
import { makeTable } from '@causeway/bgp/testing';
import {
  sampleDown,
  sampleInitiation,
  sampleNotification,
  samplePeer,
  sampleRoutes,
  sampleUp,
} from '@causeway/bmp/testing';
import { EventStreams } from '@causeway/daemon';
import { Rig } from '../testing/rig.ts';
import { stationApi } from './api.ts';
import type { StationEvent } from './station.ts';

function served(rig: Rig) {
  const streams = new EventStreams<StationEvent>({ buffer: 10, readers: 1 });
  const app = stationApi({
    station: rig.station,
    streams,
    about: () => ({ ready: true }),
    now: () => rig.now,
    onError: (error) => assert.fail(String(error)),
  });
  const get = async (path: string): Promise<{ status: number; body: unknown }> => {
    const response = await app.request(path);
    return { status: response.status, body: await response.json() };
  };
  return { get, app, streams };
}

function filled(): Rig {
  const rig = new Rig();
  const router = rig.connect('192.0.2.1');
  rig.feed(router, sampleInitiation('r1'));
  for (const index of [0, 1]) {
    const peer = samplePeer(index);
    const table = [...makeTable({ family: peer.family, routes: 25, seed: 9 })];
    rig.feed(router, sampleUp(peer), ...sampleRoutes(peer, 'in-pre', table));
  }
  const notification = sampleNotification(4, 0);
  rig.feed(router, sampleDown(samplePeer(1), { type: 'local-notification', notification }));
  rig.pass(3000);
  return rig;
}

test('every question has an answer, in JSON', async () => {
  using rig = filled();
  const { get } = served(rig);
  const status = (await get('/v1/status')).body as Record<string, unknown>;
  assert.deepEqual([status.ready, status.routers, status.peersUp, status.routes], [true, 1, 1, 25]);
  const routers = (await get('/v1/routers')).body as Record<string, unknown>[];
  assert.deepEqual(
    routers.map(({ name, connected, peers, peersUp, routes }) => [
      name,
      connected,
      peers,
      peersUp,
      routes,
    ]),
    [['r1', true, 2, 1, 25]],
  );
  const down = (await get('/v1/peers?state=down')).body as { lastDown: { cause: object } }[];
  assert.equal(down.length, 1);
  assert.deepEqual((down[0]!.lastDown.cause as { why: string }).why, 'hold-timer');
  const page = (await get('/v1/routes?router=r1&limit=10')).body as {
    rows: unknown[];
    next?: number;
  };
  assert.equal(page.rows.length, 10);
  const rest = (await get(`/v1/routes?router=r1&limit=100&cursor=${page.next}`))
    .body as typeof page;
  assert.deepEqual([rest.rows.length, rest.next], [15, undefined]);
  assert.equal(((await get('/v1/routes?router=r9')).body as typeof page).rows.length, 0);
  const events = (await get('/v1/events?type=peer-up,peer-down&since=1h')).body as {
    type: string;
    id: number;
  }[];
  assert.deepEqual(
    events.map(({ type }) => type),
    ['peer-down', 'peer-up', 'peer-up'],
  );
  const lost = (await get(`/v1/events/${events[0]!.id}/prefixes`)).body as {
    change: string;
    prefix: string;
  }[];
  assert.equal(lost.length, 25);
  assert.equal(lost[0]?.change, 'lost');
  const [fault] = (await get('/v1/faults')).body as {
    id: number;
    headline: string;
    openedAt: string;
  }[];
  assert.match(fault!.headline, /hold-timer/);
  assert.match(fault!.openedAt, /^20.*Z$/);
  assert.equal(((await get(`/v1/faults/${fault!.id}/prefixes`)).body as unknown[]).length, 25);
  assert.equal(((await get(`/v1/faults/${fault!.id}`)).body as { id: number }).id, fault!.id);
  const why = (await get(`/v1/why?prefix=${encodeURIComponent(lost[0]!.prefix)}`)).body as {
    verdict: string;
    faults: unknown[];
    flaps: { times: number }[];
  };
  assert.match(why.verdict, /^nobody has it.*r1 lost it at .* \(hold-timer\)$/);
  assert.deepEqual([why.faults.length, why.flaps[0]?.times], [1, 1]);
});

/** Path, status, the field that is named. */
const refusals: readonly (readonly [string, number, string | undefined])[] = [
  ['/v1/nothing', 404, 'path'],
  ['/v1/faults/77', 404, 'fault'],
  ['/v1/faults/x', 400, '(body)'],
  ['/v1/events/0/prefixes', 400, '(body)'],
  ['/v1/why', 400, 'prefix'],
  ['/v1/why?prefix=10.0.0.0%2F33', 400, 'prefix'],
  ['/v1/why?prefix=10.0.0.0%2F8&since=yesterday', 400, 'since'],
  ['/v1/routes?limit=0', 400, 'limit'],
  ['/v1/routes?limit=1000000', 400, 'limit'],
  ['/v1/routes?view=sideways', 400, 'view'],
  ['/v1/routes?family=ipx', 400, 'family'],
  ['/v1/routes?routr=r1', 400, 'routr'],
  ['/v1/events?type=peer-down,nonsense', 400, '(body)'],
  ['/v1/peers?state=sideways', 400, 'state'],
];
for (const [path, status, field] of refusals) {
  test(`refused: ${path}`, async () => {
    using rig = new Rig();
    const { get } = served(rig);
    const answer = await get(path);
    assert.equal(answer.status, status);
    assert.equal((answer.body as { error: { field?: string } }).error.field, field);
  });
}

test('events are streamed as they come', async () => {
  using rig = new Rig();
  const { app, streams } = served(rig);
  const response = await app.request('/v1/events/watch');
  const reader = response.body!.getReader();
  streams.publish({ id: 1, at: rig.now, type: 'router-up', router: 'r1', data: {} });
  const { value } = await reader.read();
  assert.equal((JSON.parse(Buffer.from(value!).toString()) as StationEvent).router, 'r1');
  await reader.cancel();
  assert.equal(streams.readers, 0);
});
