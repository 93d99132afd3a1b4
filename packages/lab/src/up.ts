import { mkdirSync, readFileSync } from 'node:fs';
import { basename } from 'node:path';
import { buildMachine, buildOperatorMachine } from './build/machine.ts';
import { buildRouter } from './build/router.ts';
import { buildTopology } from './build/topology.ts';
import { destroyLab } from './down.ts';
import { LabError } from './errors.ts';
import { type LoadedLab, loadLab, manifestFiles } from './file/load.ts';
import { cgroupRoot, makeCgroup } from './host/cgroup.ts';
import { LAB_ROOT, labCgroup, labDirectory } from './host/names.ts';
import { markOfThisProcess } from './host/process.ts';
import { inParallel } from './host/wait.ts';
import { Lab, type LabClusterFace } from './lab.ts';
import { planLab } from './plan/plan.ts';
import type { ClusterPlan, PodPlan } from './plan/types.ts';
import { podPlace } from './run/context.ts';
import type { LabEtcd } from './run/etcd.ts';
import { joinClusters } from './run/joining.ts';
import { agentsReady, operatorsReady } from './run/ready.ts';
import { startServers } from './run/servers.ts';
import type { ClientCredentials } from './run/store-guard.ts';
import {
  checkLabName,
  isBeingBuilt,
  type LabState,
  newStateVersion,
  readState,
  writeState,
} from './state.ts';

/** Starting agents is work for the CPU; more at once only make each slower. */
const AGENTS_AT_ONCE = 4;
const AGENT_READY_MS = 90_000;

export interface UpOptions {
  /** The lab's name; the file's base name if left out. */
  readonly name?: string;
  /** One line for a person, as work goes on. */
  readonly progress?: (line: string) => void;
  readonly signal?: AbortSignal;
  /** Leaves what was built when something fails, to look at; `down` removes it. */
  readonly keepOnFailure?: boolean;
}

/**
 * Brings a lab up and returns when every table in it is reconciled. A failure takes down what was
 * built before it is thrown. Throws `lab-exists` when a lab of the name is up.
 */
export async function upLab(fileOrName: string, options: UpOptions = {}): Promise<Lab> {
  return buildLab(loadLab(fileOrName), options);
}

/** As `upLab`, for a lab file that is read already. */
export async function buildLab(loaded: LoadedLab, options: UpOptions = {}): Promise<Lab> {
  if (process.getuid?.() !== 0)
    throw new LabError(
      'not-root',
      'a lab makes network namespaces and loads eBPF: that takes root',
      {
        hint: 'run it as root',
      },
    );
  const name = options.name ?? loaded.name;
  checkLabName(name);
  const plan = planLab(loaded.file);
  const manifests = new Map(
    plan.clusters.map((cluster) => [cluster.name, readManifests(loaded.source, cluster)] as const),
  );
  claimName(name);
  let state: LabState = {
    version: newStateVersion(),
    name,
    run: process.pid,
    phase: 'building',
    source: loaded.source,
    builder: markOfThisProcess(),
    cgroupRoot: cgroupRoot(),
    createdAt: new Date().toISOString(),
    plan,
    pods: [],
  };
  writeState(state);
  const lab = new Lab(state);
  try {
    await bringUp(lab, manifests, options);
    state = { ...lab.context.state, phase: 'up' };
    writeState(state);
    lab.context.state = state;
    return lab;
  } catch (error) {
    await lab[Symbol.asyncDispose]();
    if (options.keepOnFailure === true) writeState({ ...lab.context.state, phase: 'failed' });
    else await destroyLab(name, { force: true });
    throw options.keepOnFailure === true ? error : withoutLogs(error);
  }
}

/** The logs that an error points to went with the lab. */
function withoutLogs(error: unknown): unknown {
  if (!(error instanceof LabError)) return error;
  return new LabError(error.code, error.message, {
    value: error.value,
    issues: error.issues,
    cause: error,
    hint: 'causeway lab up --keep-on-failure leaves what was built, with its logs',
  });
}

async function bringUp(
  lab: Lab,
  manifests: ReadonlyMap<string, readonly ManifestFile[]>,
  { progress = () => {}, signal }: UpOptions,
): Promise<void> {
  const { state, names } = lab.context;
  const started = performance.now();
  const say = (line: string): void => {
    progress(`${((performance.now() - started) / 1000).toFixed(1).padStart(5)} s  ${line}`);
  };
  makeCgroup(labCgroup(state.cgroupRoot, names));
  await buildTopology(names, state.plan);
  for (const { node } of lab.clusters.flatMap((cluster) => cluster.agents))
    await buildMachine(lab.name, node.name);
  for (const { operators, inventories } of lab.clusters)
    for (const { place } of [...operators, ...inventories]) buildOperatorMachine(lab.name, place);
  say(`network: ${state.plan.places.length} namespaces, ${state.plan.cables.length} cables`);
  signal?.throwIfAborted();
  if (lab.routers.length > 0) {
    for (const { plan } of lab.routers) await buildRouter(lab.name, plan);
    await inParallel(lab.routers, 4, (router) => router.start());
    say(`routers: ${lab.routers.map(({ plan }) => `${plan.name} (${plan.daemon})`).join(', ')}`);
  }
  signal?.throwIfAborted();
  await inParallel(lab.clusters, 4, (cluster) => cluster.etcd.start());
  say(`etcd: ${lab.clusters.map((cluster) => cluster.plan.name).join(', ')}`);
  signal?.throwIfAborted();
  const pods = await inParallel(lab.clusters, 4, async (cluster) => {
    const pods = await fillRegistry(cluster, manifests.get(cluster.plan.name) ?? []);
    const { operators, etcd } = cluster;
    for (const operator of operators) {
      await operator.configure(etcd);
      await operator.start();
    }
    await operatorsReady(operators, AGENT_READY_MS, signal);
    if (operators.length > 0) say(`operators: ${operators.map(({ place }) => place).join(', ')}`);
    return pods;
  });
  await startInventories(lab, signal);
  const agents = lab.clusters.flatMap((cluster) =>
    cluster.agents.map((agent) => ({ cluster, agent })),
  );
  let ready = 0;
  await inParallel(agents, AGENTS_AT_ONCE, async ({ cluster, agent }) => {
    await agent.configure(cluster.etcd);
    for (const program of agent.programs) await program.start();
    await agentsReady([agent], AGENT_READY_MS, signal);
    say(`agent ${++ready} of ${agents.length} ready: ${agent.node.name}`);
  });
  // An agent that starts waits a minute for peers that it knows of: they are told of once all run.
  const peers = await peersByFile(lab);
  for (const { cluster, agent } of agents)
    for (const { etcd, credentials } of peers.get(cluster.plan.name) ?? [])
      await agent.meet(etcd, credentials);
  for (const [inviting, joining] of pairsToJoin(lab)) {
    await joinClusters(lab.context, inviting, joining);
    say(`${joining.plan.name} joined ${inviting.plan.name}`);
  }
  for (const { name, serve } of state.plan.hosts)
    await startServers(lab.context, { kind: 'host', place: name }, name, serve);
  for (const { name, serve } of state.plan.clusters.flatMap((cluster) => cluster.nodes))
    await startServers(lab.context, { kind: 'node', place: name }, name, serve);
  const all = pods.flat();
  if (all.length > 0) {
    await lab.addPods(all, {
      progress: (done) => {
        if (done % 10 === 0 || done === all.length) say(`pod ${done} of ${all.length} attached`);
      },
    });
  }
  signal?.throwIfAborted();
  await lab.settled(signal === undefined ? {} : { signal });
  say('every table is reconciled');
}

/** Inventories, which are read and read nobody; each finds its files. */
async function startInventories(lab: Lab, signal: AbortSignal | undefined): Promise<void> {
  for (const { plan, inventories, etcd } of lab.clusters) {
    if (inventories.length === 0) continue;
    const files = manifestFiles(lab.context.state.source, plan.settings.inventory?.files ?? []);
    for (const inventory of inventories) {
      for (const file of files) inventory.put(basename(file), readFileSync(file, 'utf8'));
      await inventory.configure(etcd);
      await inventory.start();
    }
    await operatorsReady(inventories, AGENT_READY_MS, signal);
  }
}

/** What nodes are told by files of the clusters that theirs reads. Inventories are told of so in any case: they have nobody to join. */
async function peersByFile(
  lab: Lab,
): Promise<Map<string, { etcd: LabEtcd; credentials: ClientCredentials }[]>> {
  const told = new Map<string, { etcd: LabEtcd; credentials: ClientCredentials }[]>();
  for (const { plan } of lab.clusters)
    for (const name of plan.mesh?.reads ?? []) {
      const { etcd, plan: peer } = lab.cluster(name);
      if (etcd.guard === undefined) continue;
      if (plan.mesh?.by === 'token' && peer.inventories.length === 0) continue;
      const credentials = await etcd.guard.peer(plan.name);
      told.set(plan.name, [...(told.get(plan.name) ?? []), { etcd, credentials }]);
    }
  return told;
}

/** Each pair of clusters that are to join by token, once. */
function pairsToJoin(lab: Lab): [LabClusterFace, LabClusterFace][] {
  return lab.clusters.flatMap((one, i) =>
    lab.clusters
      .slice(i + 1)
      .filter(
        (other) =>
          one.plan.mesh?.by === 'token' &&
          one.plan.mesh.reads.includes(other.plan.name) &&
          other.plan.mesh?.reads.includes(one.plan.name),
      )
      .map((other): [LabClusterFace, LabClusterFace] => [one, other]),
  );
}

interface ManifestFile {
  readonly path: string;
  readonly text: string;
}

/** Read before anything is built: a file that is missing is found out while nothing stands yet. */
function readManifests(source: string, cluster: ClusterPlan): ManifestFile[] {
  return manifestFiles(source, cluster.settings.manifests).map((path) => ({
    path,
    text: readFileSync(path, 'utf8'),
  }));
}

/** Writes what an administrator and a cluster's installation would have written; gives the pods to start. */
async function fillRegistry(
  cluster: LabClusterFace,
  manifests: readonly ManifestFile[],
): Promise<PodPlan[]> {
  const store = await cluster.store();
  // Loaded here: the kinds' schemas cost every other use of this package its start-up time.
  const { clusterObjects, loadClusterManifests } = await import('./run/objects.ts');
  const { objects, pods } = loadClusterManifests(cluster.plan, manifests);
  await store.apply(clusterObjects(cluster.plan, [...cluster.plan.pods, ...pods]));
  if (objects.length > 0) await store.apply(objects);
  const names = new Set<string>();
  for (const pod of [...cluster.plan.pods, ...pods]) {
    if (names.has(podPlace(pod)))
      throw new LabError(
        'lab-file-invalid',
        `pod ${podPlace(pod)} stands in the lab file and in a manifest`,
        {
          value: podPlace(pod),
        },
      );
    names.add(podPlace(pod));
  }
  return [...cluster.plan.pods, ...pods];
}

/** The directory is the lock: of two who start a lab of one name at once, one makes it. */
function claimName(name: string): void {
  mkdirSync(LAB_ROOT, { recursive: true, mode: 0o700 });
  try {
    mkdirSync(labDirectory(name), { mode: 0o700 });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') throw existing(name);
    throw error;
  }
}

function existing(name: string): LabError {
  const hint = `causeway lab down ${name}, or give this one another name with --name`;
  let state: LabState | undefined;
  try {
    state = readState(name);
  } catch (error) {
    if (!(error instanceof LabError)) throw error;
  }
  if (state !== undefined && isBeingBuilt(state))
    return new LabError('lab-busy', `lab ${name} is being built by process ${state.builder.pid}`, {
      value: name,
      hint: 'wait for it, or give this one another name with --name',
    });
  const how = state?.phase === 'up' ? 'up already' : 'there already, half built';
  return new LabError('lab-exists', `lab ${name} is ${how}`, { value: name, hint });
}
