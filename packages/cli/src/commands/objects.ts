import {
  type ApplyReport,
  type ObjectRef,
  type Resource,
  type ResourceStore,
  redacted,
} from '@causeway/resources';
import { CliError, EXIT, printError } from '../errors.ts';
import { readManifests } from '../manifests.ts';
import { printJson, printLine, printTable, printYaml } from '../output/print.ts';
import type { Column } from '../output/table.ts';
import type { Invocation } from '../program/invocation.ts';
import { parseSelector } from '../selector.ts';
import { ageText, columnsFor, kindOf } from './kinds.ts';

export async function get(
  invocation: Invocation,
  [kindName, name]: readonly string[],
): Promise<void> {
  const { options } = invocation;
  const kind = kindOf(kindName!);
  const form = outputForm(invocation);
  const matches = parseSelector(String(options.selector ?? ''));
  const everywhere = options.allNamespaces === true || !kind.namespaced;
  const scope = everywhere ? {} : { namespace: String(options.namespace) };
  if (name !== undefined && options.allNamespaces === true)
    throw new CliError('bad-usage', 'a name and --all-namespaces do not go together', {
      field: 'name',
      value: name,
    });
  const { items, rejected } = await invocation.withTarget(async (target) => {
    const store = await target.store();
    if (name === undefined) return store.list(kind.kind, scope);
    return { items: [await store.get(kind.kind, { ...scope, name })], rejected: [] };
  });
  const shown = options.showSecrets === true ? (object: Resource) => object : redacted<Resource>;
  const chosen = items
    .filter(({ metadata }) => matches(metadata.labels ?? {}))
    .sort(byName)
    .map(shown);
  for (const { key, reason } of rejected)
    process.stderr.write(`causeway: ${key} is no valid ${kind.kind}: ${reason}\n`);
  if (form === 'json') return printJson(name === undefined ? listOf(chosen) : chosen[0]);
  if (form === 'yaml') return printYaml(name === undefined ? listOf(chosen) : chosen[0]);
  const columns: Column<Resource>[] = [
    ...(kind.namespaced && everywhere
      ? [{ heading: 'NAMESPACE', cell: ({ metadata }: Resource) => metadata.namespace }]
      : []),
    { heading: 'NAME', cell: ({ metadata }) => metadata.name },
    ...columnsFor(kind, form === 'wide'),
    { heading: 'AGE', cell: ({ metadata }) => ageText(metadata.creationTimestamp, Date.now()) },
  ];
  const where = everywhere ? '' : ` in namespace ${String(options.namespace)}`;
  printTable(chosen, columns, `no ${kind.plural}${where}`);
}

export async function apply(invocation: Invocation): Promise<void> {
  const { options, json } = invocation;
  const objects = await readManifests(options.filename as string[]);
  const dryRun = options.dryRun === true;
  const report: ApplyReport = await invocation.withTarget(async (target) =>
    (await target.store()).apply(
      objects.map(({ value }) => value),
      {
        namespace: String(options.namespace),
        dryRun,
        where: objects.map(({ where }) => where),
      },
    ),
  );
  if (json) {
    const results = report.results.map((each) => ({ ...each, object: redacted(each.object) }));
    return printJson({ dryRun, ...report, results });
  }
  for (const { action, kind, namespace, name, warnings } of report.results) {
    printLine(`${kind} ${refText({ namespace, name })} ${action}${dryRun ? ' (dry run)' : ''}`);
    for (const warning of warnings) process.stderr.write(`  warning: ${warning}\n`);
  }
  if (!report.atomic)
    process.stderr.write(
      'causeway: too many objects for one transaction: others may have seen some of them before the rest\n',
    );
}

export async function remove(
  invocation: Invocation,
  [kindName, ...names]: readonly string[],
): Promise<void> {
  const { options, json } = invocation;
  const targets = await whatToDelete(invocation, kindName, names);
  const done: { kind: string; namespace?: string; name: string; deleted: boolean }[] = [];
  let exit: number = EXIT.ok;
  await invocation.withTarget(async (target) => {
    const store = await target.store();
    for (const { kind, ref } of targets) {
      const deleted = await deleteOne(
        store,
        kind,
        ref,
        options.ignoreNotFound === true,
        (error) => {
          exit = printError(error, json);
        },
      );
      done.push({ kind, ...ref, deleted });
      if (deleted && !json) printLine(`${kind} ${refText(ref)} deleted`);
    }
  });
  if (json) printJson(done);
  process.exitCode = exit;
}

interface Deletion {
  readonly kind: Resource['kind'];
  readonly ref: ObjectRef;
}

async function whatToDelete(
  { options }: Invocation,
  kindName: string | undefined,
  names: readonly string[],
): Promise<Deletion[]> {
  const namespace = String(options.namespace);
  const files = options.filename as string[] | undefined;
  if ((files === undefined) === (kindName === undefined || names.length === 0))
    throw new CliError('bad-usage', 'name either a kind and objects of it, or manifests with -f', {
      hint: 'causeway delete netpol deny-all, or causeway delete -f policy.yaml',
    });
  if (files === undefined) {
    const kind = kindOf(kindName!);
    return names.map((name) => ({
      kind: kind.kind,
      ref: kind.namespaced ? { namespace, name } : { name },
    }));
  }
  const objects = await readManifests(files);
  return objects.map(({ where, value }) => {
    const metadata = value.metadata as { name?: unknown; namespace?: unknown } | undefined;
    if (typeof value.kind !== 'string' || typeof metadata?.name !== 'string')
      throw new CliError('bad-input', `${where} names no object: it needs kind and metadata.name`, {
        value: where,
      });
    const kind = kindOf(value.kind);
    const own = typeof metadata.namespace === 'string' ? metadata.namespace : namespace;
    return {
      kind: kind.kind,
      ref: kind.namespaced ? { namespace: own, name: metadata.name } : { name: metadata.name },
    };
  });
}

/** One object that fails must not keep the others: it is reported, and the rest goes on. */
async function deleteOne(
  store: ResourceStore,
  kind: Resource['kind'],
  ref: ObjectRef,
  ignoreNotFound: boolean,
  report: (error: unknown) => void,
): Promise<boolean> {
  try {
    await store.delete(kind, ref);
    return true;
  } catch (error) {
    if (!(ignoreNotFound && (error as { code?: unknown }).code === 'not-found')) report(error);
    return false;
  }
}

function outputForm({ json, options }: Invocation): 'table' | 'wide' | 'yaml' | 'json' {
  if (json) return 'json';
  const form = options.output;
  if (form === undefined) return 'table';
  if (form === 'wide' || form === 'yaml' || form === 'json') return form;
  throw new CliError('bad-usage', `there is no output ${String(form)}`, {
    field: '--output',
    value: form,
    hint: 'yaml, json or wide',
  });
}

/** As Kubernetes' tools give several objects, so that the output can be applied again. */
function listOf(items: readonly Resource[]): unknown {
  return { apiVersion: 'v1', kind: 'List', items };
}

function byName(a: Resource, b: Resource): number {
  const [left, right] = [a, b].map(
    ({ metadata }) => `${metadata.namespace ?? ''}/${metadata.name}`,
  );
  return left!.localeCompare(right!, 'en', { numeric: true });
}

function refText({
  namespace,
  name,
}: {
  readonly namespace?: string | undefined;
  readonly name: string;
}): string {
  return namespace === undefined ? name : `${namespace}/${name}`;
}
