import { type RunningRouter, startOpenbgpd } from '../routers/start.ts';
import type { Foreign, ForeignKind, ForeignStart } from './foreign.ts';
import {
  asnSeenBy,
  FAMILIES,
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

function attributes(): string {
  const { communities, largeCommunities, extendedCommunities, med } = THEIR_ATTRIBUTES;
  return [
    ...communities.map((text) => `community ${text}`),
    ...largeCommunities.map((text) => `large-community ${text}`),
    ...extendedCommunities.map((text) => `ext-community ${text.replace(':', ' ')}`),
    `med ${med}`,
  ].join(' ');
}

function neighbor(plan: SessionPlan): string {
  const name =
    plan.dynamic === 'theirs'
      ? plan.transport === 'ipv4'
        ? `10.90.${plan.number}.0/24`
        : `fd90:${plan.number}::/64`
      : oursOf(plan);
  return [
    `neighbor ${name} {`,
    `  remote-as ${asnSeenBy(plan)}`,
    `  descr "${plan.key}"`,
    `  local-address ${theirsOf(plan)}`,
    ...FAMILIES.map((family) => `  announce ${family === 'ipv4' ? 'IPv4' : 'IPv6'} unicast`),
    ...(plan.opens === 'ours' ? ['  passive'] : []),
    ...(plan.password ? [`  tcp md5sig password "${plan.password}"`] : []),
    ...(plan.ttlSecurity ? ['  ttl-security yes'] : []),
    ...(plan.oldSpeaker ? ['  announce as-4byte no'] : []),
    ...(plan.addPath ? ['  announce add-path recv yes', '  announce add-path send all'] : []),
    ...(plan.reflector === 'theirs' ? ['  route-reflector'] : []),
    `  announce restart ${plan.gracefulRestart ? 'yes' : 'no'}`,
    '  announce refresh yes',
    '  announce enhanced refresh yes',
    `  holdtime ${plan.holdTime ?? 90}`,
    '  holdtime min 3',
    '}',
  ].join('\n');
}

function config({ sessions }: ForeignStart): string {
  return [
    `AS ${THEIR_ASN}`,
    `router-id ${THEIR_ID}`,
    'fib-update no',
    'connect-retry 1',
    ...FAMILIES.flatMap((family) => [
      `network ${THEIR_ROUTES[family]} set { ${attributes()} }`,
      `network ${THEIR_FAR_ROUTES[family]} set { ${attributes()} }`,
    ]),
    ...sessions.map(neighbor),
    'allow from any',
    'allow to any',
    '',
  ].join('\n');
}

interface OpenbgpdPath {
  readonly prefix: string;
  readonly aspath?: string;
  readonly exit_nexthop?: string;
  readonly metric?: number;
  readonly localpref?: number;
  readonly attributes?: readonly {
    readonly originator?: string;
    readonly cluster_list?: readonly string[];
  }[];
  readonly communities?: readonly string[];
  readonly large_communities?: readonly string[];
  readonly extended_communities?: readonly string[];
  readonly path_id?: number;
}

function routeOf(path: OpenbgpdPath): RouteText {
  const originator = path.attributes?.find((one) => one.originator !== undefined)?.originator;
  const clusters = path.attributes?.find((one) => one.cluster_list !== undefined)?.cluster_list;
  return {
    prefix: path.prefix,
    asPath: (path.aspath ?? '').split(/\s+/).filter(Boolean).map(Number),
    communities: path.communities ?? [],
    largeCommunities: path.large_communities ?? [],
    extendedCommunities: (path.extended_communities ?? []).map((text) => text.replace(' ', ':')),
    ...(path.exit_nexthop === undefined ? {} : { nextHop: path.exit_nexthop }),
    ...(path.metric === undefined ? {} : { med: path.metric }),
    ...(path.localpref === undefined ? {} : { localPreference: path.localpref }),
    ...(originator === undefined ? {} : { originatorId: originator }),
    ...(clusters === undefined ? {} : { clusterList: clusters }),
    ...(path.path_id === undefined ? {} : { pathId: path.path_id }),
  };
}

export const openbgpd: ForeignKind = {
  name: 'OpenBGPD',
  lacks: {
    'connects-again-soon':
      'OpenBGPD waits for 30 s after an error; a session that we open is looked at instead',
    'originates-long-paths':
      'OpenBGPD originates no path with another AS in it; one that is handed on is looked at instead',
    'kernel-routes': 'the portable OpenBGPD does not touch the kernel of Linux',
    'route-refresh-answer':
      'OpenBGPD 7.7 answers "AID not negotiated" for families that it has negotiated',
    'extended-next-hop': 'OpenBGPD 7.7 does not know RFC 8950',
    'extended-messages': 'OpenBGPD 7.7 does not know RFC 8654',
    'graceful-restart-restarting':
      'OpenBGPD sends the capability for End-of-RIB alone and keeps no forwarding state itself',
  },
  async start(start): Promise<Foreign> {
    const open = (): Promise<RunningRouter> => startOpenbgpd({ ...start, config: config(start) });
    let router = await open();
    const json = async <T>(...words: readonly string[]): Promise<T> =>
      JSON.parse(await router.ask('-j', ...words)) as T;
    return {
      name: openbgpd.name,
      lacks: openbgpd.lacks,
      get process() {
        return router.processes[0]!;
      },
      established: async (plan) => {
        const { neighbors } = await json<{ neighbors: { state: string }[] }>(
          'show',
          'neighbor',
          oursOf(plan),
        );
        return neighbors.some(({ state }) => state === 'Established');
      },
      received: async (plan, family) => {
        const { rib } = await json<{ rib?: OpenbgpdPath[] }>(
          'show',
          'rib',
          family === 'ipv4' ? 'inet' : 'inet6',
          'in',
          'detail',
          'neighbor',
          oursOf(plan),
        );
        return (rib ?? []).map(routeOf);
      },
      announceMoving: async () => {
        const { communities, largeCommunities, med } = THEIR_ATTRIBUTES;
        for (const family of FAMILIES)
          await router.ask(
            'network',
            'add',
            THEIR_MOVING_ROUTES[family],
            ...communities.flatMap((text) => ['community', text]),
            ...largeCommunities.flatMap((text) => ['large-community', text]),
            'med',
            String(med),
          );
      },
      withdrawMoving: async () => {
        for (const family of FAMILIES)
          await router.ask('network', 'delete', THEIR_MOVING_ROUTES[family]);
      },
      refresh: async (plan) => {
        await router.ask('neighbor', oursOf(plan), 'refresh');
      },
      shutDown: async (plan, text) => {
        await router.ask('neighbor', oursOf(plan), 'down', text);
      },
      bringUp: async (plan) => {
        await router.ask('neighbor', oursOf(plan), 'up');
      },
      lastFall: (plan) => router.ask('show', 'neighbor', oursOf(plan)),
      crash: async () => {
        await router.processes[0]?.stop('SIGKILL');
      },
      startAgain: async () => {
        router = await open();
      },
      [Symbol.asyncDispose]: () => router[Symbol.asyncDispose](),
    };
  },
};
