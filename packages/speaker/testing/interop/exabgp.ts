import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { type RunningRouter, startExabgp } from '../routers/start.ts';
import type { Foreign, ForeignKind } from './foreign.ts';
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

function attributes(internal: boolean, far: boolean): string {
  const { communities, largeCommunities, extendedCommunities, med } = THEIR_ATTRIBUTES;
  return [
    `med ${med}`,
    `community [ ${communities.join(' ')} ]`,
    `large-community [ ${largeCommunities.join(' ')} ]`,
    `extended-community [ ${extendedCommunities.map((text) => text.replace('rt:', 'target:')).join(' ')} ]`,
    `as-path [ ${[...(internal ? [] : [THEIR_ASN]), ...(far ? [FAR_ASN] : [])].join(' ')} ]`,
  ].join(' ');
}

/** It announces what it is told with the next hop that it is told, of the route's own family. */
function routeOfTheirs(plan: SessionPlan, family: Family, prefix: string, far: boolean): string {
  const nextHop =
    plan.extendedNextHop || family === 'ipv6' ? `fd90:${plan.number}::2` : `10.90.${plan.number}.2`;
  return `route ${prefix} next-hop ${nextHop} ${attributes(plan.speaker !== 'A', far)}`;
}

function neighbor(plan: SessionPlan): string {
  const families = FAMILIES.map((family) => `${family} unicast`);
  return [
    `neighbor ${plan.dynamic === 'theirs' ? `fd90:${plan.number}::/64` : oursOf(plan)} {`,
    `  router-id ${THEIR_ID};`,
    `  local-address ${theirsOf(plan)};`,
    `  local-as ${THEIR_ASN};`,
    `  peer-as ${asnSeenBy(plan)};`,
    `  hold-time ${plan.holdTime ?? 90};`,
    // It connects by itself only; listening is for neighbours that are passive.
    ...(plan.opens === 'ours' ? ['  passive true;', '  listen 179;'] : []),
    ...(plan.password ? [`  md5-password "${plan.password}";`, '  md5-base64 false;'] : []),
    ...(plan.ttlSecurity ? ['  outgoing-ttl 255;', '  incoming-ttl 255;'] : []),
    '  capability {',
    `    asn4 ${plan.oldSpeaker ? 'disable' : 'enable'};`,
    '    route-refresh enable;',
    `    extended-message ${plan.extendedMessages ? 'enable' : 'disable'};`,
    ...(plan.gracefulRestart ? ['    graceful-restart 30;'] : []),
    ...(plan.addPath ? ['    add-path send/receive;'] : []),
    ...(plan.extendedNextHop ? ['    nexthop enable;'] : []),
    '  }',
    '  family {',
    ...families.map((family) => `    ${family};`),
    '  }',
    ...(plan.extendedNextHop ? ['  nexthop {', '    ipv4 unicast ipv6;', '  }'] : []),
    ...(plan.addPath ? ['  add-path {', ...families.map((family) => `    ${family};`), '  }'] : []),
    '  api {',
    '    processes [ control ];',
    '    neighbor-changes;',
    '    receive {',
    '      parsed;',
    '      update;',
    '    }',
    '  }',
    '  static {',
    ...FAMILIES.flatMap((family) => [
      `    ${routeOfTheirs(plan, family, THEIR_ROUTES[family], false)};`,
      `    ${routeOfTheirs(plan, family, THEIR_FAR_ROUTES[family], true)};`,
    ]),
    '  }',
    '}',
  ].join('\n');
}

interface ExaAttributes {
  readonly 'as-path'?:
    | Readonly<Record<string, { readonly value: readonly number[] }>>
    | readonly number[];
  readonly med?: number;
  readonly 'local-preference'?: number;
  readonly community?: readonly (readonly [number, number])[];
  readonly 'large-community'?: readonly (readonly [number, number, number])[];
  readonly 'extended-community'?: readonly { readonly string: string }[];
  readonly 'originator-id'?: string;
  readonly 'cluster-list'?: readonly string[];
}

interface ExaEvent {
  readonly type: string;
  readonly neighbor: {
    readonly address: { readonly local: string; readonly peer: string };
    readonly state?: string;
    readonly reason?: string;
    readonly message?: {
      readonly update?: {
        readonly attribute?: ExaAttributes;
        readonly announce?: Readonly<
          Record<
            string,
            Readonly<
              Record<
                string,
                readonly { readonly nlri: string; readonly 'path-information'?: string }[]
              >
            >
          >
        >;
        readonly withdraw?: Readonly<
          Record<string, readonly { readonly nlri: string; readonly 'path-information'?: string }[]>
        >;
      };
      readonly notification?: {
        readonly code: number;
        readonly subcode: number;
        readonly data: string;
      };
    };
  };
}

function pathOf(attribute: ExaAttributes): readonly number[] {
  const path = attribute['as-path'];
  if (path === undefined) return [];
  if (Array.isArray(path)) return path as readonly number[];
  return Object.values(path as Record<string, { value: readonly number[] }>).flatMap(
    (segment) => segment.value,
  );
}

function routeOf(prefix: string, nextHop: string, attribute: ExaAttributes): RouteText {
  return {
    prefix,
    nextHop,
    asPath: pathOf(attribute),
    communities: (attribute.community ?? []).map((pair) => pair.join(':')),
    largeCommunities: (attribute['large-community'] ?? []).map((triple) => triple.join(':')),
    extendedCommunities: (attribute['extended-community'] ?? []).map((one) =>
      one.string.replace('target:', 'rt:'),
    ),
    ...(attribute.med === undefined ? {} : { med: attribute.med }),
    ...(attribute['local-preference'] === undefined
      ? {}
      : { localPreference: attribute['local-preference'] }),
    ...(attribute['originator-id'] === undefined
      ? {}
      : { originatorId: attribute['originator-id'] }),
    ...(attribute['cluster-list'] === undefined ? {} : { clusterList: attribute['cluster-list'] }),
  };
}

/** What it has been told by one neighbour: it keeps no table itself, so the harness does from its events. */
class Learned {
  up = false;
  readonly routes: Readonly<Record<Family, Map<string, RouteText>>> = {
    ipv4: new Map(),
    ipv6: new Map(),
  };
  fall = '';

  take({ type, neighbor }: ExaEvent): void {
    if (type === 'state') {
      this.up = neighbor.state === 'up';
      if (neighbor.state !== 'down') return;
      this.fall += `${neighbor.reason}\n`;
      for (const table of Object.values(this.routes)) table.clear();
    }
    if (type === 'notification') this.fall += `${JSON.stringify(neighbor.message)}\n`;
    const update = neighbor.message?.update;
    for (const family of FAMILIES) {
      const table = this.routes[family];
      const word = `${family} unicast`;
      for (const one of update?.withdraw?.[word] ?? [])
        table.delete(`${one.nlri} ${one['path-information']}`);
      for (const [nextHop, list] of Object.entries(update?.announce?.[word] ?? {}))
        for (const one of list)
          table.set(
            `${one.nlri} ${one['path-information']}`,
            routeOf(one.nlri, nextHop, update?.attribute ?? {}),
          );
    }
  }
}

export const exabgp: ForeignKind = {
  name: 'ExaBGP',
  lacks: {
    'route-refresh-answer': 'ExaBGP 4.2.21 closes the connection when it is asked',
    'tells-our-text':
      'ExaBGP 4.2.21 cannot decode a NOTIFICATION that it gets; the rest of the scenario is run',
    'kernel-routes': 'ExaBGP puts nothing into the kernel',
    reflector: 'ExaBGP hands no route on',
    'shutdown-text': 'ExaBGP 4.2 sends the subcode without a text; the rest of the scenario is run',
    'graceful-restart-helper':
      'ExaBGP keeps no table of its neighbours, so there is nothing to keep over a restart',
  },
  async start(start): Promise<Foreign> {
    const learned = new Map<string, Learned>();
    const of = (address: string): Learned => {
      const known = learned.get(address) ?? new Learned();
      learned.set(address, known);
      return known;
    };
    const open = (): Promise<RunningRouter> => {
      for (const name of ['commands', 'events'])
        rmSync(join(start.directory, name), { force: true });
      return startExabgp({
        ...start,
        config: start.sessions.map(neighbor).join('\n'),
        onEvent: (event) => {
          const exa = event as ExaEvent;
          if (exa.neighbor?.address !== undefined) of(exa.neighbor.address.peer).take(exa);
        },
      });
    };
    let router = await open();
    const all = async (word: string): Promise<void> => {
      for (const plan of start.sessions)
        for (const family of FAMILIES)
          await router.ask(
            `neighbor ${oursOf(plan)} ${word} ${routeOfTheirs(plan, family, THEIR_MOVING_ROUTES[family], false)}`,
          );
    };
    return {
      name: exabgp.name,
      lacks: exabgp.lacks,
      get process() {
        return router.processes[0]!;
      },
      established: async (plan) => of(oursOf(plan)).up,
      received: async (plan, family) => [...of(oursOf(plan)).routes[family].values()],
      announceMoving: () => all('announce'),
      withdrawMoving: () => all('withdraw'),
      refresh: async (plan) => {
        for (const family of FAMILIES) {
          of(oursOf(plan)).routes[family].clear();
          await router.ask(`neighbor ${oursOf(plan)} announce route-refresh ${family} unicast`);
        }
      },
      shutDown: async (plan) => {
        await router.ask(`neighbor ${oursOf(plan)} teardown 2`);
      },
      bringUp: async () => {},
      lastFall: async (plan) => of(oursOf(plan)).fall,
      crash: async () => {
        for (const process of router.processes) await process.stop('SIGKILL');
        learned.clear();
      },
      startAgain: async () => {
        router = await open();
      },
      [Symbol.asyncDispose]: () => router[Symbol.asyncDispose](),
    };
  },
};
