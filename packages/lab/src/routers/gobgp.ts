import type { ListenPlan, RouterPlan } from '../plan/types.ts';
import type { RouterDaemon, RouterSession } from './daemon.ts';

/**
 * GoBGP: sessions and tables, no kernel routes. It would install them through FRR's zebra only, and
 * Debian 12's GoBGP 3.10 ends in a panic when Debian 12's zebra 8.4 tells it of its interfaces.
 */
export const gobgp: RouterDaemon = {
  config: (plan) => ({ 'gobgpd.toml': configure(plan) }),
  programs: (directory) => [
    {
      name: 'gobgpd',
      argv: ['gobgpd', '-t', 'toml', '-f', `${directory}/gobgpd.toml`, '--pprof-disable'],
    },
  ],
  sessionsCommand: ['gobgp', 'neighbor', '-j'],
  parseSessions,
  bfd: undefined,
  kernelProtocol: undefined,
};

const FAMILIES = ['ipv4', 'ipv6'] as const;

function configure(plan: RouterPlan): string {
  const timers = (table: string): string[] => [
    `  [${table}.timers.config]`,
    `    hold-time = ${plan.holdSeconds}`,
    `    keepalive-interval = ${Math.max(1, Math.floor(plan.holdSeconds / 3))}`,
    '    connect-retry = 1',
    '    idle-hold-time-after-reset = 1',
  ];
  const family = (table: string, name: 'ipv4' | 'ipv6'): string[] => [
    `  [[${table}.afi-safis]]`,
    `    [${table}.afi-safis.config]`,
    `      afi-safi-name = "${name}-unicast"`,
  ];
  return `${[
    '[global.config]',
    `  as = ${plan.asn}`,
    `  router-id = "${plan.routerId}"`,
    '  port = 179',
    '[global.use-multiple-paths.config]',
    `  enabled = ${plan.multipath > 1}`,
    ...plan.sessions.flatMap(({ neighbor, remote, local, asn, family: name }) => [
      '[[neighbors]]',
      '  [neighbors.config]',
      `    neighbor-address = "${remote}"`,
      `    peer-as = ${asn}`,
      `    description = "${neighbor}"`,
      '  [neighbors.transport.config]',
      `    local-address = "${local}"`,
      ...timers('neighbors'),
      ...family('neighbors', name),
    ]),
    ...plan.listens.flatMap((listen) => [
      '[[peer-groups]]',
      '  [peer-groups.config]',
      `    peer-group-name = "${groupName(listen)}"`,
      `    peer-as = ${listen.asn === 'internal' ? plan.asn : listen.asn}`,
      ...(listen.reflect
        ? [
            '  [peer-groups.route-reflector.config]',
            '    route-reflector-client = true',
            `    route-reflector-cluster-id = "${plan.routerId}"`,
          ]
        : []),
      ...timers('peer-groups'),
      ...family('peer-groups', listen.family),
      '[[dynamic-neighbors]]',
      '  [dynamic-neighbors.config]',
      `    prefix = "${listen.range}"`,
      `    peer-group = "${groupName(listen)}"`,
    ]),
    ...policies(plan.listens),
  ].join('\n')}\n`;
}

function groupName({ rack, family }: ListenPlan): string {
  return `${rack}-${family}`;
}

/** GoBGP's policies stand at its one table: a statement a group that rejects what must not pass. */
function policies(listens: readonly ListenPlan[]): string[] {
  const sets: string[] = [];
  const chosen: Record<'import' | 'export', string[]> = { import: [], export: [] };
  for (const family of FAMILIES)
    sets.push(
      '[[defined-sets.prefix-sets]]',
      `  prefix-set-name = "default-${family}"`,
      '  [[defined-sets.prefix-sets.prefix-list]]',
      `    ip-prefix = "${family === 'ipv4' ? '0.0.0.0/0' : '::/0'}"`,
    );
  const policy = (
    name: string,
    neighbors: string,
    prefixes: { set: string; option: string } | undefined,
  ) => [
    '[[policy-definitions]]',
    `  name = "${name}"`,
    '  [[policy-definitions.statements]]',
    '    [policy-definitions.statements.conditions.match-neighbor-set]',
    `      neighbor-set = "${neighbors}"`,
    ...(prefixes === undefined
      ? []
      : [
          '    [policy-definitions.statements.conditions.match-prefix-set]',
          `      prefix-set = "${prefixes.set}"`,
          `      match-set-options = "${prefixes.option}"`,
        ]),
    '    [policy-definitions.statements.actions]',
    '      route-disposition = "reject-route"',
  ];
  const statements = listens.flatMap((listen) => {
    const name = groupName(listen);
    const lines: string[] = [];
    sets.push(
      '[[defined-sets.neighbor-sets]]',
      `  neighbor-set-name = "${name}"`,
      `  neighbor-info-list = ["${listen.range}"]`,
    );
    if (listen.accept === undefined) {
      chosen.import.push(`${name}-in`);
      lines.push(...policy(`${name}-in`, name, { set: `default-${listen.family}`, option: 'any' }));
    } else {
      chosen.import.push(`${name}-in`);
      if (listen.accept.length > 0)
        sets.push(
          '[[defined-sets.prefix-sets]]',
          `  prefix-set-name = "${name}-accept"`,
          ...listen.accept.flatMap((prefix) => [
            '  [[defined-sets.prefix-sets.prefix-list]]',
            `    ip-prefix = "${prefix}"`,
            `    masklength-range = "${prefix.split('/')[1]}..${listen.family === 'ipv4' ? 32 : 128}"`,
          ]),
        );
      lines.push(
        ...policy(
          `${name}-in`,
          name,
          listen.accept.length > 0 ? { set: `${name}-accept`, option: 'invert' } : undefined,
        ),
      );
    }
    if (listen.advertise !== 'all') {
      chosen.export.push(`${name}-out`);
      lines.push(
        ...policy(
          `${name}-out`,
          name,
          listen.advertise === 'default'
            ? { set: `default-${listen.family}`, option: 'invert' }
            : undefined,
        ),
      );
    }
    return lines;
  });
  if (listens.length === 0) return [];
  const list = (names: readonly string[]) => `[${names.map((name) => `"${name}"`).join(', ')}]`;
  return [
    '[global.apply-policy.config]',
    `  import-policy-list = ${list(chosen.import)}`,
    '  default-import-policy = "accept-route"',
    `  export-policy-list = ${list(chosen.export)}`,
    '  default-export-policy = "accept-route"',
    ...sets,
    ...statements,
  ];
}

/** Session states as GoBGP's API numbers them. */
const STATES = ['unknown', 'Idle', 'Connect', 'Active', 'OpenSent', 'OpenConfirm', 'Established'];

function parseSessions(output: string): RouterSession[] {
  const neighbors = JSON.parse(output) as {
    conf?: { peer_asn?: number };
    state?: {
      neighbor_address?: string;
      peer_asn?: number;
      session_state?: number;
    };
    afi_safis?: { state?: { received?: number } }[];
  }[];
  return neighbors.flatMap(({ conf, state, afi_safis = [] }) =>
    state?.neighbor_address === undefined
      ? []
      : [
          {
            remote: state.neighbor_address,
            asn: state.peer_asn ?? conf?.peer_asn,
            established: state.session_state === 6,
            state: STATES[state.session_state ?? 0] ?? 'unknown',
            received: afi_safis.reduce((sum, each) => sum + (each.state?.received ?? 0), 0),
          },
        ],
  );
}
