import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { EXIT } from '../errors.ts';
import { printJson } from '../output/print.ts';
import type { Invocation } from '../program/invocation.ts';

/** The long-running programs and those that others call; each is a package of its own. */

export async function agent({ options }: Invocation): Promise<void> {
  const { cleanupNode, runAgent } = await import('@causeway/agent');
  if (options.cleanup === true) {
    const report = await cleanupNode(String(options.config));
    printJson(report);
    if (report.failures.length > 0) process.exitCode = EXIT.failure;
    return;
  }
  const { answerRelayedCall } = await import('@causeway/cni');
  await runAgent(String(options.config), { cniRelay: answerRelayedCall });
}

export async function operator({ options }: Invocation): Promise<void> {
  const { runOperator } = await import('@causeway/operator');
  await runOperator(typeof options.config === 'string' ? options.config : undefined);
}

/**
 * Becomes the plugin, which has its own, quicker start: a runtime that is told to call `causeway cni`
 * gets the same answers as one that calls `causeway-cni`.
 */
export async function cni(): Promise<void> {
  const plugin = join(fileURLToPath(import.meta.resolve('@causeway/cni')), '../bin/causeway-cni');
  process.execve?.(plugin, [plugin], process.env as Record<string, string>);
}
