import { Prefix } from '@causeway/ip';
import type { ListenPlan, RouterPlan } from '../plan/types.ts';
import type { RouterBfd, RouterDaemon, RouterSession } from './daemon.ts';

/** FRR: zebra for the kernel, bgpd and bfdd beside it. They give up root for a user of their own. */
export const frr: RouterDaemon = {
  config: (plan) => ({
    // With nexthop groups zebra 8.4 leaves a link out for ever that lost its carrier and has it back.
    'zebra.conf': `hostname ${plan.name}\nlog stdout warnings\nno zebra nexthop kernel enable\n`,
    'bfdd.conf': `hostname ${plan.name}\nlog stdout warnings\n${bfdProfile(plan)}`,
    'bgpd.conf': configure(plan),
    'vtysh.conf': 'no service integrated-vtysh-config\n',
  }),
  programs: () => [
    { name: 'zebra', argv: ['/usr/lib/frr/zebra'], awaits: 'zserv.api' },
    { name: 'bfdd', argv: ['/usr/lib/frr/bfdd'], awaits: 'bfdd.vty' },
    { name: 'bgpd', argv: ['/usr/lib/frr/bgpd'], awaits: 'bgpd.vty' },
  ],
  owner: 'frr',
  sessionsCommand: ['vtysh', '-c', 'show bgp summary json'],
  parseSessions,
  bfd: { command: ['vtysh', '-c', 'show bfd peers json'], parse: parseBfd },
  kernelProtocol: 'bgp',
};

function bfdProfile({ bfd }: RouterPlan): string {
  if (bfd === undefined) return '';
  return `bfd\n profile lab\n  detect-multiplier ${bfd.multiplier}\n  receive-interval ${bfd.intervalMs}\n  transmit-interval ${bfd.intervalMs}\n`;
}

interface Group {
  readonly family: 'ipv4' | 'ipv6';
  readonly name: string;
  /** Lines at the head of `router bgp`, and in the group's address family. */
  readonly head: readonly string[];
  readonly inside: readonly string[];
}

function configure(plan: RouterPlan): string {
  const keepalive = Math.max(1, Math.floor(plan.holdSeconds / 3));
  const bfd = (name: string): string[] =>
    plan.bfd === undefined ? [] : [`neighbor ${name} bfd`, `neighbor ${name} bfd profile lab`];
  const fixed = plan.sessions.map(
    ({ family, remote, asn, neighbor, bfd: both }): Group => ({
      family,
      name: remote,
      head: [
        `neighbor ${remote} remote-as ${asn}`,
        `neighbor ${remote} description ${neighbor}`,
        `neighbor ${remote} timers connect 1`,
        ...(both ? bfd(remote) : []),
      ],
      inside: [
        `neighbor ${remote} activate`,
        `neighbor ${remote} next-hop-self`,
        `neighbor ${remote} route-map EVERYTHING-${family} in`,
        `neighbor ${remote} route-map EVERYTHING-${family} out`,
      ],
    }),
  );
  const dynamic = plan.listens.map((listen): Group => {
    const name = groupName(listen);
    return {
      family: listen.family,
      name,
      head: [
        `neighbor ${name} peer-group`,
        `neighbor ${name} remote-as ${listen.asn}`,
        ...bfd(name),
        `bgp listen range ${listen.range} peer-group ${name}`,
      ],
      inside: [
        `neighbor ${name} activate`,
        `neighbor ${name} next-hop-self`,
        ...(listen.reflect ? [`neighbor ${name} route-reflector-client`] : []),
        `neighbor ${name} route-map ${name}-IN in`,
        `neighbor ${name} route-map ${name}-OUT out`,
      ],
    };
  });
  const groups = [...fixed, ...dynamic];
  const limit = plan.listens.reduce((sum, listen) => sum + listen.limit, 0);
  return `${[
    `hostname ${plan.name}`,
    'log stdout informational',
    `router bgp ${plan.asn}`,
    ` bgp router-id ${plan.routerId}`,
    ' no bgp default ipv4-unicast',
    ' no bgp network import-check',
    ' bgp bestpath as-path multipath-relax',
    ` timers bgp ${keepalive} ${plan.holdSeconds}`,
    ...(limit > 0 ? [` bgp listen limit ${Math.min(limit, 5000)}`] : []),
    ...groups.flatMap(({ head }) => head.map((line) => ` ${line}`)),
    ...(['ipv4', 'ipv6'] as const).flatMap((family) => [
      ` address-family ${family} unicast`,
      `  maximum-paths ${plan.multipath}`,
      `  maximum-paths ibgp ${plan.multipath}`,
      ...plan.originate
        .filter((prefix) => Prefix.family(prefix) === family)
        .map((prefix) => `  network ${prefix}`),
      ...(plan.rackDevices.length > 0 ? ['  redistribute connected route-map RACKS'] : []),
      ...groups
        .filter((group) => group.family === family)
        .flatMap(({ inside }) => inside.map((line) => `  ${line}`)),
      ' exit-address-family',
    ]),
    'exit',
    'route-map EVERYTHING-ipv4 permit 10',
    'exit',
    'route-map EVERYTHING-ipv6 permit 10',
    GLOBAL_NEXT_HOP,
    'exit',
    ...plan.rackDevices.flatMap((device, i) => [
      `route-map RACKS permit ${(i + 1) * 10}`,
      ` match interface ${device}`,
      // As BIRD has it: paths of different origin are not equal.
      ' set origin igp',
      'exit',
    ]),
    ...plan.listens.flatMap(policies),
  ].join('\n')}\n`;
}

/** Otherwise routes go to link-local next hops, which say nothing to a person and hide equal ones. */
const GLOBAL_NEXT_HOP = ' set ipv6 next-hop prefer-global';

function groupName({ rack, family }: ListenPlan): string {
  return `${rack}-${family}`;
}

function policies(listen: ListenPlan): string[] {
  const name = groupName(listen);
  const word = listen.family === 'ipv4' ? 'ip' : 'ipv6';
  const all = listen.family === 'ipv4' ? '0.0.0.0/0' : '::/0';
  const length = listen.family === 'ipv4' ? 32 : 128;
  const list = (suffix: string, lines: readonly string[]): string[] =>
    lines.map((line, i) => `${word} prefix-list ${name}-${suffix} seq ${(i + 1) * 5} ${line}`);
  const longer = (prefix: Prefix): string =>
    Prefix.length(prefix) === length ? `permit ${prefix}` : `permit ${prefix} le ${length}`;
  return [
    ...list(
      'IN',
      listen.accept === undefined
        ? [`deny ${all}`, `permit ${all} le ${length}`]
        : [...listen.accept.map(longer), `deny ${all} le ${length}`],
    ),
    ...list(
      'OUT',
      {
        none: [`deny ${all} le ${length}`],
        default: [`permit ${all}`, `deny ${all} le ${length}`],
        all: [`permit ${all} le ${length}`],
      }[listen.advertise],
    ),
    ...['IN', 'OUT'].flatMap((way) => [
      `route-map ${name}-${way} permit 10`,
      ` match ${word} address prefix-list ${name}-${way}`,
      ...(way === 'IN' && listen.family === 'ipv6' ? [GLOBAL_NEXT_HOP] : []),
      'exit',
    ]),
  ];
}

function parseSessions(output: string): RouterSession[] {
  const families = JSON.parse(output) as Record<
    string,
    { peers?: Record<string, { remoteAs: number; state: string; pfxRcd?: number }> }
  >;
  return Object.values(families).flatMap(({ peers = {} }) =>
    Object.entries(peers).map(([remote, { remoteAs, state, pfxRcd }]) => ({
      remote,
      asn: remoteAs,
      established: state === 'Established',
      state,
      received: pfxRcd,
    })),
  );
}

function parseBfd(output: string): RouterBfd[] {
  const peers = JSON.parse(output) as { peer: string; status: string }[];
  return peers.map(({ peer, status }) => ({ remote: peer, up: status === 'up', state: status }));
}
