/**
 * The routers that are measured, each configured for the same scenario: no routes into the kernel, no import policy,
 * the export policy that the scenario asks for. Everything else is as the router's authors ship it.
 */
import {
  type Namespace,
  OurRouter,
  type RunningRouter,
  startBird,
  startFrr,
  startGobgp,
  startOpenbgpd,
} from '@causeway/speaker/testing';
import { LINK, type Scenario } from './scenario.ts';

export interface Contender {
  readonly name: string;
  /** How long it stays quiet before its first announcements once a session stands; half a second when left out. */
  readonly settleMs?: number;
  /** How many may connect at a time without being lost in its listening queue; any number when left out. */
  readonly atOnce?: number;
  start(namespace: Namespace, directory: string, scenario: Scenario): Promise<RunningRouter>;
  /** Asks for a summary of its sessions, as an operator would. */
  status(router: RunningRouter): Promise<unknown>;
  /** Lets the running router take the scenario with another policy. */
  change(router: RunningRouter, scenario: Scenario): Promise<void>;
}

function bird(scenario: Scenario): string {
  const { router, testers, monitor, clients } = scenario;
  const exported = scenario.community
    ? `filter { bgp_community.add((${scenario.community.replace(':', ',')})); accept; }`
    : 'all';
  return [
    `router id ${router.address};`,
    'log stderr { warning, error, fatal, bug };',
    'protocol device {}',
    'template bgp tester {',
    `  local ${router.address} as ${router.asn}; passive; hold time 240;`,
    `  ipv4 { import all; export ${scenario.testersReceive ? 'all' : 'none'}; };`,
    '}',
    ...testers.map(
      (peer, index) =>
        `protocol bgp t${index} from tester { neighbor ${peer.address} as ${peer.asn}; }`,
    ),
    ...(monitor === undefined
      ? []
      : [
          `protocol bgp monitor { local ${router.address} as ${router.asn}; passive; hold time 240;`,
          `  neighbor ${monitor.address} as ${monitor.asn}; ipv4 { import none; export ${exported}; }; }`,
        ]),
    ...(clients === undefined
      ? []
      : [
          `protocol bgp clients { local ${router.address} as ${router.asn}; hold time 240; rr client;`,
          `  neighbor range ${clients.range} as ${router.asn}; dynamic name "c"; dynamic name digits 4;`,
          '  ipv4 { import all; export all; }; }',
          // Its next hops are looked up in its own table, which has no kernel's routes here.
          `protocol static { ipv4; route ${clients.range} via ${LINK.load}; }`,
        ]),
    '',
  ].join('\n');
}

function frr(scenario: Scenario): string {
  const { router, testers, monitor, clients } = scenario;
  return [
    `router bgp ${router.asn}`,
    ` bgp router-id ${router.address}`,
    ' no bgp ebgp-requires-policy',
    ' no bgp network import-check',
    ' neighbor testers peer-group',
    ' neighbor testers passive',
    ' neighbor testers timers 80 240',
    ...testers.flatMap((peer) => [
      ` neighbor ${peer.address} remote-as ${peer.asn}`,
      ` neighbor ${peer.address} peer-group testers`,
    ]),
    ...(monitor === undefined
      ? []
      : [
          ` neighbor ${monitor.address} remote-as ${monitor.asn}`,
          ` neighbor ${monitor.address} passive`,
          ` neighbor ${monitor.address} timers 80 240`,
        ]),
    ...(clients === undefined
      ? []
      : [
          ' neighbor clients peer-group',
          ` neighbor clients remote-as ${router.asn}`,
          ' neighbor clients timers 80 240',
          ` bgp listen limit ${clients.limit}`,
          ` bgp listen range ${clients.range} peer-group clients`,
        ]),
    ' address-family ipv4 unicast',
    ...(scenario.testersReceive ? [] : ['  neighbor testers route-map none out']),
    ...(monitor === undefined ? [] : [`  neighbor ${monitor.address} route-map monitor out`]),
    ...(clients === undefined ? [] : ['  neighbor clients route-reflector-client']),
    ' exit-address-family',
    'exit',
    'route-map none deny 10',
    'exit',
    'route-map monitor permit 10',
    ...(scenario.community ? [` set community ${scenario.community} additive`] : []),
    'exit',
    '',
  ].join('\n');
}

function gobgp(scenario: Scenario): string {
  const { router, testers, monitor, clients } = scenario;
  const neighbor = (peer: { address: string; asn: number }): unknown => ({
    config: { 'neighbor-address': peer.address, 'peer-as': peer.asn },
    transport: { config: { 'passive-mode': true } },
    timers: { config: { 'hold-time': 240, 'keepalive-interval': 80 } },
  });
  // Routes of a reflector go to its clients; otherwise only to those that the policies name.
  const receivers = [...(monitor ? [monitor] : []), ...(scenario.testersReceive ? testers : [])];
  return JSON.stringify({
    global: {
      config: { as: router.asn, 'router-id': router.address, port: 179 },
      ...(clients === undefined
        ? {
            'apply-policy': {
              config: {
                'export-policy-list': ['out'],
                'default-export-policy': 'reject-route',
              },
            },
          }
        : {}),
    },
    neighbors: [...testers, ...(monitor ? [monitor] : [])].map(neighbor),
    ...(clients === undefined
      ? {
          'defined-sets': {
            'neighbor-sets': [
              {
                'neighbor-set-name': 'receivers',
                'neighbor-info-list': receivers.map((peer) => `${peer.address}/32`),
              },
            ],
          },
          'policy-definitions': [
            {
              name: 'out',
              statements: [
                {
                  name: 'to-receivers',
                  conditions: { 'match-neighbor-set': { 'neighbor-set': 'receivers' } },
                  actions: {
                    'route-disposition': 'accept-route',
                    ...(scenario.community
                      ? {
                          'bgp-actions': {
                            'set-community': {
                              options: 'add',
                              'set-community-method': { 'communities-list': [scenario.community] },
                            },
                          },
                        }
                      : {}),
                  },
                },
              ],
            },
          ],
        }
      : {
          'peer-groups': [
            {
              config: { 'peer-group-name': 'clients', 'peer-as': router.asn },
              timers: { config: { 'hold-time': 240, 'keepalive-interval': 80 } },
              'route-reflector': {
                config: {
                  'route-reflector-client': true,
                  'route-reflector-cluster-id': router.address,
                },
              },
            },
          ],
          'dynamic-neighbors': [{ config: { prefix: clients.range, 'peer-group': 'clients' } }],
        }),
  });
}

function openbgpd(scenario: Scenario): string {
  const { router, testers, monitor, clients } = scenario;
  return [
    `AS ${router.asn}`,
    `router-id ${router.address}`,
    'fib-update no',
    `listen on ${router.address}`,
    'holdtime 240',
    ...(testers.length === 0
      ? []
      : [
          'group "testers" {',
          '  passive',
          ...(scenario.testersReceive ? [] : ['  export none']),
          ...testers.map((peer) => `  neighbor ${peer.address} { remote-as ${peer.asn} }`),
          '}',
        ]),
    ...(monitor === undefined
      ? []
      : [`neighbor ${monitor.address} {\n  remote-as ${monitor.asn}\n  passive\n}`]),
    ...(clients === undefined
      ? []
      : [
          `neighbor ${clients.range} {\n  remote-as ${router.asn}\n  route-reflector\n  passive\n}`,
        ]),
    'allow from any',
    'allow to any',
    ...(scenario.community && monitor
      ? [`match to ${monitor.address} set { community ${scenario.community} }`]
      : []),
    '',
  ].join('\n');
}

const birdContender: Contender = {
  status: (router) => router.ask('show protocols'),
  name: 'BIRD',
  atOnce: 8,
  start: (namespace, directory, scenario) =>
    startBird({ namespace, directory, config: bird(scenario) }),
  change: (router, scenario) => router.reload(bird(scenario)),
};

const frrContender: Contender = {
  status: (router) => router.ask('show bgp ipv4 unicast summary'),
  name: 'FRR',
  settleMs: 6000,
  start: (namespace, directory, scenario) =>
    startFrr({ namespace, directory, config: frr(scenario) }),
  // The whole policy is one entry; the delay that FRR waits for further changes is skipped.
  change: async (router, scenario) => {
    await router.ask(
      'configure terminal',
      'bgp route-map delay-timer 0',
      'route-map monitor permit 10',
      scenario.community ? `set community ${scenario.community} additive` : 'no set community',
      'end',
      `clear bgp ipv4 unicast ${scenario.monitor?.address} soft out`,
    );
  },
};

const gobgpContender: Contender = {
  status: (router) => router.ask('neighbor'),
  name: 'GoBGP',
  start: (namespace, directory, scenario) =>
    startGobgp({ namespace, directory, config: gobgp(scenario) }),
  // SIGHUP takes the policies, and asks no neighbour for anything: the soft reset does.
  change: async (router, scenario) => {
    if (scenario.community === undefined)
      throw new Error('GoBGP is only changed towards a community');
    await router.ask(
      'policy',
      'statement',
      'to-receivers',
      'add',
      'action',
      'community',
      'add',
      scenario.community,
    );
    await router.ask('neighbor', scenario.monitor?.address ?? '', 'softresetout');
  },
};

const openbgpdContender: Contender = {
  status: (router) => router.ask('show'),
  name: 'OpenBGPD',
  atOnce: 4,
  start: (namespace, directory, scenario) =>
    startOpenbgpd({ namespace, directory, config: openbgpd(scenario) }),
  change: (router, scenario) => router.reload(openbgpd(scenario)),
};

function causeway(scenario: Scenario): object {
  const { router, testers, monitor, clients } = scenario;
  const neighbor = (name: string, peer: { address: string; asn: number }, exported?: string) => ({
    name,
    peer: { address: peer.address },
    asn: peer.asn,
    passive: true,
    timers: { hold: 240 },
    families: [
      {
        family: 'ipv4-unicast',
        import: 'all',
        ...(exported === undefined ? {} : { export: exported }),
      },
    ],
  });
  const accepting = (set: object): object => ({
    // biome-ignore lint/suspicious/noThenProperty: the policy language's word, and nobody awaits a statement
    statements: [{ set, then: 'accept' }],
  });
  return {
    asn: router.asn,
    routerId: router.address,
    listen: [{ address: router.address, port: 179 }],
    neighbors: [
      // An external neighbour without an export policy is sent nothing (RFC 8212).
      ...testers.map((peer, index) =>
        neighbor(`t${index}`, peer, scenario.testersReceive ? 'all' : undefined),
      ),
      ...(monitor === undefined ? [] : [neighbor('monitor', monitor, 'monitor')]),
    ],
    dynamicNeighbors:
      clients === undefined
        ? []
        : [
            {
              name: 'clients',
              prefix: clients.range,
              asns: 'internal',
              limit: clients.limit,
              template: {
                routeReflectorClient: true,
                timers: { hold: 240 },
                families: [{ family: 'ipv4-unicast' }],
              },
            },
          ],
    policies: {
      all: accepting({}),
      monitor: accepting(
        scenario.community === undefined ? {} : { communities: { add: [scenario.community] } },
      ),
    },
  };
}

const causewayContender: Contender = {
  name: 'Causeway',
  start: async (namespace, directory, scenario) => {
    const router = new OurRouter({ name: 'bench', namespace, directory });
    const configure = async (config: object): Promise<void> => {
      await router.client.ask('PUT', '/v1/config/bench', config);
    };
    await router.start();
    await configure(causeway(scenario));
    return {
      processes: [router.process],
      ask: async (method, path, body) =>
        JSON.stringify(
          await router.client.ask(
            method as 'GET',
            path ?? '/v1/status',
            body === undefined ? undefined : JSON.parse(body),
          ),
        ),
      reload: (config) => configure(JSON.parse(config) as object),
      [Symbol.asyncDispose]: () => router[Symbol.asyncDispose](),
    };
  },
  status: (router) => router.ask('GET', '/v1/status'),
  change: (router, scenario) => router.reload(JSON.stringify(causeway(scenario))),
};

const all: readonly Contender[] = [
  causewayContender,
  birdContender,
  frrContender,
  gobgpContender,
  openbgpdContender,
];

/** Those named in BENCH_ROUTERS (`Causeway,BIRD`), or all: to look into one, not to quote from. */
export const contenders: readonly Contender[] = all.filter(
  ({ name }) => process.env.BENCH_ROUTERS?.split(',').includes(name) ?? true,
);
