import { Prefix } from '@causeway/ip';
import type { ListenPlan, RouterPlan, SessionPlan } from '../plan/types.ts';
import type { RouterBfd, RouterDaemon, RouterSession } from './daemon.ts';

/** BIRD 2: one process, one table a family. */
export const bird: RouterDaemon = {
  config: (plan) => ({ 'bird.conf': configure(plan) }),
  programs: (directory) => [
    { name: 'bird', argv: ['bird', '-f', '-c', `${directory}/bird.conf`], awaits: 'bird.ctl' },
  ],
  sessionsCommand: ['birdc', '-r', 'show', 'protocols', 'all'],
  parseSessions,
  bfd: { command: ['birdc', '-r', 'show', 'bfd', 'sessions'], parse: parseBfd },
  kernelProtocol: 'bird',
};

function configure(plan: RouterPlan): string {
  const racks = plan.rackDevices.map((device) => `"${device}"`).join(', ');
  const blocks = [
    'log stderr all;',
    `router id ${plan.routerId};`,
    'protocol device { scan time 2; }',
    ...(racks === '' ? [] : [`protocol direct racks { ipv4; ipv6; interface ${racks}; }`]),
    ...(['ipv4', 'ipv6'] as const).flatMap((family) => {
      const own = plan.originate.filter((prefix) => Prefix.family(prefix) === family);
      const routes = own.map((prefix) => `  route ${prefix} unreachable;`).join('\n');
      return [
        // Connected routes are the kernel's own.
        `protocol kernel kernel_${family} {\n  merge paths on limit ${plan.multipath};\n  ${family} { import none; export where source != RTS_DEVICE; };\n}`,
        ...(own.length === 0
          ? []
          : [`protocol static own_${family} {\n  ${family};\n${routes}\n}`]),
      ];
    }),
    ...(plan.bfd === undefined
      ? []
      : [
          `protocol bfd {\n  interface "*" { interval ${plan.bfd.intervalMs} ms; multiplier ${plan.bfd.multiplier}; };\n}`,
        ]),
    ...plan.sessions.map((session) => fixed(plan, session)),
    ...plan.listens.map((listen) => dynamic(plan, listen)),
  ];
  return `${blocks.join('\n')}\n`;
}

/** Fast where the defaults wait for minutes: a lab's routers come back within seconds. */
function timers(plan: RouterPlan): string {
  const { holdSeconds } = plan;
  return `hold time ${holdSeconds}; keepalive time ${Math.max(1, Math.floor(holdSeconds / 3))}; connect delay time 1; connect retry time 1; error wait time 1, 4;`;
}

function fixed(plan: RouterPlan, session: SessionPlan): string {
  const { neighbor, family, local, remote, asn } = session;
  const bfd = plan.bfd !== undefined && session.bfd ? '  bfd on;\n' : '';
  return `protocol bgp ${identifier(neighbor)}_${family} {
  description "${neighbor}";
  local ${local} as ${plan.asn};
  neighbor ${remote} as ${asn};
  direct;
  ${timers(plan)}
${bfd}  ${family} { import all; export all; next hop self ebgp; };
}`;
}

function dynamic(plan: RouterPlan, listen: ListenPlan): string {
  const { rack, family, local, range, asn } = listen;
  const exports = {
    none: 'none',
    default: `where net = ${family === 'ipv4' ? '0.0.0.0/0' : '::/0'}`,
    all: 'all',
  }[listen.advertise];
  const reflect = listen.reflect ? '  rr client;\n' : '';
  return `protocol bgp ${identifier(rack)}_${family} {
  description "nodes of ${rack}";
  local ${local} as ${plan.asn};
  neighbor range ${range} ${typeof asn === 'number' ? `as ${asn}` : asn};
  dynamic name "${identifier(rack)}_${family}_";
  direct;
  ${timers(plan)}
${plan.bfd === undefined ? '' : '  bfd on;\n'}${reflect}  ${family} { import ${imports(listen)}; export ${exports}; next hop self ebgp; };
}`;
}

function imports({ accept, family }: ListenPlan): string {
  if (accept === undefined) return `where net != ${family === 'ipv4' ? '0.0.0.0/0' : '::/0'}`;
  if (accept.length === 0) return 'none';
  return `where net ~ [ ${accept.map((prefix) => `${prefix}+`).join(', ')} ]`;
}

/** BIRD's names hold letters, digits and underscores and start with a letter. */
function identifier(name: string): string {
  return `r_${name.replaceAll('-', '_')}`;
}

/** Blocks of `show protocols all`: a line with the name at its start, indented lines about it. */
function parseSessions(output: string): RouterSession[] {
  return output.split(/\n(?=\S)/).flatMap((block): RouterSession[] => {
    const head = /^\S+\s+BGP\s+/.exec(block);
    const remote = /^\s+Neighbor address: (\S+)/m.exec(block)?.[1]?.split('%')[0];
    if (head === null || remote === undefined || remote.includes('/')) return [];
    const state = /^\s+BGP state:\s+(.+)$/m.exec(block)?.[1]?.trim() ?? 'down';
    const asn = /^\s+Neighbor AS:\s+(\d+)/m.exec(block)?.[1];
    const routes = [...block.matchAll(/^\s+Routes:\s+(\d+) imported/gm)];
    return [
      {
        remote,
        asn: asn === undefined ? undefined : Number(asn),
        established: state === 'Established',
        state,
        received: routes.reduce((sum, [, count]) => sum + Number(count), 0),
      },
    ];
  });
}

/** A table: `10.9.1.11  eth0  Up  2026-11-22 07:00:00  0.300  0.900`, the state's first letter large. */
function parseBfd(output: string): RouterBfd[] {
  return [...output.matchAll(/^([0-9a-f.:]+)(?:%\S+)?\s+\S+\s+(Up|Down|Init|AdminDown)\s/gm)].map(
    ([, remote, state]) => ({ remote: remote!, up: state === 'Up', state: state! }),
  );
}
