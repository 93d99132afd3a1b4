import { join } from 'node:path';
import { type RunningRouter, startBird } from '../routers/start.ts';
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

function staticRoute(prefix: string, far: boolean): string {
  const { communities, largeCommunities, extendedCommunities } = THEIR_ATTRIBUTES;
  return [
    `  route ${prefix} blackhole {`,
    ...communities.map((text) => `    bgp_community.add((${text.replace(':', ',')}));`),
    ...largeCommunities.map(
      (text) => `    bgp_large_community.add((${text.replaceAll(':', ',')}));`,
    ),
    ...extendedCommunities.map(
      (text) => `    bgp_ext_community.add((${text.replaceAll(':', ',')}));`,
    ),
    ...(far ? [`    bgp_path.prepend(${FAR_ASN});`] : []),
    '  };',
  ].join('\n');
}

function session(plan: SessionPlan): string {
  const channel = (family: Family): string =>
    [
      `  ${family} { import all; export filter theirs;`,
      plan.addPath ? ' add paths on;' : '',
      plan.extendedNextHop && family === 'ipv4' ? ' extended next hop on;' : '',
      plan.speaker === 'A' ? ' next hop self;' : '',
      ' };',
    ].join('');
  const remote =
    plan.dynamic === 'theirs'
      ? `neighbor range ${plan.transport === 'ipv4' ? `10.90.${plan.number}.0/24` : `fd90:${plan.number}::/64`}`
      : `neighbor ${oursOf(plan)}`;
  return [
    `protocol bgp s_${plan.key} {`,
    `  local ${theirsOf(plan)} as ${THEIR_ASN};`,
    `  ${remote} as ${asnSeenBy(plan)};`,
    ...(plan.dynamic === 'theirs' ? [`  dynamic name "s_${plan.key}_";`] : []),
    '  connect delay time 1; error wait time 1, 2; connect retry time 2;',
    ...(plan.opens === 'ours' && plan.dynamic !== 'theirs' ? ['  passive;'] : []),
    ...(plan.password ? [`  password "${plan.password}";`] : []),
    ...(plan.ttlSecurity ? ['  ttl security on;'] : []),
    ...(plan.gracefulRestart
      ? ['  graceful restart on; graceful restart time 30;']
      : ['  graceful restart off;']),
    ...(plan.extendedMessages ? ['  enable extended messages on;'] : []),
    ...(plan.oldSpeaker ? ['  enable as4 off;'] : []),
    ...(plan.holdTime ? [`  hold time ${plan.holdTime};`] : []),
    ...(plan.reflector === 'theirs' ? ['  rr client;'] : []),
    ...FAMILIES.map(channel),
    '}',
  ].join('\n');
}

function config({ sessions, directory }: ForeignStart): string {
  return [
    `router id ${THEIR_ID};`,
    `log "${join(directory, 'routes.log')}" all;`,
    'log stderr { warning, error, fatal, bug };',
    'protocol device {}',
    'protocol direct { ipv4; ipv6; }',
    ...FAMILIES.flatMap((family) => [
      // Routes that a restarting router leaves in the kernel are what graceful restart lives from.
      `protocol kernel { persist; ${family} { import none; export where source = RTS_BGP; }; }`,
      `protocol static static_${family} { ${family};`,
      staticRoute(THEIR_ROUTES[family], false),
      staticRoute(THEIR_FAR_ROUTES[family], true),
      '}',
      `protocol static moving_${family} { disabled; ${family};`,
      staticRoute(THEIR_MOVING_ROUTES[family], false),
      '}',
    ]),
    'graceful restart wait 20;',
    // A MED that an external neighbour is to see is set on export.
    `filter theirs { if source = RTS_STATIC then { bgp_med = ${THEIR_ATTRIBUTES.med}; accept; }`,
    '  if proto ~ "s_*" then accept; reject; }',
    ...sessions.map(session),
    '',
  ].join('\n');
}

/** `BGP.community: (65020,1) (65020,2)` and its kin, of one route's block. */
function tuples(block: string, name: string): string[] {
  const line = new RegExp(`BGP\\.${name}: (.*)`).exec(block)?.[1] ?? '';
  return [...line.matchAll(/\(([^)]*)\)/g)].map((match) =>
    (match[1] ?? '').replaceAll(' ', '').replaceAll(',', ':'),
  );
}

function field(block: string, name: string): string | undefined {
  return new RegExp(`BGP\\.${name}: (.*)`).exec(block)?.[1]?.trim();
}

/** Reads `show route all`: a route begins with its prefix, further paths of it with blanks in its place. */
export function readBirdRoutes(text: string): RouteText[] {
  const routes: RouteText[] = [];
  let prefix = '';
  for (const block of text.split(
    /\n(?=\S+\s+(?:unicast|unreachable|blackhole) \[|\s+unicast \[)/,
  )) {
    const head = /^(\S*)\s+(?:unicast|unreachable|blackhole) \[/.exec(
      block.trimStart() === block ? block : ` ${block.trimStart()}`,
    );
    if (!/(?:unicast|unreachable|blackhole) \[/.test(block)) continue;
    if (head?.[1]) prefix = head[1];
    const med = field(block, 'med');
    const pref = field(block, 'local_pref');
    const originator = field(block, 'originator_id');
    const clusters = field(block, 'cluster_list');
    const nextHop = field(block, 'next_hop')?.split(' ')[0];
    routes.push({
      prefix,
      asPath: (field(block, 'as_path') ?? '').split(/\s+/).filter(Boolean).map(Number),
      communities: tuples(block, 'community'),
      largeCommunities: tuples(block, 'large_community'),
      extendedCommunities: tuples(block, 'ext_community'),
      ...(nextHop === undefined ? {} : { nextHop }),
      ...(med === undefined ? {} : { med: Number(med) }),
      ...(pref === undefined ? {} : { localPreference: Number(pref) }),
      ...(originator === undefined ? {} : { originatorId: originator }),
      ...(clusters === undefined ? {} : { clusterList: clusters.split(/\s+/) }),
    });
  }
  return routes;
}

export const bird: ForeignKind = {
  name: 'BIRD',
  lacks: {
    'prints-long-lists': 'birdc cuts a list of communities short; the rest of the scenario is run',
  },
  async start(start): Promise<Foreign> {
    const open = (flags: readonly string[]): Promise<RunningRouter> =>
      startBird({ ...start, config: config(start), flags });
    let router = await open([]);
    const protocol = ({ key, dynamic }: SessionPlan): string =>
      dynamic === 'theirs' ? `s_${key}_1` : `s_${key}`;
    return {
      name: bird.name,
      lacks: bird.lacks,
      get process() {
        return router.processes[0]!;
      },
      established: async (plan) =>
        /Established/.test(await router.ask(`show protocols ${protocol(plan)}`).catch(() => '')),
      received: async (plan, family) =>
        readBirdRoutes(
          await router.ask(
            `show route all protocol ${protocol(plan)} table master${family === 'ipv4' ? 4 : 6}`,
          ),
        ),
      announceMoving: async () => {
        for (const family of FAMILIES) await router.ask(`enable moving_${family}`);
      },
      withdrawMoving: async () => {
        for (const family of FAMILIES) await router.ask(`disable moving_${family}`);
      },
      refresh: async (plan) => {
        await router.ask(`reload in ${protocol(plan)}`);
      },
      shutDown: async (plan, text) => {
        await router.ask(`disable ${protocol(plan)} "${text}"`);
      },
      bringUp: async (plan) => {
        await router.ask(`enable ${protocol(plan)}`);
      },
      lastFall: (plan) => router.ask(`show protocols all ${protocol(plan)}`),
      crash: async () => {
        await router.processes[0]?.stop('SIGKILL');
      },
      startAgain: async () => {
        router = await open(['-R']);
      },
      [Symbol.asyncDispose]: () => router[Symbol.asyncDispose](),
    };
  },
};
