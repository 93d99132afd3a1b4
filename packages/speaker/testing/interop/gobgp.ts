import { type RunningRouter, startGobgp } from '../routers/start.ts';
import type { Foreign, ForeignKind, ForeignStart } from './foreign.ts';
import {
  asnSeenBy,
  FAMILIES,
  FAR_ASN,
  type Family,
  oursOf,
  type RouteText,
  type SessionPlan,
  THEIR_ASN,
  THEIR_ATTRIBUTES,
  THEIR_FAR_ROUTES,
  THEIR_ID,
  THEIR_MOVING_ROUTES,
  THEIR_ROUTES,
  theirsOf,
} from './plan.ts';

function neighbor(plan: SessionPlan): object {
  return {
    config: {
      ...(plan.dynamic === 'theirs'
        ? { 'peer-group-name': `range-${plan.key}` }
        : { 'neighbor-address': oursOf(plan) }),
      'peer-as': asnSeenBy(plan),
      ...(plan.password ? { 'auth-password': plan.password } : {}),
    },
    transport: {
      config: {
        'local-address': theirsOf(plan),
        'passive-mode': plan.opens === 'ours',
      },
    },
    timers: {
      config: {
        'connect-retry': 1,
        'idle-hold-time-after-reset': 1,
        'hold-time': plan.holdTime ?? 90,
        'keepalive-interval': plan.holdTime ? 1 : 30,
      },
    },
    ...(plan.ttlSecurity ? { 'ttl-security': { config: { enabled: true, 'ttl-min': 255 } } } : {}),
    ...(plan.gracefulRestart
      ? {
          'graceful-restart': {
            config: { enabled: true, 'restart-time': 30, 'deferral-time': 10 },
          },
        }
      : {}),
    ...(plan.reflector === 'theirs'
      ? {
          'route-reflector': {
            config: { 'route-reflector-client': true, 'route-reflector-cluster-id': THEIR_ID },
          },
        }
      : {}),
    'afi-safis': FAMILIES.map((family) => ({
      config: { 'afi-safi-name': `${family}-unicast` },
      ...(plan.addPath ? { 'add-paths': { config: { receive: true, 'send-max': 8 } } } : {}),
      ...(plan.gracefulRestart ? { 'mp-graceful-restart': { config: { enabled: true } } } : {}),
    })),
  };
}

function config({ sessions }: ForeignStart): string {
  const ranges = sessions.filter((plan) => plan.dynamic === 'theirs');
  const nextHops = sessions.filter((plan) => plan.speaker === 'A' && !plan.extendedNextHop);
  return JSON.stringify({
    global: {
      config: { as: THEIR_ASN, 'router-id': THEIR_ID, port: 179 },
      'apply-policy': {
        config: { 'export-policy-list': ['next-hops'], 'default-export-policy': 'accept-route' },
      },
    },
    // By itself it sends a next hop of the session's family for routes of the other one as well.
    'defined-sets': {
      'neighbor-sets': nextHops.map((plan) => ({
        'neighbor-set-name': plan.key,
        'neighbor-info-list': [oursOf(plan)],
      })),
    },
    'policy-definitions': [
      {
        name: 'next-hops',
        statements: nextHops.map((plan) => ({
          name: `to-${plan.key}`,
          conditions: {
            'match-neighbor-set': { 'neighbor-set': plan.key },
            'bgp-conditions': {
              'afi-safi-in-list': [plan.transport === 'ipv4' ? 'ipv6-unicast' : 'ipv4-unicast'],
            },
          },
          actions: {
            'route-disposition': 'none',
            'bgp-actions': {
              'set-next-hop':
                plan.transport === 'ipv4' ? `fd90:${plan.number}::2` : `10.90.${plan.number}.2`,
            },
          },
        })),
      },
    ],
    neighbors: sessions.filter((plan) => plan.dynamic !== 'theirs').map(neighbor),
    'peer-groups': ranges.map(neighbor),
    'dynamic-neighbors': ranges.map((plan) => ({
      config: {
        prefix:
          plan.transport === 'ipv4' ? `10.90.${plan.number}.0/24` : `fd90:${plan.number}::/64`,
        'peer-group': `range-${plan.key}`,
      },
    })),
  });
}

interface GobgpPath {
  readonly nlri: { readonly prefix: string };
  readonly attrs: readonly {
    readonly type: number;
    readonly nexthop?: string;
    readonly metric?: number;
    readonly value?: unknown;
    readonly communities?: readonly number[];
    readonly as_paths?: readonly { readonly asns: readonly number[] }[];
  }[];
  readonly id?: number;
}

function routeOf(path: GobgpPath): RouteText {
  const find = (type: number) => path.attrs.find((attribute) => attribute.type === type);
  const nextHop = find(3)?.nexthop ?? find(14)?.nexthop;
  const med = find(4)?.metric;
  const originator = find(9)?.value as string | undefined;
  const clusters = find(10)?.value as string[] | undefined;
  const preference = find(5)?.value as number | undefined;
  const large = (find(32)?.value ?? []) as {
    ASN: number;
    LocalData1: number;
    LocalData2: number;
  }[];
  const extended = (find(16)?.value ?? []) as { subtype?: number; value?: string }[];
  return {
    prefix: path.nlri.prefix,
    asPath: (find(2)?.as_paths ?? []).flatMap((segment) => segment.asns),
    communities: (find(8)?.communities ?? []).map((value) => `${value >>> 16}:${value & 0xffff}`),
    largeCommunities: large.map((one) => `${one.ASN}:${one.LocalData1}:${one.LocalData2}`),
    extendedCommunities: extended.map(
      (one) => `${one.subtype === 2 ? 'rt' : one.subtype}:${one.value}`,
    ),
    ...(nextHop === undefined ? {} : { nextHop }),
    ...(med === undefined ? {} : { med }),
    ...(preference === undefined ? {} : { localPreference: preference }),
    ...(originator === undefined ? {} : { originatorId: originator }),
    ...(clusters === undefined ? {} : { clusterList: clusters }),
    ...(path.id === undefined ? {} : { pathId: path.id }),
  };
}

const LACKS = {
  'connects-again-soon': 'GoBGP waits for ten seconds; a session that we open is looked at instead',
  'marks-for-non-clients':
    'GoBGP reflects to non-clients without ORIGINATOR_ID and CLUSTER_LIST; that the route comes is looked at',
  'route-refresh-ask': 'GoBGP asks its own table again, not its neighbour',
  'kernel-routes': 'GoBGP itself puts nothing into the kernel',
  'old-speaker': 'GoBGP cannot leave out the capability for AS numbers of four octets',
  'extended-messages': 'GoBGP 3.10 does not know RFC 8654',
  'enhanced-refresh': 'GoBGP 3.10 does not mark the beginning and end of a refresh',
} as const;

export const gobgp: ForeignKind = {
  name: 'GoBGP',
  lacks: LACKS,
  async start(start): Promise<Foreign> {
    const open = async (flags: readonly string[]): Promise<RunningRouter> => {
      const router = await startGobgp({ ...start, config: config(start), flags });
      for (const family of FAMILIES) {
        await add(router, family, THEIR_ROUTES[family], false);
        await add(router, family, THEIR_FAR_ROUTES[family], true);
      }
      return router;
    };
    let router = await open([]);
    return {
      name: gobgp.name,
      lacks: gobgp.lacks,
      get process() {
        return router.processes[0]!;
      },
      established: async (plan) =>
        /BGP state = ESTABLISHED/i.test(await router.ask('neighbor', oursOf(plan)).catch(() => '')),
      received: async (plan, family) => {
        const table = JSON.parse(
          await router.ask('neighbor', oursOf(plan), 'adj-in', '-a', family, '-j'),
        ) as Record<string, GobgpPath[]> | GobgpPath[];
        return Object.values(table).flat().map(routeOf);
      },
      announceMoving: async () => {
        for (const family of FAMILIES)
          await add(router, family, THEIR_MOVING_ROUTES[family], false);
      },
      withdrawMoving: async () => {
        for (const family of FAMILIES)
          await router.ask('global', 'rib', 'del', '-a', family, THEIR_MOVING_ROUTES[family]);
      },
      refresh: async (plan) => {
        await router.ask('neighbor', oursOf(plan), 'softresetin');
      },
      shutDown: async (plan, text) => {
        await router.ask('neighbor', oursOf(plan), 'shutdown', '--reason', text);
      },
      bringUp: async (plan) => {
        await router.ask('neighbor', oursOf(plan), 'enable');
      },
      lastFall: async (plan) =>
        `${await router.ask('neighbor', oursOf(plan))}${router.processes[0]?.log}`,
      crash: async () => {
        await router.processes[0]?.stop('SIGKILL');
      },
      startAgain: async () => {
        router = await open(['-r']);
      },
      [Symbol.asyncDispose]: () => router[Symbol.asyncDispose](),
    };
  },
};

async function add(
  router: RunningRouter,
  family: Family,
  prefix: string,
  far: boolean,
): Promise<void> {
  const { communities, largeCommunities, extendedCommunities, med } = THEIR_ATTRIBUTES;
  await router.ask(
    'global',
    'rib',
    'add',
    '-a',
    family,
    prefix,
    'med',
    String(med),
    'community',
    communities.join(','),
    'large-community',
    largeCommunities.join(','),
    'rt',
    ...extendedCommunities.map((text) => text.replace('rt:', '')),
    ...(far ? ['aspath', String(FAR_ASN)] : []),
  );
}
