import { runSpeaker } from '../program.ts';

// The program that tests start in a namespace: a speaker and nothing else.
runSpeaker(process.argv[2]!).catch((error) => {
  process.stderr.write(`${error.message}\n`);
  process.exitCode = 1;
});
