import {
  destroyLab,
  isBeingBuilt,
  type Lab,
  LabError,
  labNames,
  openLab,
  readState,
  storePaths,
  upLab,
} from '@causeway/lab';
import { CliError } from '../errors.ts';
import { printJson, printLine, printTable } from '../output/print.ts';
import type { Invocation } from '../program/invocation.ts';

export async function up({ json, options }: Invocation, [file]: readonly string[]): Promise<void> {
  const stop = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const)
    process.once(signal, () =>
      stop.abort(new LabError('command-failed', `interrupted by ${signal}`)),
    );
  const started = performance.now();
  const progress = (line: string): void => {
    // With --json, standard output holds the document alone.
    process.stderr.write(`${line}\n`);
  };
  await using lab = await upLab(file!, {
    progress,
    signal: stop.signal,
    keepOnFailure: options.keepOnFailure === true,
    ...(typeof options.name === 'string' ? { name: options.name } : {}),
  });
  const seconds = Math.round((performance.now() - started) / 100) / 10;
  const { name } = lab;
  const contexts = lab.clusters.map((cluster) => `lab:${name}/${cluster.plan.name}`);
  if (json)
    return printJson({
      name,
      seconds,
      contexts,
      places: lab.places().map(({ kind, place }) => ({ kind, place })),
    });
  printLine(`lab ${name} is up after ${seconds} s`);
  printLine(`  causeway --context ${contexts[0]} status`);
  printLine(`  causeway lab places ${name}`);
  printLine(`  causeway lab down ${name}`);
}

export async function down(
  { json, options }: Invocation,
  [name]: readonly string[],
): Promise<void> {
  const report = await destroyLab(name!, { force: options.force === true });
  if (json) printJson(report);
  else printLine(report.existed ? `lab ${name} is down` : `lab ${name} was not up`);
}

export async function list({ json }: Invocation): Promise<void> {
  const rows = labNames().map(describeLab);
  if (json) return printJson(rows);
  printTable(
    rows,
    [
      { heading: 'NAME', cell: (row) => row.name },
      { heading: 'STATE', cell: (row) => row.state },
      { heading: 'CLUSTERS', cell: (row) => row.clusters },
      { heading: 'NODES', cell: (row) => row.nodes },
      { heading: 'PODS', cell: (row) => row.pods },
      { heading: 'SINCE', cell: (row) => row.since },
      { heading: 'FILE', cell: (row) => row.file },
    ],
    'no labs are up; causeway lab up demo starts one',
  );
}

interface LabRow {
  readonly name: string;
  readonly state: string;
  readonly clusters: readonly string[];
  readonly nodes: number;
  readonly pods: number;
  readonly since: string | undefined;
  readonly file: string | undefined;
}

/** A lab that is damaged is a row as well: it is what somebody looks for. */
function describeLab(name: string): LabRow {
  const nothing = { name, clusters: [], nodes: 0, pods: 0, since: undefined, file: undefined };
  try {
    const state = readState(name);
    if (state === undefined) return { ...nothing, state: 'half removed' };
    const { clusters } = state.plan;
    return {
      name,
      state: state.phase === 'building' && !isBeingBuilt(state) ? 'half built' : state.phase,
      clusters: clusters.map((cluster) => cluster.name),
      nodes: clusters.reduce((sum, cluster) => sum + cluster.nodes.length, 0),
      pods: state.pods.length,
      since: state.createdAt,
      file: state.source,
    };
  } catch (error) {
    return { ...nothing, state: error instanceof LabError ? error.code : 'damaged' };
  }
}

export async function places({ json }: Invocation, [name]: readonly string[]): Promise<void> {
  await using lab = openLab(name!);
  const rows = lab.places();
  if (json) return printJson(rows);
  printTable(
    rows,
    [
      { heading: 'KIND', cell: ({ kind }) => kind },
      { heading: 'PLACE', cell: ({ place }) => `${name}/${place}` },
      { heading: 'NODE', cell: ({ node }) => node },
    ],
    'no places',
  );
}

export async function exec(
  { json }: Invocation,
  [target, ...argv]: readonly string[],
): Promise<void> {
  const { name, rest } = splitPlace(target!);
  await using lab = openLab(name);
  if (json) {
    const result = await lab.exec(rest, argv);
    printJson(result);
    process.exitCode = result.code;
    return;
  }
  process.exitCode = await lab.attach(rest, argv);
}

export async function logs(
  { json, options }: Invocation,
  [target]: readonly string[],
): Promise<void> {
  const { createReadStream, existsSync } = await import('node:fs');
  const { name, rest } = splitPlace(target!);
  await using lab = openLab(name);
  const path = logOf(lab, rest, options.program);
  if (json) return printJson({ path });
  if (!existsSync(path))
    throw new CliError('not-found', `${path} is not there yet`, { value: path });
  const { pipeline } = await import('node:stream/promises');
  await pipeline(createReadStream(path), process.stdout, { end: false });
}

function logOf(lab: Lab, place: string, program: unknown): string {
  const store = /^([^/]+)\/etcd$/.exec(place);
  if (store !== null) return storePaths(lab.name, lab.cluster(store[1]).plan.name).log;
  if (/\/operator-\d+$/.test(place)) return lab.operator(place).log;
  if (/\/inventory-\d+$/.test(place)) return lab.inventory(place).log;
  const router = lab.routers.find((candidate) => candidate.name === place);
  const logs = new Map(
    router === undefined
      ? lab.agent(place).programs.map((each) => [each.name as string, each.log] as const)
      : Object.entries(router.logs),
  );
  const wanted = program ?? (router === undefined ? 'agent' : [...logs.keys()].at(-1));
  const path = logs.get(String(wanted));
  if (path !== undefined) return path;
  throw new CliError('bad-usage', `${place} runs no ${String(wanted)}`, {
    field: '--program',
    value: wanted,
    hint: `it runs ${[...logs.keys()].join(', ')}`,
  });
}

/** `demo/main/default/web` into the lab and the place in it. */
export function splitPlace(target: string): { name: string; rest: string } {
  const slash = target.indexOf('/');
  if (slash > 0 && slash < target.length - 1)
    return { name: target.slice(0, slash), rest: target.slice(slash + 1) };
  throw new CliError('bad-usage', `${JSON.stringify(target)} is not of the form NAME/PLACE`, {
    field: 'place',
    value: target,
    hint: 'causeway lab ls shows the names, causeway lab places NAME the places',
  });
}
