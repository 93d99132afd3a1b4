import { runAgent } from '../agent.ts';

// The program that tests start in a node's namespace: an agent and nothing else.
runAgent(process.argv[2]!).catch((error) => {
  process.stderr.write(`${error.message}\n`);
  process.exitCode = 1;
});
