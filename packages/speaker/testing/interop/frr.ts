import { type RunningRouter, startFrr } from '../routers/start.ts';
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

/** How the configuration names a session: an address, or the group of a range. */
const nameOf = (plan: SessionPlan): string =>
  plan.dynamic === 'theirs' ? `range-${plan.key}` : oursOf(plan);

function neighbor(plan: SessionPlan): string[] {
  const name = nameOf(plan);
  const lines = plan.dynamic === 'theirs' ? [`neighbor ${name} peer-group`] : [];
  lines.push(`neighbor ${name} remote-as ${asnSeenBy(plan)}`);
  if (plan.dynamic === 'theirs') {
    const range =
      plan.transport === 'ipv4' ? `10.90.${plan.number}.0/24` : `fd90:${plan.number}::/64`;
    lines.push(`bgp listen range ${range} peer-group ${name}`);
  } else {
    lines.push(`neighbor ${name} update-source ${theirsOf(plan)}`);
    lines.push(`neighbor ${name} timers connect 1`);
  }
  if (plan.opens === 'ours' && plan.dynamic !== 'theirs') lines.push(`neighbor ${name} passive`);
  if (plan.password) lines.push(`neighbor ${name} password ${plan.password}`);
  if (plan.ttlSecurity) lines.push(`neighbor ${name} ttl-security hops 1`);
  if (plan.oldSpeaker) lines.push(`neighbor ${name} dont-capability-negotiate`);
  if (plan.extendedNextHop) lines.push(`neighbor ${name} capability extended-nexthop`);
  lines.push(`neighbor ${name} graceful-restart${plan.gracefulRestart ? '' : '-disable'}`);
  lines.push(`neighbor ${name} timers ${plan.holdTime ? `1 ${plan.holdTime}` : '30 90'}`);
  lines.push(`neighbor ${name} advertisement-interval 0`);
  return lines;
}

function inFamily(plan: SessionPlan, family: Family): string[] {
  const name = nameOf(plan);
  // Without capabilities there is IPv4 unicast alone.
  if (plan.oldSpeaker && family === 'ipv6') return [];
  return [
    `neighbor ${name} activate`,
    ...(plan.addPath ? [`neighbor ${name} addpath-tx-all-paths`] : []),
    ...(plan.reflector === 'theirs' ? [`neighbor ${name} route-reflector-client`] : []),
    // Its update groups tell peers apart by the capability that came, not by that which went out; by a route map they do.
    ...(plan.oldSpeaker ? [`neighbor ${name} route-map old out`] : []),
    ...(plan.transport === 'ipv4' && family === 'ipv6'
      ? [`neighbor ${name} route-map v6-nexthop-${plan.number} out`]
      : plan.transport === 'ipv6' && family === 'ipv4' && !plan.extendedNextHop
        ? [`neighbor ${name} route-map v4-nexthop-${plan.number} out`]
        : []),
  ];
}

function attributes(name: string, far: boolean): string[] {
  const { communities, largeCommunities, extendedCommunities, med } = THEIR_ATTRIBUTES;
  return [
    `route-map ${name} permit 10`,
    ` set community ${communities.join(' ')}`,
    ` set large-community ${largeCommunities.join(' ')}`,
    ...extendedCommunities.map((text) => ` set extcommunity ${text.replace(':', ' ')}`),
    ` set metric ${med}`,
    ...(far ? [` set as-path prepend ${FAR_ASN}`] : []),
    'exit',
  ];
}

function config({ sessions }: ForeignStart): string {
  return [
    // IPv6 routes over IPv4 sessions, and the other way round, need to be told our address of that family.
    ...sessions.flatMap((plan) => [
      `route-map v6-nexthop-${plan.number} permit 10`,
      ` set ipv6 next-hop global fd90:${plan.number}::2`,
      'exit',
      `route-map v4-nexthop-${plan.number} permit 10`,
      ` set ip next-hop 10.90.${plan.number}.2`,
      'exit',
    ]),
    'route-map old permit 10',
    'exit',
    ...attributes('near', false),
    ...attributes('far', true),
    `router bgp ${THEIR_ASN}`,
    ` bgp router-id ${THEIR_ID}`,
    ' no bgp ebgp-requires-policy',
    ' no bgp network import-check',
    ' no bgp default ipv4-unicast',
    ' bgp graceful-restart restart-time 30',
    ' bgp graceful-restart select-defer-time 10',
    ' bgp graceful-restart preserve-fw-state',
    ' coalesce-time 10',
    ...sessions.flatMap(neighbor).map((line) => ` ${line}`),
    ...FAMILIES.flatMap((family) => [
      ` address-family ${family} unicast`,
      `  network ${THEIR_ROUTES[family]} route-map near`,
      `  network ${THEIR_FAR_ROUTES[family]} route-map far`,
      ...sessions.flatMap((plan) => inFamily(plan, family)).map((line) => `  ${line}`),
      ' exit-address-family',
    ]),
    'exit',
    '',
  ].join('\n');
}

interface FrrPath {
  readonly aspath?: { readonly string: string };
  readonly med?: number;
  readonly metric?: number;
  readonly locPrf?: number;
  readonly originatorId?: string;
  readonly clusterList?: { readonly list: readonly string[] };
  readonly community?: { readonly list: readonly string[] };
  readonly largeCommunity?: { readonly list: readonly string[] };
  readonly extendedCommunity?: { readonly string: string };
  readonly nexthops?: readonly { readonly ip: string; readonly scope?: string }[];
  readonly peer?: { readonly peerId: string };
  readonly addpathRxId?: number;
}

function routeOf(prefix: string, path: FrrPath): RouteText {
  const nextHop = path.nexthops?.find((hop) => hop.scope !== 'link-local')?.ip;
  const med = path.med ?? path.metric;
  return {
    prefix,
    asPath: (path.aspath?.string ?? '')
      .split(/\s+/)
      .map(Number)
      .filter(Number.isInteger)
      .filter(Boolean),
    communities: path.community?.list ?? [],
    largeCommunities: path.largeCommunity?.list ?? [],
    extendedCommunities: (path.extendedCommunity?.string ?? '')
      .split(/\s+/)
      .filter(Boolean)
      .map((text) => text.replace(/^RT:/, 'rt:')),
    ...(nextHop === undefined ? {} : { nextHop }),
    ...(med === undefined ? {} : { med }),
    ...(path.locPrf === undefined ? {} : { localPreference: path.locPrf }),
    ...(path.originatorId === undefined ? {} : { originatorId: path.originatorId }),
    ...(path.clusterList === undefined ? {} : { clusterList: path.clusterList.list }),
    ...(path.addpathRxId === undefined ? {} : { pathId: path.addpathRxId }),
  };
}

export const frr: ForeignKind = {
  name: 'FRR',
  lacks: {
    'merges-as4-path':
      'FRR 8.4 that leaves its capabilities out shows AS_TRANS; the rest of the scenario is run',
  },
  async start(start): Promise<Foreign> {
    const open = (): Promise<RunningRouter> =>
      startFrr({ ...start, config: config(start), zebra: true });
    let router = await open();
    const moving = (no: string): string[] => [
      'configure terminal',
      `router bgp ${THEIR_ASN}`,
      ...FAMILIES.flatMap((family) => [
        `address-family ${family} unicast`,
        `${no}network ${THEIR_MOVING_ROUTES[family]}${no ? '' : ' route-map near'}`,
        'exit-address-family',
      ]),
    ];
    const details = async (plan: SessionPlan): Promise<Record<string, unknown>> => {
      const all = JSON.parse(await router.ask(`show bgp neighbors ${oursOf(plan)} json`)) as Record<
        string,
        Record<string, unknown>
      >;
      return all[oursOf(plan)] ?? {};
    };
    return {
      name: frr.name,
      lacks: frr.lacks,
      get process() {
        return router.processes[0]!;
      },
      established: async (plan) =>
        (await details(plan).catch(() => ({}) as Record<string, unknown>)).bgpState ===
        'Established',
      received: async (plan, family) => {
        const table = JSON.parse(await router.ask(`show bgp ${family} unicast json`)) as {
          routes?: Record<string, unknown>;
        };
        const routes: RouteText[] = [];
        for (const prefix of Object.keys(table.routes ?? {})) {
          const detail = JSON.parse(
            await router.ask(`show bgp ${family} unicast ${prefix} json`),
          ) as { paths?: FrrPath[] };
          for (const path of detail.paths ?? [])
            if (path.peer?.peerId === oursOf(plan)) routes.push(routeOf(prefix, path));
        }
        return routes;
      },
      announceMoving: async () => {
        await router.ask(...moving(''));
      },
      withdrawMoving: async () => {
        await router.ask(...moving('no '));
      },
      refresh: async (plan) => {
        for (const family of FAMILIES)
          await router.ask(`clear bgp ${family} unicast ${oursOf(plan)} in`);
      },
      shutDown: async (plan, text) => {
        await router.ask(
          'configure terminal',
          `router bgp ${THEIR_ASN}`,
          `neighbor ${oursOf(plan)} shutdown message ${text}`,
        );
      },
      bringUp: async (plan) => {
        await router.ask(
          'configure terminal',
          `router bgp ${THEIR_ASN}`,
          `no neighbor ${oursOf(plan)} shutdown`,
        );
      },
      lastFall: async (plan) => JSON.stringify(await details(plan)),
      crash: async () => {
        // bgpd alone: zebra keeps what stands in the kernel, as on a router whose bgpd died.
        await router.processes[0]?.stop('SIGKILL');
      },
      startAgain: async () => {
        await router[Symbol.asyncDispose]();
        router = await open();
      },
      [Symbol.asyncDispose]: () => router[Symbol.asyncDispose](),
    };
  },
};
