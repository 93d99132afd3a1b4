import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ResourceStore } from '@causeway/resources';
import { ipBatch } from '../build/topology.ts';
import { makeCgroup, removeCgroup } from '../host/cgroup.ts';
import { netnsName, netnsPath } from '../host/names.ts';
import { inParallel } from '../host/wait.ts';
import type { PodPlan } from '../plan/types.ts';
import { callCni, isPassing } from './cni.ts';
import { type LabContext, type Place, podPlace } from './context.ts';
import { containerPorts, startServers } from './servers.ts';

/** More at once only wait for the two cores. */
const AT_ONCE = 6;

/** As often as a kubelet looks at its pods. */
const RETRY_MS = 1000;

export interface StartOptions {
  readonly progress?: (done: number) => void;
  /** How long a pod is tried again whose ADD failed by what passes; the kubelet has no end of it, a lab asks for it. */
  readonly patienceMs?: number;
}

export interface KubeletParts {
  readonly context: LabContext;
  readonly store: ResourceStore;
  readonly agentSocket: (node: string) => string;
}

/**
 * What a kubelet does for networking, for all nodes of a cluster: the Pod resource first, then the
 * sandbox through the CNI plugin, then the containers, then the status that services go by.
 */
export class Kubelet {
  readonly #context: LabContext;
  readonly #store: ResourceStore;
  readonly #agentSocket: (node: string) => string;

  constructor({ context, store, agentSocket }: KubeletParts) {
    this.#context = context;
    this.#store = store;
    this.#agentSocket = agentSocket;
  }

  /** Starts pods that do not exist; gives their addresses in the same order. */
  async start(
    pods: readonly PodPlan[],
    { progress = () => {}, patienceMs = 0 }: StartOptions = {},
  ): Promise<string[][]> {
    await this.#store.apply(pods.map(podObject));
    const bare = pods.filter((pod) => pod.runtime === 'netns');
    await ipBatch(bare.map((pod) => `netns add ${netnsName(this.#context.names, podPlace(pod))}`));
    let done = 0;
    return inParallel(pods, AT_ONCE, async (pod) => {
      const addresses = await this.#startOne(pod, performance.now() + patienceMs);
      progress(++done);
      return addresses;
    });
  }

  /** Turns a pod's Ready condition, as its readiness probe would. */
  async setReady(pod: PodPlan, ready: boolean): Promise<void> {
    await this.#store.patchStatus('Pod', pod, { conditions: conditions(ready) });
  }

  /**
   * Ends a pod as Kubernetes does: it is marked as terminating, gets its grace, and is then taken off
   * the network and removed. What it serves goes on until the grace is over.
   */
  async stop(pod: PodPlan, graceMs = 0): Promise<void> {
    if (graceMs > 0) {
      const object = await this.#store.get('Pod', pod);
      await this.#store.update({
        ...object,
        metadata: {
          ...object.metadata,
          deletionTimestamp: new Date(Date.now() + graceMs).toISOString(),
        },
      });
      await new Promise((resolve) => setTimeout(resolve, graceMs));
    }
    if (pod.runtime === 'containerd')
      await (await import('./containers.ts')).stopContainer(this.#context, pod);
    else await this.#cni('DEL', pod, '');
    await removeCgroup(this.#context.cgroup(placeOf(pod)));
    await this.#store.delete('Pod', pod);
    const name = netnsName(this.#context.names, podPlace(pod));
    if (existsSync(netnsPath(this.#context.names, podPlace(pod))))
      await ipBatch([`netns delete ${name}`]);
  }

  async #startOne(pod: PodPlan, until: number): Promise<string[]> {
    const object = await this.#store.get('Pod', pod);
    makeCgroup(this.#context.cgroup(placeOf(pod)));
    const uid = object.metadata.uid ?? '';
    let addresses: readonly string[] | undefined;
    while (addresses === undefined) {
      try {
        addresses = await this.#attach(pod, uid);
      } catch (error) {
        if (!isPassing(error) || performance.now() > until) throw error;
        await sleep(RETRY_MS);
      }
    }
    const node = this.#context.state.plan.clusters
      .find((cluster) => cluster.name === pod.cluster)
      ?.nodes.find((candidate) => candidate.name === pod.node);
    await this.#store.patchStatus('Pod', pod, {
      phase: 'Running',
      podIP: addresses[0],
      podIPs: addresses.map((ip) => ({ ip })),
      ...(node === undefined
        ? {}
        : { hostIP: node.addresses[0], hostIPs: node.addresses.map((ip) => ({ ip })) }),
      conditions: conditions(true),
    });
    return [...addresses];
  }

  /** Gives its addresses, with its servers started. */
  async #attach(pod: PodPlan, uid: string): Promise<readonly string[]> {
    switch (pod.runtime) {
      case 'netns': {
        const { addresses } = await this.#cni('ADD', pod, uid);
        await startServers(this.#context, placeOf(pod), pod.name, pod.serve);
        return addresses;
      }
      case 'containerd': {
        // Loaded for those who ask for it: it brings a gRPC client.
        const { servesInContainer, startContainer } = await import('./containers.ts');
        const addresses = await startContainer(this.#context, pod, uid);
        const rest = pod.serve.filter(({ type }) => !servesInContainer(type));
        await startServers(this.#context, placeOf(pod), pod.name, rest);
        return addresses;
      }
      default:
        return pod.runtime satisfies never;
    }
  }

  #cni(command: 'ADD' | 'DEL', pod: PodPlan, podUid: string) {
    return callCni({
      command,
      agentSocket: this.#agentSocket(pod.node),
      containerId: containerId(this.#context, pod),
      netns: netnsPath(this.#context.names, podPlace(pod)),
      podNamespace: pod.namespace,
      podName: pod.name,
      podUid,
    });
  }
}

/** As long as a runtime's, the same while the pod is on its node, and of no other lab. */
export function containerId(context: LabContext, pod: PodPlan): string {
  return createHash('sha256')
    .update(`${netnsName(context.names, podPlace(pod))} ${pod.node}`)
    .digest('hex');
}

function placeOf(pod: PodPlan): Place {
  return { kind: 'pod', place: podPlace(pod), node: pod.node };
}

function podObject(pod: PodPlan): unknown {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      name: pod.name,
      namespace: pod.namespace,
      labels: { ...pod.labels, ...ordinalLabels(pod) },
      annotations: pod.annotations ?? {},
      ...(pod.statefulSet === undefined
        ? {}
        : { ownerReferences: [ownerOf(pod.statefulSet.name)] }),
    },
    spec: {
      nodeName: pod.node,
      containers: [{ name: 'main', ports: containerPorts(pod.serve) }],
    },
  };
}

function ordinalLabels({ name, statefulSet }: PodPlan): Record<string, string> {
  if (statefulSet === undefined) return {};
  return {
    'statefulset.kubernetes.io/pod-name': name,
    'apps.kubernetes.io/pod-index': String(statefulSet.ordinal),
  };
}

function ownerOf(name: string) {
  return { apiVersion: 'apps/v1', kind: 'StatefulSet', name, uid: name, controller: true };
}

function conditions(ready: boolean): { type: string; status: string }[] {
  const status = ready ? 'True' : 'False';
  return [
    { type: 'ContainersReady', status },
    { type: 'Ready', status },
  ];
}
