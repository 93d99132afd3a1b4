import fs from 'node:fs';
import { MAX_CONFIG_BYTES } from './config.ts';
import { CniCode } from './errors.ts';
import { type CniCall, type CniOutcome, execute } from './execute.ts';
import { nodeSurroundings, writeLog } from './node-surroundings.ts';
import { NEWEST_VERSION } from './versions.ts';

// The plugin in a process of its own: one call from the environment and standard input to standard output.
const started = performance.now();
const outcome = await run();
writeLog(outcome, performance.now() - started);
process.exitCode = outcome.exitCode;
if (outcome.stdout !== '') process.stdout.write(`${outcome.stdout}\n`);

async function run(): Promise<CniOutcome> {
  let config: string;
  try {
    config = readConfig();
  } catch (error) {
    return failed((error as Error).message);
  }
  // The shell has waited before it came here.
  const waitedMs = Number(process.env.CAUSEWAY_WAITED_MS ?? 0) || 0;
  const call: CniCall = { environment: process.env, config, waitedMs };
  const netns = process.env.CNI_NETNS ?? '';
  let fd: number | undefined;
  try {
    // Without O_NONBLOCK a pipe in its place would wait for a writer.
    const { O_RDONLY, O_NONBLOCK } = fs.constants;
    if (netns !== '') fd = fs.openSync(netns, O_RDONLY | O_NONBLOCK);
  } catch {
    // `execute` says so where it matters; DEL goes on without.
  }
  return execute(
    fd === undefined ? call : { ...call, netnsHandle: `/proc/${process.pid}/fd/${fd}` },
    nodeSurroundings(),
  );
}

/** Standard input whole, and no more of it than it takes to see that it is too large. */
function readConfig(): string {
  const chunks: Buffer[] = [];
  let size = 0;
  for (;;) {
    const chunk = Buffer.alloc(65_536);
    let read = 0;
    try {
      read = fs.readSync(0, chunk);
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === 'EOF') break;
      if (code === 'EAGAIN') {
        Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 5);
        continue;
      }
      throw new Error(`cannot read the network configuration: ${code}`);
    }
    if (read === 0) break;
    size += read;
    chunks.push(chunk.subarray(0, read));
    if (size > 4 * MAX_CONFIG_BYTES) break;
  }
  return Buffer.concat(chunks).toString();
}

function failed(msg: string): CniOutcome {
  const error = { cniVersion: NEWEST_VERSION, code: CniCode.ioFailure, msg };
  return { exitCode: 1, stdout: JSON.stringify(error), summary: msg };
}
