import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { homedir, hostname } from 'node:os';
import { dirname, join } from 'node:path';
import type { Kv } from '@causeway/etcd';
import type { ResourceStore } from '@causeway/resources';
import { AgentClient } from './agent-client.ts';
import { CliError } from './errors.ts';

/** What a command works against: the agents of some nodes and the registry of a cluster. */
export interface Target {
  readonly name: string;
  readonly agents: readonly AgentClient[];
  /** Sockets of a lab's instances of the inventory. */
  readonly inventories: readonly string[];
  /** Connects at the first call; `close` when done. */
  store(): Promise<ResourceStore>;
  /** What the registry stands in, connected as for `store`. */
  kv(): Promise<Kv>;
  close(): Promise<void>;
}

/** How to reach a store. */
export interface StoreAddress {
  readonly endpoints: readonly string[];
  readonly tls?: { readonly caFile: string; readonly certFile?: string; readonly keyFile?: string };
}

interface NamedContext {
  readonly etcd: StoreAddress;
  /** Node name to the path of its agent's socket. */
  readonly agents: Readonly<Record<string, string>>;
}

export interface ContextFile {
  readonly current?: string;
  readonly contexts: Readonly<Record<string, NamedContext>>;
}

/** Without any context: this machine's own agent and a store on its loopback. */
const LOCAL: NamedContext = {
  etcd: { endpoints: ['http://127.0.0.1:2379'] },
  agents: { [hostname().toLowerCase()]: '/run/causeway/agent.sock' },
};

/**
 * Finds what `--context` (or CAUSEWAY_CONTEXT, or the file's current one) means: `lab:NAME/CLUSTER`,
 * `lab:NAME/CLUSTER/NODE`, or a name of the context file. `node` narrows to one node.
 */
export async function findTarget(
  context: string | undefined,
  node: string | undefined,
): Promise<Target> {
  const wanted = wantedContext(context);
  const target = wanted?.startsWith('lab:') ? await labTarget(wanted) : await fileTarget(wanted);
  if (node === undefined) return target;
  const agents = target.agents.filter((agent) => agent.node === node);
  if (agents.length === 0)
    throw new CliError('not-found', `context ${target.name} has no node ${node}`, {
      field: '--node',
      value: node,
      hint: `its nodes: ${target.agents.map((agent) => agent.node).join(', ') || '(none)'}`,
    });
  return { ...target, agents };
}

/** What was given, else the environment's; empty counts as not set, as shells have it. */
export const wantedContext = (context: string | undefined): string | undefined =>
  context ?? (process.env.CAUSEWAY_CONTEXT || undefined);

async function labTarget(context: string): Promise<Target> {
  const [name, clusterName, node, ...more] = context.slice('lab:'.length).split('/');
  if (name === undefined || name === '' || more.length > 0)
    throw new CliError('bad-usage', `${context} is not a lab's context`, {
      field: '--context',
      value: context,
      hint: 'write lab:NAME, lab:NAME/CLUSTER or lab:NAME/CLUSTER/NODE',
    });
  const { openLab } = await import('@causeway/lab');
  const lab = openLab(name);
  const cluster = lab.cluster(clusterName);
  const agents = cluster.agents.map((agent) => new AgentClient(agent.node.name, agent.socket));
  const target: Target = {
    name: context,
    agents,
    inventories: cluster.inventories.map(({ socket }) => socket),
    store: () => cluster.store(),
    kv: () => cluster.kv(),
    close: () => lab[Symbol.asyncDispose](),
  };
  if (node === undefined) return target;
  const own = agents.filter((agent) => agent.node === node);
  if (own.length === 0)
    throw new CliError(
      'not-found',
      `cluster ${cluster.plan.name} of lab ${name} has no node ${node}`,
      {
        field: '--context',
        value: context,
        hint: `its nodes: ${agents.map((agent) => agent.node).join(', ')}`,
      },
    );
  return { ...target, agents: own };
}

async function fileTarget(wanted: string | undefined): Promise<Target> {
  const file = await readContexts();
  const name = wanted ?? file.current;
  const found = name === undefined ? LOCAL : file.contexts[name];
  if (found === undefined)
    throw new CliError('not-found', `there is no context ${name} in ${contextPath()}`, {
      field: '--context',
      value: name,
      hint: `known: ${Object.keys(file.contexts).join(', ') || '(none)'}; or lab:NAME/CLUSTER`,
    });
  let open: ({ store: ResourceStore; kv: Kv } & AsyncDisposable) | undefined;
  const opened = async () => {
    const { connectStore } = await import('./store.ts');
    open ??= await connectStore(found.etcd);
    return open;
  };
  return {
    name: name ?? 'this machine',
    agents: Object.entries(found.agents).map(([node, socket]) => new AgentClient(node, socket)),
    inventories: [],
    store: async () => (await opened()).store,
    kv: async () => (await opened()).kv,
    async close() {
      await open?.[Symbol.asyncDispose]();
    },
  };
}

export function contextPath(): string {
  return (
    process.env.CAUSEWAY_CONTEXTS ??
    join(process.env.XDG_CONFIG_HOME ?? join(homedir(), '.config'), 'causeway', 'contexts.yaml')
  );
}

/** An absent file is an empty one. Throws `bad-input` naming the field that is wrong. */
export async function readContexts(): Promise<ContextFile> {
  const path = contextPath();
  if (!existsSync(path)) return { contexts: {} };
  const { parse } = await import('yaml');
  let value: unknown;
  try {
    value = parse(readFileSync(path, 'utf8'));
  } catch (cause) {
    throw new CliError('bad-input', `${path} is not YAML: ${(cause as Error).message}`, { cause });
  }
  return checkContexts(value ?? {}, path);
}

/** Checked by hand: a schema library would cost every command its start-up time. */
export function checkContexts(value: unknown, path: string): ContextFile {
  const wrong = (field: string, bad: unknown, message: string): CliError =>
    new CliError('bad-input', `${path}: ${field} ${message}`, { field, value: bad });
  const file =
    asObject(value) ?? raise(wrong('(file)', value, 'must be an object with `contexts`'));
  const contexts =
    asObject(file.contexts ?? {}) ?? raise(wrong('contexts', file.contexts, 'must be an object'));
  for (const [name, each] of Object.entries(contexts)) {
    const context =
      asObject(each) ??
      raise(wrong(`contexts.${name}`, each, 'must be an object with etcd and agents'));
    const etcd = asObject(context.etcd);
    if (
      !Array.isArray(etcd?.endpoints) ||
      !etcd.endpoints.every((url) => /^https?:\/\//.test(String(url)))
    )
      throw wrong(
        `contexts.${name}.etcd.endpoints`,
        etcd?.endpoints,
        'must be a list of http or https URLs',
      );
    const agents = asObject(context.agents ?? {});
    if (
      agents === undefined ||
      !Object.values(agents).every((socket) => typeof socket === 'string' && socket.startsWith('/'))
    )
      throw wrong(
        `contexts.${name}.agents`,
        context.agents,
        'must map node names to absolute paths of sockets',
      );
  }
  if (
    file.current !== undefined &&
    (typeof file.current !== 'string' || !Object.hasOwn(contexts, file.current))
  )
    throw wrong(
      'current',
      file.current,
      `must name a context: ${Object.keys(contexts).join(', ') || '(none)'}`,
    );
  const complete = Object.entries(contexts).map(([name, each]) => {
    const { etcd, agents } = each as Partial<NamedContext>;
    return [name, { etcd: etcd as StoreAddress, agents: agents ?? {} }] as const;
  });
  return {
    ...(file.current === undefined ? {} : { current: file.current as string }),
    contexts: Object.fromEntries(complete),
  };
}

export async function writeCurrent(name: string): Promise<void> {
  const path = contextPath();
  const { parseDocument } = await import('yaml');
  const document = parseDocument(existsSync(path) ? readFileSync(path, 'utf8') : '');
  document.set('current', name);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, document.toString());
}

function asObject(value: unknown): Record<string, unknown> | undefined {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as Record<string, unknown>)
    : undefined;
}

function raise(error: Error): never {
  throw error;
}
