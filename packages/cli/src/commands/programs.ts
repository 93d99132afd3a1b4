import type { Invocation } from '../program/invocation.ts';

/** The long-running programs and those that others call; each is a package of its own. */

export async function agent({ options }: Invocation): Promise<void> {
  const { runAgent } = await import('@causeway/agent');
  await runAgent(String(options.config));
}

export async function cni(): Promise<void> {
  const { runPlugin } = await import('@causeway/cni');
  await runPlugin();
}
