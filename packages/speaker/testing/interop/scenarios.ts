/**
 * What must work with every router, as one table of tests: each file in ../../interop names a router and gets them all.
 * What a router cannot do is skipped with its reason, which the run lists at its end.
 */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { eventually } from '../process.ts';
import type { Ability, ForeignKind } from './foreign.ts';
import { pings } from './ping.ts';
import {
  ALL_SESSIONS,
  C_OUTER_ROUTES,
  C_ROUTES,
  FAMILIES,
  FAR_ASN,
  type Family,
  INNER_DOUBLE_ROUTES,
  OUR_ASN,
  OUR_ATTRIBUTES,
  OUR_DOUBLE_ROUTES,
  OUR_IDS,
  OUR_MOVING_ROUTES,
  OUR_ROUTES,
  OUR_SHORT_ASN,
  oursOf,
  R_ROUTES,
  type RouteText,
  type SessionPlan,
  THEIR_ASN,
  THEIR_ATTRIBUTES,
  THEIR_FAR_ROUTES,
  THEIR_ID,
  THEIR_MOVING_ROUTES,
  THEIR_ROUTES,
  THROUGH_ROUTES,
  theirsOf,
} from './plan.ts';
import { InteropSite, pathsOf } from './site.ts';

const MANY_COMMUNITIES = Array.from({ length: 1100 }, (_, index) => `65010:${1000 + index}`);
/** Far more than anything here takes on a busy machine. */
const PATIENCE_MS = 30_000;
const LONG_ROUTE = '192.0.8.0/24';

const host = (prefix: string): string => prefix.replace('.0/24', '.1').replace('::/48', '::1');

function find(routes: readonly RouteText[], prefix: string): RouteText | undefined {
  return routes.find((route) => route.prefix === prefix);
}

export function interopTests(kind: ForeignKind): void {
  let site: InteropSite;
  const session = (key: string): SessionPlan => {
    const plan = ALL_SESSIONS.find((one) => one.key === key);
    if (plan === undefined) throw new Error(`no session ${key}`);
    return plan;
  };
  /** A test that is skipped aloud where the router lacks one of the abilities. */
  const scenario = (name: string, needs: readonly Ability[], run: () => Promise<void>): void => {
    const missing = needs.filter((ability) => kind.lacks[ability] !== undefined);
    const why = missing.map((ability) => kind.lacks[ability]).join('; ');
    test(`${kind.name}: ${name}`, { skip: why === '' ? false : why, timeout: 120_000 }, run);
  };
  /** Waits for a route of ours at theirs. */
  const atTheirs = (
    plan: SessionPlan,
    family: Family,
    prefix: string,
    holds: (route: RouteText) => boolean = () => true,
  ): Promise<RouteText> =>
    eventually(
      `${prefix} with what is asked, of session ${plan.key}, at ${kind.name}`,
      async () => {
        const route = find(await site.foreign.received(plan, family), prefix);
        return route !== undefined && holds(route) ? route : undefined;
      },
      PATIENCE_MS,
      async () => JSON.stringify(await site.foreign.received(plan, family)),
    );
  const atOurs = (plan: SessionPlan, family: Family, prefix: string): Promise<RouteText> =>
    eventually(
      `${prefix} of session ${plan.key} at ours`,
      async () => find(await site.routes(plan, 'received', family), prefix),
      PATIENCE_MS,
      async () => JSON.stringify(await site.routes(plan, 'received', family)),
    );
  const goneAtOurs = (plan: SessionPlan, family: Family, prefix: string): Promise<true> =>
    eventually(
      `${prefix} of session ${plan.key} is gone at ours`,
      async () =>
        find(await site.routes(plan, 'received', family), prefix) === undefined || undefined,
    );
  const goneAtTheirs = (plan: SessionPlan, family: Family, prefix: string): Promise<true> =>
    eventually(
      `${prefix} of session ${plan.key} is gone at ${kind.name}`,
      async () =>
        find(await site.foreign.received(plan, family), prefix) === undefined || undefined,
    );

  before(async () => {
    site = new InteropSite(kind);
    await site.start();
  });
  after(async () => {
    await site[Symbol.asyncDispose]();
  });

  const NEEDS: Readonly<Record<string, readonly Ability[]>> = {
    md5: ['md5'],
    md5v6: ['md5', 'md5-ipv6'],
    ttl: ['ttl-security'],
    ttlv6: ['ttl-security'],
    restart: ['graceful-restart-helper'],
    addpath: ['add-path'],
    nexthop: ['extended-next-hop'],
    old: ['old-speaker'],
    dyntheirs: ['dynamic-neighbors'],
    reflector: ['reflector'],
  };
  for (const plan of ALL_SESSIONS) {
    const opener = { ours: 'we connect', theirs: 'they connect', both: 'both connect' }[plan.opens];
    scenario(`session ${plan.key} comes up (${opener})`, NEEDS[plan.key] ?? [], async () => {
      const { negotiated } = await site.up(plan);
      assert.equal(negotiated?.peerAsn, THEIR_ASN);
      if (!plan.oldSpeaker) assert.equal(negotiated?.routeRefresh, true);
      if (plan.holdTime !== undefined) assert.equal(negotiated?.holdTime, plan.holdTime);
      assert.equal(negotiated?.fourOctetAs, !plan.oldSpeaker);
    });
  }

  scenario('their routes arrive with all they carry', [], async () => {
    for (const key of ['plain4', 'plain6'])
      for (const family of FAMILIES) {
        const plan = session(key);
        const route = await atOurs(plan, family, THEIR_ROUTES[family]);
        assert.deepEqual(route.asPath, [THEIR_ASN]);
        assert.equal(route.med, THEIR_ATTRIBUTES.med);
        assert.deepEqual(route.communities, THEIR_ATTRIBUTES.communities);
        assert.deepEqual(route.largeCommunities, THEIR_ATTRIBUTES.largeCommunities);
        assert.deepEqual(route.extendedCommunities, THEIR_ATTRIBUTES.extendedCommunities);
        if (plan.transport === family) assert.equal(route.nextHop, theirsOf(plan));
      }
  });

  scenario('our routes arrive with all they carry', [], async () => {
    for (const key of ['plain4', 'plain6'])
      for (const family of FAMILIES) {
        const plan = session(key);
        const route = await atTheirs(plan, family, OUR_ROUTES[family]);
        assert.deepEqual(route.asPath, [OUR_ASN]);
        assert.equal(route.med, OUR_ATTRIBUTES.med);
        assert.deepEqual(route.communities, OUR_ATTRIBUTES.communities);
        assert.deepEqual(route.largeCommunities, OUR_ATTRIBUTES.largeCommunities);
        assert.deepEqual(route.extendedCommunities, OUR_ATTRIBUTES.extendedCommunities);
        if (plan.transport === family) assert.equal(route.nextHop, oursOf(plan));
      }
  });

  scenario('they announce and withdraw', [], async () => {
    await site.foreign.announceMoving();
    for (const family of FAMILIES)
      await atOurs(session('plain4'), family, THEIR_MOVING_ROUTES[family]);
    await site.foreign.withdrawMoving();
    for (const family of FAMILIES)
      await goneAtOurs(session('plain4'), family, THEIR_MOVING_ROUTES[family]);
  });

  scenario('we announce and withdraw', [], async () => {
    const { client } = site.ours.A;
    const paths = pathsOf('A').interop ?? [];
    const moving = FAMILIES.map((family) => ({ prefix: OUR_MOVING_ROUTES[family], med: 1 }));
    await client.ask('PUT', '/v1/paths/interop', [...paths, ...moving]);
    for (const family of FAMILIES)
      await atTheirs(session('plain6'), family, OUR_MOVING_ROUTES[family]);
    await client.ask('PUT', '/v1/paths/interop', paths);
    for (const family of FAMILIES)
      await goneAtTheirs(session('plain6'), family, OUR_MOVING_ROUTES[family]);
  });

  scenario('several paths of a prefix, both ways (RFC 7911)', ['add-path'], async () => {
    const plan = session('addpath');
    const { negotiated } = await site.up(plan);
    for (const family of negotiated?.families ?? []) {
      assert.equal(family.addPathSend, true, family.family);
      assert.equal(family.addPathReceive, true, family.family);
    }
    for (const family of FAMILIES) {
      const meds = await eventually(
        `two paths of ${OUR_DOUBLE_ROUTES[family]} at ${kind.name}`,
        async () => {
          const routes = await site.foreign.received(plan, family);
          const own = routes.filter((route) => route.prefix === OUR_DOUBLE_ROUTES[family]);
          return own.length === 2 ? own.map((route) => route.med).sort() : undefined;
        },
        PATIENCE_MS,
        async () => JSON.stringify(await site.foreign.received(plan, family)),
      );
      assert.deepEqual(meds, [70, 71]);
      if (kind.lacks.reflector !== undefined) continue;
      await eventually(
        `two paths of ${INNER_DOUBLE_ROUTES[family]} at ours`,
        async () => {
          const routes = await site.routes(plan, 'received', family);
          const own = routes.filter((route) => route.prefix === INNER_DOUBLE_ROUTES[family]);
          return new Set(own.map((route) => route.pathId)).size >= 2 ? true : undefined;
        },
        PATIENCE_MS,
        async () => JSON.stringify(await site.routes(plan, 'received', family)),
      );
    }
  });

  scenario('IPv4 routes by IPv6 next hops (RFC 8950)', ['extended-next-hop'], async () => {
    const plan = session('nexthop');
    const theirs = await atOurs(plan, 'ipv4', THEIR_ROUTES.ipv4);
    assert.equal(theirs.nextHop, theirsOf(plan));
    const ours = await atTheirs(plan, 'ipv4', OUR_ROUTES.ipv4);
    assert.equal(ours.nextHop, oursOf(plan));
  });

  scenario('long AS numbers pass a speaker of two octets (RFC 6793)', ['old-speaker'], async () => {
    const plan = session('old');
    if (kind.lacks['originates-long-paths'] === undefined) {
      const theirs = await atOurs(plan, 'ipv4', THEIR_FAR_ROUTES.ipv4);
      assert.deepEqual(theirs.asPath, [THEIR_ASN, FAR_ASN]);
    }
    if (kind.lacks.reflector === undefined) {
      const through = await atOurs(plan, 'ipv4', THROUGH_ROUTES.ipv4);
      assert.deepEqual(through.asPath, [THEIR_ASN, FAR_ASN]);
    }
    const ours = await atTheirs(plan, 'ipv4', OUR_ROUTES.ipv4);
    const behind = kind.lacks['merges-as4-path'] === undefined ? OUR_ASN : 23_456;
    assert.deepEqual(ours.asPath, [OUR_SHORT_ASN, behind]);
  });

  scenario('messages of more than 4096 bytes (RFC 8654)', ['extended-messages'], async () => {
    const plan = session('plain6');
    assert.equal((await site.up(plan)).negotiated?.maxMessage, 65_535);
    const paths = pathsOf('A').interop ?? [];
    const long = { prefix: LONG_ROUTE, communities: MANY_COMMUNITIES };
    await site.ours.A.client.ask('PUT', '/v1/paths/interop', [...paths, long]);
    const route = await atTheirs(plan, 'ipv4', LONG_ROUTE);
    if (kind.lacks['prints-long-lists'] === undefined)
      assert.equal(route.communities.length, MANY_COMMUNITIES.length);
    // A neighbour that takes short messages only is not sent it, and its session stands.
    const plain = session('plain4');
    assert.equal(find(await site.foreign.received(plain, 'ipv4'), LONG_ROUTE), undefined);
    assert.equal((await site.peer(plain)).state, 'established');
    await site.ours.A.client.ask('PUT', '/v1/paths/interop', paths);
    await goneAtTheirs(plan, 'ipv4', LONG_ROUTE);
  });

  scenario('they ask for everything again (RFC 2918)', ['route-refresh-ask'], async () => {
    const plan = session('plain4');
    const before = (await site.peer(plan)).messages.updatesOut;
    await site.foreign.refresh(plan);
    await eventually(
      'our routes were sent again',
      async () => (await site.peer(plan)).messages.updatesOut > before || undefined,
      PATIENCE_MS,
      async () => JSON.stringify(await site.peer(plan)),
    );
    for (const family of FAMILIES) await atTheirs(plan, family, OUR_ROUTES[family]);
    assert.equal((await site.peer(plan)).state, 'established');
  });

  scenario('we ask for everything again', ['route-refresh-answer'], async () => {
    const plan = session('plain4');
    const before = await site.peer(plan);
    await site.ours.A.client.ask('POST', `/v1/peers/${plan.key}/reset`, { how: 'refresh' });
    await eventually(
      'their routes were sent again',
      async () =>
        (await site.peer(plan)).messages.updatesIn > before.messages.updatesIn || undefined,
      PATIENCE_MS,
      async () => JSON.stringify(await site.peer(plan)),
    );
    // With enhanced refresh what was not sent again would be swept now; nothing may be.
    for (const family of FAMILIES) await atOurs(plan, family, THEIR_ROUTES[family]);
    assert.equal((await site.peer(plan)).ups, before.ups);
  });

  scenario('enhanced refresh is agreed (RFC 7313)', ['enhanced-refresh'], async () => {
    assert.equal((await site.up(session('plain4'))).negotiated?.enhancedRouteRefresh, true);
  });

  scenario('our NOTIFICATION brings its text to them (RFC 9003)', [], async () => {
    const plan = session(kind.lacks['connects-again-soon'] === undefined ? 'plain6' : 'plain4');
    const { ups } = await site.peer(plan);
    const text = 'moving to rack 7';
    await site.ours.A.client.ask('POST', `/v1/peers/${plan.key}/reset`, { how: 'hard', text });
    if (kind.lacks['tells-our-text'] === undefined)
      await eventually(
        `${kind.name} tells our text`,
        async () => tells(await site.foreign.lastFall(plan), text) || undefined,
        PATIENCE_MS,
        () => site.foreign.lastFall(plan),
      );
    await eventually(
      'the session is up again',
      async () => {
        const peer = await site.peer(plan);
        return peer.state === 'established' && peer.ups > ups ? true : undefined;
      },
      PATIENCE_MS,
    );
  });

  scenario('their NOTIFICATION arrives with its reason', [], async () => {
    const plan = session('plain4');
    const text = 'maintenance of the spine';
    const { downs, ups } = await site.up(plan);
    await site.foreign.shutDown(plan, text);
    const reason = await eventually(
      'we know who ended it, and why',
      async () => {
        const peer = await site.peer(plan);
        return peer.downs === downs ? undefined : peer.lastDown;
      },
      PATIENCE_MS,
    );
    assert.equal(reason.by, 'remote');
    assert.equal(reason.why, 'notification');
    assert.equal(reason.notification?.code, 6);
    assert.equal(reason.notification?.subcode, 2);
    if (kind.lacks['shutdown-text'] === undefined) assert.equal(reason.notification?.text, text);
    // Nothing is claimed about a session that is down; some routers have it up again within a moment.
    const advertised = await site.routes(plan, 'advertised', 'ipv4');
    if ((await site.peer(plan)).ups === ups) assert.deepEqual(advertised, []);
    await site.foreign.bringUp(plan);
    await site.up(plan);
  });

  scenario('whoever does not sign with MD5 gets no connection', ['md5'], async () => {
    const plan = session('md5');
    await site.up(plan);
    // Their side of the socket, unsigned: a listener with MD5 answers nothing at all.
    const answer = site.theirNamespace.run(
      'sh',
      '-c',
      `timeout 1 bash -c 'exec 3<>/dev/tcp/${oursOf(plan)}/179 && echo open' 2>/dev/null || echo closed`,
    );
    assert.equal(answer.trim(), 'closed');
  });

  scenario('we reflect their routes to our clients (RFC 4456)', [], async () => {
    const inner = await eventually(
      'C has their route from R',
      async () => find(await site.routesOf('C', 'R', 'received', 'ipv4'), THEIR_ROUTES.ipv4),
      PATIENCE_MS,
      async () => JSON.stringify(await site.routesOf('C', 'R', 'received', 'ipv4')),
    );
    assert.equal(inner.originatorId, THEIR_ID);
    assert.deepEqual(inner.clusterList, [OUR_IDS.R]);
    for (const family of FAMILIES) {
      const route = await atTheirs(session('client'), family, C_ROUTES[family]);
      assert.equal(route.originatorId, OUR_IDS.C);
      // A reflector may show its own number in front already.
      assert.equal(route.clusterList?.at(-1), OUR_IDS.R);
    }
  });

  scenario('they reflect our routes', ['reflector'], async () => {
    for (const family of FAMILIES) {
      const atR = await atOurs(session('client'), family, C_OUTER_ROUTES[family]);
      if (kind.lacks['marks-for-non-clients'] === undefined) {
        assert.equal(atR.originatorId, OUR_IDS.C);
        assert.deepEqual(atR.clusterList, [THEIR_ID]);
      }
      const atC = await atOurs(session('reflector'), family, R_ROUTES[family]);
      assert.equal(atC.originatorId, OUR_IDS.R);
      assert.deepEqual(atC.clusterList, [THEIR_ID]);
    }
  });

  scenario('their silence ends the session when the hold time is over', [], async () => {
    const plan = session('hold');
    await site.up(plan);
    const processes = site.foreign.process.pids();
    for (const pid of processes) process.kill(pid, 'SIGSTOP');
    try {
      const reason = await eventually(
        'our hold timer ends it',
        async () => {
          const peer = await site.peer(plan);
          return peer.state === 'established' ? undefined : peer.lastDown;
        },
        PATIENCE_MS,
      );
      assert.equal(reason.by, 'local');
      assert.equal(reason.why, 'hold-timer');
      assert.equal(reason.notification?.code, 4);
    } finally {
      for (const pid of processes) process.kill(pid, 'SIGCONT');
    }
  });

  scenario('our silence ends the session in their eyes', [], async () => {
    const plan = session('hold');
    await site.up(plan);
    const { pid } = site.ours.A.process;
    process.kill(pid, 'SIGSTOP');
    try {
      await eventually(
        `${kind.name} gives the session up`,
        async () => !(await site.foreign.established(plan)) || undefined,
        PATIENCE_MS,
      );
    } finally {
      process.kill(pid, 'SIGCONT');
    }
    let seen = '';
    const reason = await eventually(
      'we are told so',
      async () => {
        const { state, lastDown } = await site.peer(plan);
        seen = JSON.stringify({ state, lastDown });
        return lastDown?.by === 'remote' && lastDown.established ? lastDown : undefined;
      },
      PATIENCE_MS,
      () => seen,
    );
    assert.equal(reason.notification?.code, 4);
  });

  scenario(
    'our crash and return cost their traffic nothing (RFC 4724)',
    ['graceful-restart-helper', 'kernel-routes'],
    async () => {
      const plan = session('restart');
      await site.up(plan);
      for (const family of FAMILIES) await atTheirs(plan, family, OUR_ROUTES[family]);
      await using stack = new AsyncDisposableStack();
      const flows = FAMILIES.map((family) =>
        stack.use(pings(site.theirNamespace, site.directory, host(OUR_ROUTES[family]))),
      );
      await pause(500);
      await site.ours.A.process.stop('SIGKILL');
      await pause(1500);
      await site.ours.A.start();
      await site.up(plan);
      for (const family of FAMILIES) await atTheirs(plan, family, OUR_ROUTES[family]);
      await pause(1000);
      for (const flow of flows) await nothingLost(flow);
      for (const other of site.sessions) await site.up(other);
    },
  );

  scenario('they keep our routes while we are away', ['graceful-restart-helper'], async () => {
    const plan = session('restart');
    await site.up(plan);
    await atTheirs(plan, 'ipv4', OUR_ROUTES.ipv4);
    await site.ours.A.process.stop('SIGKILL');
    await pause(1000);
    for (const family of FAMILIES)
      assert.notEqual(
        find(await site.foreign.received(plan, family), OUR_ROUTES[family]),
        undefined,
      );
    await site.ours.A.start();
    await site.up(plan);
    for (const family of FAMILIES) await atTheirs(plan, family, OUR_ROUTES[family]);
  });

  scenario(
    'their crash and return cost our traffic nothing',
    ['graceful-restart-restarting', 'kernel-routes'],
    async () => {
      const plan = session('restart');
      await site.up(plan);
      for (const family of FAMILIES) await atOurs(plan, family, THEIR_ROUTES[family]);
      await using stack = new AsyncDisposableStack();
      const flows = FAMILIES.map((family) =>
        stack.use(pings(site.ourNamespace, site.directory, host(THEIR_ROUTES[family]))),
      );
      await pause(500);
      await site.foreign.crash();
      await eventually('the routes stand as stale', async () => {
        const { families } = await site.peer(plan);
        return families.every((family) => family.stale > 0) || undefined;
      });
      await pause(1500);
      await site.foreign.startAgain();
      await site.up(plan);
      await eventually(
        'none is stale any more',
        async () =>
          (await site.peer(plan)).families.every((family) => family.stale === 0) || undefined,
        PATIENCE_MS,
        async () => JSON.stringify(await site.peer(plan)),
      );
      for (const family of FAMILIES) await atOurs(plan, family, THEIR_ROUTES[family]);
      await pause(500);
      for (const flow of flows) await nothingLost(flow);
    },
  );
}

async function nothingLost(flow: ReturnType<typeof pings>): Promise<void> {
  const { sent, lost } = await flow.stop();
  assert.ok(sent > 100, `only ${sent} packets were sent`);
  assert.equal(lost, 0, `${lost} of ${sent} packets were lost`);
}

/** Some print it as it is, some as hexadecimal or as numbers of bytes. */
function tells(told: string, text: string): boolean {
  const hex = Buffer.from(text).toString('hex');
  const numbers = [...Buffer.from(text)].join(' ');
  return told.includes(text) || told.toLowerCase().includes(hex) || told.includes(numbers);
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
