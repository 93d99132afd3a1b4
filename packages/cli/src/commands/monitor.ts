import type { AgentClient } from '../agent-client.ts';
import { printError, replaceBigInt } from '../errors.ts';
import { printLine, type Row } from '../output/print.ts';
import type { Invocation } from '../program/invocation.ts';

/** Events of all nodes as they come, until SIGINT or SIGTERM, or until the last agent hangs up. */
export async function monitor(invocation: Invocation): Promise<void> {
  const stop = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => stop.abort());
  const type = encodeURIComponent(String(invocation.options.type)).replaceAll('%2C', ',');
  await invocation.withTarget(async (target) => {
    await Promise.all(
      target.agents.map((agent) =>
        follow(agent, `/v1/monitor?type=${type}`, invocation.json, stop.signal),
      ),
    );
  });
}

/** One that does not answer or hangs up is named; the others are followed on. */
async function follow(
  agent: AgentClient,
  path: string,
  json: boolean,
  signal: AbortSignal,
): Promise<void> {
  try {
    for await (const event of agent.stream(path, signal)) {
      const row = { node: agent.node, ...(event as Row) };
      printLine(json ? JSON.stringify(row, replaceBigInt) : lineOf(row));
    }
  } catch (error) {
    process.exitCode = printError(error, json);
  }
}

function lineOf({ node, text, ...rest }: Row): string {
  return `${String(node)}  ${typeof text === 'string' ? text : JSON.stringify(rest)}`;
}
