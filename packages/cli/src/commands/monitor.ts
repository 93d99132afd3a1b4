import { replaceBigInt } from '../errors.ts';
import { printLine, type Row } from '../output/print.ts';
import type { Invocation } from '../program/invocation.ts';

/** Events of all nodes as they come, until SIGINT or SIGTERM, or until the last agent hangs up. */
export async function monitor(invocation: Invocation): Promise<void> {
  const stop = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => stop.abort());
  const type = encodeURIComponent(String(invocation.options.type)).replaceAll('%2C', ',');
  await invocation.withTarget(async (target) => {
    await Promise.all(
      target.agents.map(async (agent) => {
        for await (const event of agent.stream(`/v1/monitor?type=${type}`, stop.signal)) {
          const row = { node: agent.node, ...(event as Row) };
          printLine(invocation.json ? JSON.stringify(row, replaceBigInt) : lineOf(row));
        }
      }),
    );
  });
}

function lineOf({ node, text, ...rest }: Row): string {
  return `${String(node)}  ${typeof text === 'string' ? text : JSON.stringify(rest)}`;
}
