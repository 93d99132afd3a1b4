import type { Engine } from '../runtime/engine.ts';

/** Prometheus' text form (version 0.0.4); every name carries its unit. */
export function metricsText(engine: Engine | undefined): string {
  const lines: string[] = [];
  const metric = (
    name: string,
    type: 'gauge' | 'counter',
    help: string,
    rows: readonly (readonly [labels: Readonly<Record<string, string>>, value: number])[],
  ) => {
    if (rows.length === 0) return;
    lines.push(
      `# HELP causeway_speaker_${name} ${help}`,
      `# TYPE causeway_speaker_${name} ${type}`,
    );
    for (const [labels, value] of rows)
      lines.push(`causeway_speaker_${name}${labelText(labels)} ${value}`);
  };
  metric('process_resident_memory_bytes', 'gauge', 'Memory of the process.', [
    [{}, process.memoryUsage.rss()],
  ]);
  if (engine === undefined) return `${lines.join('\n')}\n`;
  const { core, kernel, bfd } = engine;
  const counters = core.counters();
  const peers = core.peers();
  metric('peers', 'gauge', 'Neighbours known.', [[{}, counters.peers]]);
  metric('peers_established', 'gauge', 'Neighbours whose session is up.', [
    [{}, counters.established],
  ]);
  metric('prefixes', 'gauge', 'Prefixes with a path.', byKey('family', counters.prefixes));
  metric('paths', 'gauge', 'Paths held.', byKey('family', counters.paths));
  metric('attribute_sets', 'gauge', 'Different sets of path attributes.', [
    [{}, counters.attributeSets],
  ]);
  metric('update_groups', 'gauge', 'Groups of neighbours that share what is sent.', [
    [{}, counters.updateGroups],
  ]);
  metric('table_bytes', 'gauge', 'Memory of the tables.', [[{}, counters.tableBytes]]);
  const each = (pick: (peer: (typeof peers)[number]) => number) =>
    peers.map((peer) => [{ peer: peer.name }, pick(peer)] as const);
  metric(
    'peer_up',
    'gauge',
    '1 if the session is up.',
    each(({ state }) => Number(state === 'established')),
  );
  metric(
    'peer_ups_total',
    'counter',
    'Times the session came up.',
    each(({ ups }) => ups),
  );
  metric(
    'peer_downs_total',
    'counter',
    'Times the session fell.',
    each(({ downs }) => downs),
  );
  metric(
    'peer_updates_received_total',
    'counter',
    'UPDATEs received.',
    each(({ messages }) => messages.updatesIn),
  );
  metric(
    'peer_updates_sent_total',
    'counter',
    'UPDATEs sent.',
    each(({ messages }) => messages.updatesOut),
  );
  for (const [name, help, pick] of [
    ['peer_paths_received', 'Paths held from the neighbour.', 'received'],
    ['peer_paths_accepted', 'Paths that policy accepted.', 'accepted'],
    ['peer_paths_advertised', 'Prefixes that the neighbour was sent.', 'advertised'],
    ['peer_paths_stale', 'Paths kept while the neighbour is away.', 'stale'],
  ] as const) {
    metric(
      name,
      'gauge',
      help,
      peers.flatMap((peer) =>
        peer.families.map((row) => [{ peer: peer.name, family: row.family }, row[pick]] as const),
      ),
    );
  }
  const routes = kernel.status();
  metric('kernel_routes_installed', 'gauge', 'Routes of ours in the kernel.', [
    [{}, routes.installed],
  ]);
  metric('kernel_routes_failed', 'gauge', 'Routes that the kernel refuses.', [[{}, routes.failed]]);
  if (bfd !== undefined) {
    const { connected, sessions, up } = bfd.status();
    metric('bfd_connected', 'gauge', '1 if the BFD daemon answers.', [[{}, Number(connected)]]);
    metric('bfd_sessions', 'gauge', 'Sessions wanted.', [[{}, sessions]]);
    metric('bfd_sessions_up', 'gauge', 'Sessions up.', [[{}, up]]);
  }
  return `${lines.join('\n')}\n`;
}

const byKey = (label: string, values: Readonly<Record<string, number>>) =>
  Object.entries(values).map(([key, value]) => [{ [label]: key }, value] as const);

function labelText(labels: Readonly<Record<string, string>>): string {
  const text = Object.entries(labels)
    .map(
      ([key, value]) =>
        `${key}="${value.replace(/[\\"\n]/g, (c) => (c === '\n' ? '\\n' : `\\${c}`))}"`,
    )
    .join(',');
  return text === '' ? '' : `{${text}}`;
}
