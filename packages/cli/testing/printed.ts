import type { Invocation } from '../src/program/invocation.ts';

/** What a command prints that is run against these agents. The exit status that it sets is put back. */
export async function printed(
  agents: readonly unknown[],
  run: (invocation: Invocation) => Promise<void>,
  json = false,
): Promise<string> {
  const invocation: Invocation = {
    json,
    options: {},
    contextName: undefined,
    withTarget: (work) => work({ name: 'test', agents } as never),
  };
  const { write } = process.stdout;
  const { exitCode } = process;
  let text = '';
  process.stdout.write = ((part: string) => {
    text += part;
    return true;
  }) as typeof write;
  try {
    await run(invocation);
  } finally {
    process.stdout.write = write;
    process.exitCode = exitCode;
  }
  return text;
}
