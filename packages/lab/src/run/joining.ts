import { LabError } from '../errors.ts';
import { run } from '../host/process.ts';
import type { LabClusterFace } from '../lab.ts';
import type { LabContext } from './context.ts';
import { CAUSEWAY } from './program.ts';

/** The longest that a join may take: it waits for a store or an operator that has just started. */
const JOIN_MS = 60_000;

/**
 * Joins two clusters as administrators do: `causeway mesh token` beside one's store, `causeway mesh join` beside the
 * other's. With `renew` the one only gives the other, which has joined, new certificates. Throws `command-failed` with what
 * the command said.
 */
export async function joinClusters(
  context: LabContext,
  inviting: LabClusterFace,
  joining: LabClusterFace,
  { renew = false }: { readonly renew?: boolean } = {},
): Promise<void> {
  const other = joining.plan.name;
  const endpoints = inviting.etcd.endpointsFor(other).join(',');
  const invitation = await runMesh(
    context,
    inviting,
    'token',
    '--for',
    other,
    '--endpoints',
    endpoints,
    ...(renew ? ['--renew'] : []),
  );
  const { token, code } = JSON.parse(invitation) as { token: string; code: string };
  const own = joining.etcd.endpointsFor(inviting.plan.name).join(',');
  await runMesh(context, joining, 'join', token, '--code', code, '--endpoints', own);
}

/** A command of `causeway mesh` on the machine of a cluster's first operator; what it says as JSON. Throws `command-failed`. */
export async function runMesh(
  context: LabContext,
  cluster: LabClusterFace,
  ...argv: readonly string[]
): Promise<string> {
  const [operator] = cluster.operators;
  const directory = await cluster.etcd.guard?.directory();
  if (operator === undefined || directory === undefined)
    throw new LabError(
      'command-failed',
      `cluster ${cluster.plan.name} has no operator to join by`,
      {
        value: cluster.plan.name,
      },
    );
  const prefix = context.prefix(context.find(operator.place));
  const command = [CAUSEWAY, '--json', 'mesh', ...argv, '--pki', directory.path];
  const { code, stdout, stderr } = await run([...prefix, ...command], { timeoutMs: JOIN_MS });
  if (code === 0) return stdout;
  throw new LabError(
    'command-failed',
    `causeway mesh ${argv[0]} of ${cluster.plan.name} failed (${code}): ${(stderr || stdout).trim()}`,
    { value: cluster.plan.name, hint: `the operator's log is ${operator.log}` },
  );
}
