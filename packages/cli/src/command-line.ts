import { CommanderError } from 'commander';
import { EXIT, printError } from './errors.ts';
import { buildProgram } from './program.ts';

/** Does what the arguments ask for, and sets the exit status. */
export async function runCommandLine(): Promise<void> {
  const json = process.argv.includes('--json');
  // A reader that has enough (`| head`) is no error.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    process.exit(error.code === 'EPIPE' ? EXIT.ok : EXIT.failure);
  });
  try {
    await buildProgram().parseAsync();
  } catch (error) {
    // Commander has said its own: help and version end well, the rest is wrong usage.
    if (error instanceof CommanderError)
      process.exitCode = error.exitCode === 0 ? EXIT.ok : EXIT.usage;
    // What failed may have left a connection or a timer behind, which must not keep a failed program alive.
    else process.exit(printError(error, json));
  }
}
