/** One foreign router and our three speakers, wired for all sessions of the plan, and our sides' answers as plain text. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { PeerView } from '../../src/views/peer.ts';
import type { RouteView } from '../../src/views/route.ts';
import { type CableEnd, cable, Namespace } from '../namespaces.ts';
import { eventually } from '../process.ts';
import { type Foreign, type ForeignKind, possible } from './foreign.ts';
import { OurRouter } from './ours.ts';
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
  OUR_ROUTES,
  OUR_SHORT_ASN,
  type OurSpeaker,
  oursOf,
  R_ROUTES,
  type RouteText,
  type SessionPlan,
  THEIR_ASN,
  THEIR_ROUTES,
  THROUGH_ROUTES,
  theirsOf,
} from './plan.ts';

function accepting(set: object): object {
  // biome-ignore lint/suspicious/noThenProperty: the policy language's word, and nobody awaits a statement
  return { statements: [{ set, then: 'accept' }] };
}

/** Routes of the family that the session does not run over are told our address of that family, unless RFC 8950 is used. */
function exportPolicy(plan: SessionPlan): object {
  const otherFamily = plan.transport === 'ipv4' ? 'ipv6' : 'ipv4';
  const address = plan.transport === 'ipv4' ? `fd90:${plan.number}::1` : `10.90.${plan.number}.1`;
  const nextHop = {
    match: { families: [`${otherFamily}-unicast`] },
    set: { nextHop: address },
  };
  const { statements } = accepting(
    plan.oldSpeaker ? { prepend: { asn: OUR_ASN, count: 1 } } : {},
  ) as { statements: object[] };
  const through = {
    match: { prefixes: Object.values(THROUGH_ROUTES) },
    set: { prepend: { asn: FAR_ASN, count: 1 } },
  };
  return {
    statements: [
      ...(plan.extendedNextHop ? [] : [nextHop]),
      ...(plan.speaker === 'R' ? [through] : []),
      ...statements,
    ],
  };
}

function neighbor(plan: SessionPlan): object {
  return {
    name: plan.key,
    peer: { address: theirsOf(plan) },
    ...common(plan),
    asn: THEIR_ASN,
    passive: plan.opens === 'theirs',
  };
}

function common(plan: SessionPlan): object {
  const external = plan.speaker === 'A';
  return {
    localAddress: oursOf(plan),
    ...(plan.oldSpeaker ? { localAsn: OUR_SHORT_ASN } : {}),
    ...(plan.password ? { password: plan.password } : {}),
    ...(plan.ttlSecurity ? { ttlSecurity: 1 } : {}),
    ...(plan.extendedNextHop ? { extendedNextHop: true } : {}),
    extendedMessages: plan.extendedMessages === true,
    ...(plan.reflector === 'ours' ? { routeReflectorClient: true } : {}),
    gracefulRestart: plan.gracefulRestart ? { restartTime: 30 } : false,
    timers: { connectRetry: 1, idleHold: 0.3, hold: plan.holdTime ?? 90 },
    families: FAMILIES.map((family) => ({
      family: `${family}-unicast`,
      ...(plan.addPath ? { addPath: { receive: true, send: 8 } } : {}),
      ...(external ? { import: 'all' } : { nextHop: 'self' }),
      export: `to-${plan.key}`,
    })),
  };
}

/** The session between R and C, over a cable of their own. */
const INNER: Readonly<Record<'R' | 'C', { readonly ipv4: string; readonly ipv6: string }>> = {
  R: { ipv4: '10.90.101.1', ipv6: 'fd90:101::1' },
  C: { ipv4: '10.90.101.2', ipv6: 'fd90:101::2' },
};

function innerNeighbor(speaker: 'R' | 'C'): object {
  const other = speaker === 'R' ? 'C' : 'R';
  return {
    name: other,
    peer: { address: INNER[other].ipv4 },
    localAddress: INNER[speaker].ipv4,
    asn: 'internal',
    passive: speaker === 'R',
    ...(speaker === 'R' ? { routeReflectorClient: true } : {}),
    gracefulRestart: false,
    timers: { connectRetry: 1 },
    families: FAMILIES.map((family) => ({ family: `${family}-unicast`, export: 'inner' })),
  };
}

export function configOf(speaker: OurSpeaker, sessions: readonly SessionPlan[]): object {
  const own = sessions.filter((plan) => plan.speaker === speaker);
  const inner = speaker === 'A' ? [] : [innerNeighbor(speaker)];
  return {
    asn: speaker === 'A' ? OUR_ASN : THEIR_ASN,
    routerId: OUR_IDS[speaker],
    listen: [
      ...own.map((plan) => ({ address: oursOf(plan), port: 179 })),
      ...(speaker === 'A' ? [] : [{ address: INNER[speaker].ipv4, port: 179 }]),
    ],
    ...(speaker === 'A'
      ? {
          gracefulRestart: { restartTime: 30, deferral: 5 },
          kernel: {
            mode: 'prefixes',
            prefixes: FAMILIES.map((family) => THEIR_ROUTES[family]),
          },
        }
      : {}),
    neighbors: [...own.filter((plan) => plan.dynamic !== 'ours').map(neighbor), ...inner],
    dynamicNeighbors: own
      .filter((plan) => plan.dynamic === 'ours')
      .map((plan) => ({
        name: plan.key,
        prefix: `10.90.${plan.number}.0/24`,
        asns: [THEIR_ASN],
        limit: 2,
        template: common(plan),
      })),
    policies: {
      all: accepting({}),
      ...(speaker === 'A'
        ? {}
        : {
            inner: {
              statements: [
                {
                  match: { families: ['ipv6-unicast'], source: ['local'] },
                  set: { nextHop: INNER[speaker].ipv6 },
                },
              ],
              otherwise: 'accept',
            },
          }),
      ...Object.fromEntries(own.map((plan) => [`to-${plan.key}`, exportPolicy(plan)])),
    },
  };
}

const attributesOf = (extra: object = {}): object => ({ ...OUR_ATTRIBUTES, ...extra });

/** What each of ours announces; A's second owner gives some prefixes a second path. */
export function pathsOf(speaker: OurSpeaker): Readonly<Record<string, readonly object[]>> {
  const each = (routes: Readonly<Record<Family, string>>, extra?: object): object[] =>
    FAMILIES.map((family) => ({ prefix: routes[family], ...attributesOf(extra) }));
  if (speaker === 'A')
    return {
      interop: [...each(OUR_ROUTES), ...each(OUR_DOUBLE_ROUTES)],
      second: each(OUR_DOUBLE_ROUTES, { med: 71 }),
    };
  if (speaker === 'R')
    return {
      interop: [
        ...each(R_ROUTES, { neighbors: ['client'] }),
        ...each(THROUGH_ROUTES, { neighbors: ['client'] }),
        ...each(INNER_DOUBLE_ROUTES, { med: 1 }),
      ],
    };
  return {
    interop: [
      ...each(C_ROUTES, { neighbors: ['R'] }),
      ...each(C_OUTER_ROUTES, { neighbors: ['reflector'] }),
      ...each(INNER_DOUBLE_ROUTES, { med: 2 }),
    ],
  };
}

export class InteropSite implements AsyncDisposable {
  readonly kind: ForeignKind;
  readonly sessions: readonly SessionPlan[];
  readonly ourNamespace: Namespace;
  readonly theirNamespace: Namespace;
  readonly directory: string;
  readonly ours: Readonly<Record<OurSpeaker, OurRouter>>;
  readonly #stack = new AsyncDisposableStack();
  #foreign: Foreign | undefined;

  constructor(kind: ForeignKind) {
    this.kind = kind;
    this.sessions = possible(ALL_SESSIONS, kind.lacks);
    this.directory = mkdtempSync(join(tmpdir(), `causeway-interop-${process.pid}-`));
    this.#stack.defer(() => rmSync(this.directory, { recursive: true, force: true }));
    // A namespace each: speakers prune the routes of a former one, and tell their own addresses from others'.
    const namespaces = {
      A: this.#stack.use(new Namespace('a')),
      R: this.#stack.use(new Namespace('r')),
      C: this.#stack.use(new Namespace('c')),
    };
    this.ourNamespace = namespaces.A;
    this.theirNamespace = this.#stack.use(new Namespace('t'));
    for (const speaker of ['A', 'R', 'C'] as const) {
      const addresses = (host: number): string[] =>
        ALL_SESSIONS.filter((plan) => plan.speaker === speaker).flatMap(({ number }) => [
          `10.90.${number}.${host}/24`,
          `fd90:${number}::${host}/64`,
        ]);
      cable(
        { namespace: namespaces[speaker], device: 'eth0', addresses: addresses(1) },
        { namespace: this.theirNamespace, device: `to${speaker}`, addresses: addresses(2) },
      );
    }
    const innerEnd = (speaker: 'R' | 'C'): CableEnd => ({
      namespace: namespaces[speaker],
      device: 'inner',
      addresses: [`${INNER[speaker].ipv4}/24`, `${INNER[speaker].ipv6}/64`],
    });
    cable(innerEnd('R'), innerEnd('C'));
    // Next hops that are told unchanged inside an AS lie behind the foreign router.
    for (const speaker of ['R', 'C'] as const) {
      const { number } = ALL_SESSIONS.find((plan) => plan.speaker === speaker)!;
      namespaces[speaker].ip(
        `route add default via 10.90.${number}.2`,
        `route add ::/0 via fd90:${number}::2`,
      );
    }
    // What the routes lead to.
    for (const [namespace, routes] of [
      [this.ourNamespace, OUR_ROUTES],
      [this.theirNamespace, THEIR_ROUTES],
    ] as const)
      namespace.ip(
        `address add ${routes.ipv4.replace('0/24', '1/32')} dev lo`,
        `address add ${routes.ipv6.replace('::/48', '::1/128')} dev lo`,
      );
    const our = (name: OurSpeaker): OurRouter =>
      this.#stack.use(
        new OurRouter({
          name,
          namespace: namespaces[name],
          directory: join(this.directory, name),
          config: configOf(name, this.sessions),
        }),
      );
    this.ours = { A: our('A'), R: our('R'), C: our('C') };
  }

  get foreign(): Foreign {
    if (this.#foreign === undefined) throw new Error(`${this.kind.name} was not started`);
    return this.#foreign;
  }

  /** Ours first: some routers wait for many seconds after a connection that was refused. */
  async start(): Promise<void> {
    await Promise.all(
      Object.values(this.ours).map(async (our) => {
        await our.start();
        for (const [owner, paths] of Object.entries(pathsOf(our.name as OurSpeaker)))
          await our.client.ask('PUT', `/v1/paths/${owner}`, paths);
      }),
    );
    this.#foreign = this.#stack.use(
      await this.kind.start({
        namespace: this.theirNamespace,
        directory: join(this.directory, 'foreign'),
        sessions: this.sessions,
      }),
    );
  }

  peerName(plan: SessionPlan): string {
    return plan.dynamic === 'ours' ? `${plan.key}@${theirsOf(plan)}` : plan.key;
  }

  async peer(plan: SessionPlan): Promise<PeerView> {
    const name = encodeURIComponent(this.peerName(plan));
    return (await this.ours[plan.speaker].client.ask('GET', `/v1/peers/${name}`)) as PeerView;
  }

  /** Waits until both sides call the session established. */
  async up(plan: SessionPlan, timeoutMs = 40_000): Promise<PeerView> {
    return eventually(
      `session ${plan.key} with ${this.kind.name} is up`,
      async () => {
        const peer = await this.peer(plan).catch(() => undefined);
        if (peer?.state !== 'established') return undefined;
        return (await this.foreign.established(plan)) ? peer : undefined;
      },
      timeoutMs,
      async () =>
        `ours: ${JSON.stringify(await this.peer(plan).catch(String)).slice(0, 1500)}; theirs: ${(await this.foreign.lastFall(plan).catch(String)).slice(0, 1500)}`,
    );
  }

  /** Routes of one of our sessions as the API tells them. */
  async routes(
    plan: SessionPlan,
    view: 'received' | 'accepted' | 'advertised',
    family: Family,
  ): Promise<RouteText[]> {
    return this.routesOf(plan.speaker, this.peerName(plan), view, family);
  }

  async routesOf(
    speaker: OurSpeaker,
    peer: string,
    view: string,
    family: Family,
  ): Promise<RouteText[]> {
    const query = new URLSearchParams({ view, peer, family: `${family}-unicast` });
    const answer = (await this.ours[speaker].client.ask('GET', `/v1/routes?${query}`)) as {
      rows: RouteView[];
    };
    return answer.rows.map(textOf);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#stack.disposeAsync();
  }
}

function textOf(row: RouteView): RouteText {
  const { prefix, nextHop, med, localPreference, originatorId, clusterList, pathId } = row;
  return {
    prefix,
    nextHop,
    asPath: row.asPath.split(/\s+/).filter(Boolean).map(Number),
    communities: row.communities ?? [],
    largeCommunities: row.largeCommunities ?? [],
    extendedCommunities: row.extendedCommunities ?? [],
    ...(med === undefined ? {} : { med }),
    ...(localPreference === undefined ? {} : { localPreference }),
    ...(originatorId === undefined ? {} : { originatorId }),
    ...(clusterList === undefined ? {} : { clusterList }),
    ...(pathId === undefined ? {} : { pathId }),
  };
}
