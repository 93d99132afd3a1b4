import { join } from 'node:path';
import { LabError } from '../errors.ts';
import { run } from '../host/process.ts';

const PLUGIN = join(import.meta.dirname, '../../../cni/bin/causeway-cni');
const TIMEOUT_MS = 90_000;

export interface CniCall {
  readonly command: 'ADD' | 'DEL';
  readonly agentSocket: string;
  readonly containerId: string;
  readonly netns: string;
  readonly podNamespace: string;
  readonly podName: string;
  readonly podUid: string;
}

/** Calls the CNI plugin as a container runtime does (CNI 1.1.0, section 2): environment, and the network on stdin. */
export async function callCni(call: CniCall): Promise<CniResult> {
  const result = await run([PLUGIN], {
    timeoutMs: TIMEOUT_MS,
    env: {
      CNI_COMMAND: call.command,
      CNI_CONTAINERID: call.containerId,
      CNI_NETNS: call.netns,
      CNI_IFNAME: 'eth0',
      CNI_PATH: join(PLUGIN, '..'),
      CNI_ARGS: [
        'IgnoreUnknown=1',
        `K8S_POD_NAMESPACE=${call.podNamespace}`,
        `K8S_POD_NAME=${call.podName}`,
        `K8S_POD_INFRA_CONTAINER_ID=${call.containerId}`,
        `K8S_POD_UID=${call.podUid}`,
      ].join(';'),
    },
    input: JSON.stringify({
      cniVersion: '1.1.0',
      name: 'causeway',
      type: 'causeway-cni',
      agentSocket: call.agentSocket,
    }),
  });
  if (result.code !== 0)
    throw new LabError(
      'cni-failed',
      `CNI ${call.command} of ${call.podNamespace}/${call.podName} failed (${result.code}): ${(result.stdout || result.stderr).trim()}`,
      { value: result },
    );
  return call.command === 'ADD' ? parseResult(result.stdout) : { addresses: [] };
}

/** Whether a call failed by what passes, so that it is to be tried again (CNI 1.1.0, section 5: code 11). */
export function isPassing(error: unknown): boolean {
  if (!(error instanceof LabError) || error.code !== 'cni-failed') return false;
  const { stdout = '' } = error.value as { stdout?: string };
  try {
    return (JSON.parse(stdout) as { code?: unknown }).code === 11;
  } catch {
    return false;
  }
}

export interface CniResult {
  /** Without the prefix length. */
  readonly addresses: readonly string[];
}

function parseResult(stdout: string): CniResult {
  const value = JSON.parse(stdout) as { ips?: { address?: unknown }[] };
  const addresses = (value.ips ?? []).flatMap(({ address }) =>
    typeof address === 'string' ? [address.replace(/\/\d+$/, '')] : [],
  );
  if (addresses.length === 0)
    throw new LabError('cni-failed', 'CNI ADD gave no address', { value: stdout });
  return { addresses };
}
