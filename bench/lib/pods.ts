import type { BenchLab } from './site.ts';

interface Attached {
  readonly ms: number;
  readonly status: number;
  readonly body: unknown;
}

/** Attaches the pod `default/NAME` at the socket of n1's agent, its container under the pod's name; the answer and what it took. */
export async function attachPod({ lab }: BenchLab, name: string, netns: string): Promise<Attached> {
  const asked = performance.now();
  const { status, body } = await lab.agent('n1').ask('POST', '/v1/endpoints', {
    containerId: name,
    netns: `/run/netns/${netns}`,
    ifname: 'eth0',
    podNamespace: 'default',
    podName: name,
  });
  return { ms: performance.now() - asked, status, body };
}

/** The status of the answer. */
export async function detachPod({ lab }: BenchLab, name: string): Promise<number> {
  const path = `/v1/endpoints/by-container/${name}/eth0`;
  return (await lab.agent('n1').ask('DELETE', path)).status;
}
