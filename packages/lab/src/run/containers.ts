import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { ipBatch } from '../build/topology.ts';
import { LabError } from '../errors.ts';
import { makeCgroup } from '../host/cgroup.ts';
import { netnsName, nodePaths } from '../host/names.ts';
import type { PodPlan } from '../plan/types.ts';
import { CONTAINERD_IMAGE, Containerd } from '../runtimes/containerd.ts';
import { CriClient, type SandboxSpec } from '../runtimes/cri.ts';
import { type LabContext, podPlace } from './context.ts';
import { listening } from './listening.ts';

const PLUGIN = join(import.meta.dirname, '../../../cni/bin/causeway-cni');
/** containerd gives every sandbox its loopback by this plugin, whatever the network. */
const LOOPBACK = '/usr/lib/cni/loopback';

/** One start at a time for each node's containerd: the first pod starts it, the others wait. */
const starting = new Map<string, Promise<void>>();

/**
 * Runs a pod as a kubelet does: a sandbox by the node's own containerd, which calls the CNI plugin, and
 * a container of busybox in it. The sandbox's network namespace also gets the pod's name, so that the
 * pod is a place like any other: commands of this machine run in its network and its cgroup.
 */
export async function startContainer(
  context: LabContext,
  pod: PodPlan,
  uid: string,
): Promise<string[]> {
  const key = `${context.state.run} ${context.state.name} ${pod.node}`;
  const ready = starting.get(key) ?? startContainerd(context, pod.node);
  starting.set(key, ready);
  await ready.catch((error) => {
    starting.delete(key);
    throw error;
  });
  const cgroup = context.cgroup({ kind: 'pod', place: podPlace(pod), node: pod.node });
  makeCgroup(cgroup);
  const spec: SandboxSpec = {
    namespace: pod.namespace,
    name: pod.name,
    uid,
    cgroupParent: cgroup.slice(context.state.cgroupRoot.length),
  };
  using cri = new CriClient(socketOf(context, pod.node));
  const sandbox = await cri.runSandbox(spec);
  writeFileSync(sandboxFile(context, pod), sandbox);
  await ipBatch([
    `netns attach ${netnsName(context.names, podPlace(pod))} ${firstProcess(cgroup)}`,
  ]);
  await cri.startContainer(sandbox, spec, {
    name: 'main',
    image: CONTAINERD_IMAGE,
    command: mainCommand(pod),
  });
  const inside = firstProcess(cgroup);
  for (const server of pod.serve)
    if (servesInContainer(server.type)) await listening(podPlace(pod), inside, server);
  return await cri.sandboxAddresses(sandbox);
}

/** Nothing happens when it is gone already. */
export async function stopContainer(context: LabContext, pod: PodPlan): Promise<void> {
  const file = sandboxFile(context, pod);
  if (!existsSync(file)) return;
  const sandbox = readFileSync(file, 'utf8');
  using cri = new CriClient(socketOf(context, pod.node));
  await cri.stopSandbox(sandbox);
  await cri.removeSandbox(sandbox);
  rmSync(file);
}

/** Web servers run in the container; the other kinds need programs that its image does not hold. */
export function servesInContainer(type: PodPlan['serve'][number]['type']): boolean {
  return type === 'http';
}

function mainCommand(pod: PodPlan): string[] {
  const servers = pod.serve
    .filter(({ type }) => servesInContainer(type))
    .map(({ port }) => `httpd -p [::]:${port} -h /tmp/www; `);
  const page = `mkdir -p /tmp/www; echo ${pod.name} > /tmp/www/index.html; `;
  return ['/bin/sh', '-c', `${page}${servers.join('')}exec sleep 100000000`];
}

async function startContainerd(context: LabContext, node: string): Promise<void> {
  const directory = directoryOf(context, node);
  mkdirSync(join(directory, 'sandboxes'), { recursive: true });
  if (await answers(socketOf(context, node))) return;
  const bin = join(directory, 'bin');
  mkdirSync(bin, { recursive: true });
  for (const plugin of [PLUGIN, LOOPBACK]) {
    const link = join(bin, plugin.slice(plugin.lastIndexOf('/') + 1));
    if (!existsSync(plugin))
      throw new LabError('platform-missing', `CNI plugin ${plugin} is not there`, {
        value: plugin,
        hint: 'run tools/setup.sh, which installs containernetworking-plugins',
      });
    rmSync(link, { force: true });
    symlinkSync(plugin, link);
  }
  const containerd = await Containerd.start({
    directory,
    cniBinDir: bin,
    cniList: {
      cniVersion: '1.0.0',
      name: 'causeway',
      plugins: [{ type: 'causeway-cni', agentSocket: '/run/causeway/agent.sock' }],
    },
    enter: context.prefix(context.find(node)),
  });
  // It stays up with the lab; `down` ends it with the node's cgroup.
  containerd.cri[Symbol.dispose]();
}

/** Whether an earlier process of ours started it already. */
async function answers(socket: string): Promise<boolean> {
  if (!existsSync(socket)) return false;
  using cri = new CriClient(socket);
  return await cri.version().then(
    () => true,
    () => false,
  );
}

/** The sandbox's own process: the first below the pod's cgroup. */
function firstProcess(cgroup: string): number {
  for (const directory of [
    cgroup,
    ...readdirSync(cgroup, { recursive: true, encoding: 'utf8' }).map((entry) =>
      join(cgroup, entry),
    ),
  ]) {
    const procs = join(directory, 'cgroup.procs');
    const [pid] = existsSync(procs) ? readFileSync(procs, 'utf8').split('\n').filter(Boolean) : [];
    if (pid !== undefined) return Number(pid);
  }
  throw new LabError('command-failed', `no process of the sandbox is in its cgroup ${cgroup}`, {
    value: cgroup,
    hint: 'the runtime must put its containers into the version 2 hierarchy',
  });
}

function directoryOf(context: LabContext, node: string): string {
  return join(nodePaths(context.state.name, node).directory, 'containerd');
}

function socketOf(context: LabContext, node: string): string {
  return join(directoryOf(context, node), 'containerd.sock');
}

function sandboxFile(context: LabContext, pod: PodPlan): string {
  return join(directoryOf(context, pod.node), 'sandboxes', `${pod.namespace}_${pod.name}`);
}
