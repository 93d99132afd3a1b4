import type { Command } from 'commander';
import { findTarget, type Target, wantedContext } from '../context.ts';

/** What every command gets beside its own arguments. */
export interface Invocation {
  readonly json: boolean;
  /** Options of the command and those before it. */
  readonly options: Readonly<Record<string, unknown>>;
  /** What `--context` or the environment names; undefined where the file's current one counts. */
  readonly contextName: string | undefined;
  /** Does the work against what `--context` and `--node` name, and closes it after. */
  withTarget<T>(work: (target: Target) => Promise<T>): Promise<T>;
}

export function invocationOf(command: Command): Invocation {
  const options = command.optsWithGlobals() as Record<string, unknown>;
  return {
    json: options.json === true,
    options,
    contextName: wantedContext(text(options.context)),
    async withTarget(work) {
      const target = await findTarget(text(options.context), text(options.node));
      try {
        return await work(target);
      } finally {
        await target.close();
      }
    },
  };
}

type Run = (invocation: Invocation, args: readonly string[]) => Promise<void>;

/** Gives a command its action; `load` imports the code when it is called, so that help stays quick. */
export function runs(command: Command, load: () => Promise<Run>): Command {
  return command.action(async (...given: unknown[]) => {
    // Commander gives the arguments, then the options, then the command.
    const args = given
      .slice(0, -2)
      .flatMap((each) => (Array.isArray(each) ? (each as string[]) : [each as string]));
    await (await load())(invocationOf(given.at(-1) as Command), args);
  });
}

function text(value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined;
}
