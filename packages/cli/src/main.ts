import { printError } from './errors.ts';
import { daemonCall } from './program/daemons.ts';

const args = process.argv.slice(2);
const daemon = daemonCall(args);
if (daemon === undefined) await (await import('./command-line.ts')).runCommandLine();
else {
  try {
    await daemon();
  } catch (error) {
    process.exit(printError(error, args.includes('--json')));
  }
}
