import { contextPath, readContexts, writeCurrent } from '../context.ts';
import { CliError } from '../errors.ts';
import { printJson, printLine, printTable } from '../output/print.ts';
import type { Invocation } from '../program/invocation.ts';

export async function list({ json }: Invocation): Promise<void> {
  const { labNames, readState } = await import('@causeway/lab');
  const file = await readContexts();
  const rows = Object.entries(file.contexts).map(([name, { etcd, agents }]) => ({
    name,
    current: name === file.current,
    etcd: etcd.endpoints,
    nodes: Object.keys(agents),
  }));
  for (const lab of labNames()) {
    for (const cluster of planOf(lab))
      rows.push({
        name: `lab:${lab}/${cluster.name}`,
        current: false,
        etcd: [],
        nodes: cluster.nodes,
      });
  }
  if (json) return printJson(rows);
  printTable(
    rows,
    [
      { heading: 'CURRENT', cell: ({ current }) => (current ? '*' : '') },
      { heading: 'NAME', cell: ({ name }) => name },
      { heading: 'NODES', cell: ({ nodes }) => nodes },
      { heading: 'STORE', cell: ({ etcd }) => etcd },
    ],
    `no contexts in ${contextPath()} and no labs`,
  );

  /** A lab whose state cannot be read has no contexts; `lab ls` says so. */
  function planOf(lab: string): { name: string; nodes: string[] }[] {
    try {
      const clusters = readState(lab)?.plan.clusters ?? [];
      return clusters.map(({ name, nodes }) => ({ name, nodes: nodes.map((node) => node.name) }));
    } catch {
      return [];
    }
  }
}

export async function use({ json }: Invocation, [name]: readonly string[]): Promise<void> {
  const { contexts } = await readContexts();
  if (!Object.hasOwn(contexts, name!))
    throw new CliError('not-found', `there is no context ${name} in ${contextPath()}`, {
      field: 'name',
      value: name,
      hint: `known: ${Object.keys(contexts).join(', ') || '(none)'}`,
    });
  await writeCurrent(name!);
  if (json) printJson({ current: name });
  else printLine(`commands work against ${name} now`);
}
