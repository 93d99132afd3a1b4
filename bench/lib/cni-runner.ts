/**
 * A runtime's half of CNI, as a program of its own: started once in a node's namespaces, it calls plugins
 * as containerd does (fork, environment, configuration on standard input) and times each from fork to
 * exit. One request a line on standard input, one answer a line on standard output.
 */
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';

/** Calls to make, `atOnce` of them side by side. */
export interface RunnerRequest {
  readonly plugin: string;
  /** Environment beside PATH, and standard input, of each call. */
  readonly calls: readonly {
    readonly env: Readonly<Record<string, string>>;
    readonly input: string;
  }[];
  readonly atOnce: number;
}

export interface RunnerAnswer {
  /** Of each call in order. */
  readonly ms: readonly number[];
  /** What the failed calls said. */
  readonly failures: readonly string[];
}

function call(
  plugin: string,
  env: Readonly<Record<string, string>>,
  input: string,
): Promise<{ ms: number; failure?: string }> {
  return new Promise((resolve) => {
    const started = performance.now();
    const child = spawn(plugin, [], { env: { PATH: process.env.PATH ?? '', ...env } });
    let text = '';
    child.stdout.on('data', (chunk: Buffer) => {
      text += chunk.toString();
    });
    child.stderr.on('data', (chunk: Buffer) => {
      text += chunk.toString();
    });
    child.stdin.on('error', () => {});
    child.on('error', (error) => resolve({ ms: Number.NaN, failure: error.message }));
    child.on('close', (code) => {
      const ms = performance.now() - started;
      resolve(code === 0 ? { ms } : { ms, failure: `exit status ${code}: ${text}` });
    });
    child.stdin.end(input);
  });
}

async function answer({ plugin, calls, atOnce }: RunnerRequest): Promise<RunnerAnswer> {
  const ms: number[] = [];
  const failures: string[] = [];
  let next = 0;
  const worker = async (): Promise<void> => {
    for (let index = next++; index < calls.length; index = next++) {
      const one = calls[index];
      if (one === undefined) return;
      const result = await call(plugin, one.env, one.input);
      ms[index] = result.ms;
      if (result.failure !== undefined) failures.push(result.failure);
    }
  };
  await Promise.all(Array.from({ length: atOnce }, worker));
  return { ms, failures };
}

if (import.meta.main) {
  for await (const line of createInterface({ input: process.stdin }))
    console.log(JSON.stringify(await answer(JSON.parse(line) as RunnerRequest)));
}
