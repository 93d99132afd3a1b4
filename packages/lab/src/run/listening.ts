import { readFileSync, readlinkSync } from 'node:fs';
import type { Serve } from '../file/schema.ts';
import { until } from '../host/wait.ts';

const TIMEOUT_MS = 20_000;

/** Waits until something listens on a server's port in the network namespace of a process. */
export async function listening(place: string, pid: number, server: Serve): Promise<void> {
  await until(
    `the ${server.type} server on port ${server.port} of ${place}`,
    () => missing(pid, server),
    {
      timeoutMs: TIMEOUT_MS,
    },
  );
}

/** States of /proc/PID/net/{tcp,udp}6: LISTEN, and a UDP socket that is connected to nobody. */
const STATE = { tcp: '0A', udp: '07' } as const;

function missing(pid: number, { type, port }: Serve): string | undefined {
  const protocol = type === 'udp' ? 'udp' : 'tcp';
  let table: string;
  try {
    // What is started enters its namespace first.
    if (readlinkSync(`/proc/${pid}/ns/net`) === readlinkSync('/proc/self/ns/net'))
      return 'it is not in its place yet';
    table = readFileSync(`/proc/${pid}/net/${protocol}6`, 'utf8');
  } catch {
    return 'it has ended';
  }
  const own = `:${port.toString(16).toUpperCase().padStart(4, '0')}`;
  const found = table.split('\n').some((line) => {
    const [, local, , state] = line.trim().split(/\s+/);
    return local?.endsWith(own) === true && state === STATE[protocol];
  });
  return found ? undefined : 'it does not listen';
}
