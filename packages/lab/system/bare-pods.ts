import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { type CommandResult, type Lab, podPlace } from '../index.ts';

const PLUGIN = join(import.meta.dirname, '../../cni/bin/causeway-cni');

/**
 * Pods in the hands of a test: a namespace, and the plugin called in the node as a runtime calls it,
 * with no store in between. The lab's `down` takes what a test leaves.
 */
export interface BarePod {
  readonly node: string;
  readonly name: string;
  readonly place: string;
  readonly netns: string;
  readonly containerId: string;
}

/** Makes the namespace and tells the lab of the place; nothing is attached. */
export async function barePod(lab: Lab, node: string, name: string): Promise<BarePod> {
  const cluster = lab.clusters.find(({ plan }) => plan.nodes.some((each) => each.name === node));
  assert.ok(cluster !== undefined);
  const plan = {
    ...{ cluster: cluster.plan.name, namespace: 'default', name, node },
    ...{ labels: {}, runtime: 'netns' as const, serve: [] },
  };
  const place = podPlace(plan);
  const { context } = lab;
  const netns = `cwlab.${lab.name}.${context.state.run}.${place.replaceAll('/', '_')}`;
  context.state = { ...context.state, pods: [...context.state.pods, plan] };
  // From outside: what is mounted inside a node's mount namespace is seen nowhere else.
  execFileSync('ip', ['netns', 'add', netns]);
  return {
    ...{ node, name, place, netns: `/run/netns/${netns}` },
    containerId: createHash('sha256').update(netns).digest('hex'),
  };
}

/** One call of the plugin, its answer as the runtime sees it. */
export async function cni(
  lab: Lab,
  command: string,
  pod: BarePod,
  change: { readonly config?: object; readonly env?: Readonly<Record<string, string>> } = {},
): Promise<CommandResult> {
  return lab.exec(pod.node, [PLUGIN], {
    timeoutMs: 60_000,
    env: {
      CNI_COMMAND: command,
      CNI_CONTAINERID: pod.containerId,
      CNI_NETNS: pod.netns,
      CNI_IFNAME: 'eth0',
      CNI_PATH: join(PLUGIN, '..'),
      CNI_ARGS: `IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=${pod.name}`,
      ...change.env,
    },
    input: JSON.stringify({
      ...{ cniVersion: '1.1.0', name: 'causeway', type: 'causeway-cni' },
      ...change.config,
    }),
  });
}

/** ADD that must succeed; the addresses. */
export async function attach(lab: Lab, pod: BarePod): Promise<string[]> {
  const { code, stdout, stderr } = await cni(lab, 'ADD', pod);
  assert.equal(code, 0, `ADD of ${pod.name}: ${stdout}${stderr}`);
  const { ips } = JSON.parse(stdout) as { ips: { address: string }[] };
  return ips.map(({ address }) => address.replace(/\/\d+$/, ''));
}

/** DEL that must succeed. */
export async function detach(lab: Lab, pod: BarePod): Promise<void> {
  const { code, stdout, stderr } = await cni(lab, 'DEL', pod);
  assert.equal(code, 0, `DEL of ${pod.name}: ${stdout}${stderr}`);
}
