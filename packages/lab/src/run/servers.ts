import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Serve } from '../file/schema.ts';
import { labDirectory } from '../host/names.ts';
import { launch } from '../host/process.ts';
import type { LabContext, Place } from './context.ts';
import { listening } from './listening.ts';

/**
 * The servers that a lab file asks for, out of busybox and socat: they answer with the place's name,
 * so that a client knows who served it. All listen on both families, and do when this returns.
 */
export async function startServers(
  context: LabContext,
  place: Place,
  name: string,
  servers: readonly Serve[],
): Promise<void> {
  const directory = join(labDirectory(context.state.name), 'www', place.place.replaceAll('/', '_'));
  if (servers.length > 0) {
    mkdirSync(directory, { recursive: true });
    writeFileSync(join(directory, 'index.html'), `${name}\n`);
  }
  const started = [];
  for (const server of servers) {
    const argv = [...context.prefix(place), ...serverCommand(server, name, directory)];
    started.push({ server, mark: await launch(argv, join(directory, 'servers.log')) });
  }
  for (const { server, mark } of started) await listening(place.place, mark.pid, server);
}

/** Once the client has said all, the shell that answers may still have to be started. */
const SOCAT = ['socat', '-t', '5'];

function serverCommand(server: Serve, name: string, directory: string): string[] {
  switch (server.type) {
    case 'http':
      return ['busybox', 'httpd', '-f', '-p', `[::]:${server.port}`, '-h', directory];
    case 'tcp':
      // The name and the client's address as seen here at once, then whatever comes is sent back.
      return [
        ...SOCAT,
        `TCP6-LISTEN:${server.port},ipv6only=0,fork,reuseaddr,backlog=256`,
        `SYSTEM:echo ${name} $SOCAT_PEERADDR; exec cat`,
      ];
    case 'udp':
      // One line in, one line out, with the name before it; one datagram each.
      return [
        ...SOCAT,
        `UDP6-RECVFROM:${server.port},ipv6only=0,fork,reuseaddr`,
        `SYSTEM:read -r line; echo "${name} $line"`,
      ];
    default:
      return server.type satisfies never;
  }
}

/** The container ports that a pod's servers stand on, for its Pod resource. */
export function containerPorts(
  servers: readonly Serve[],
): { name?: string; containerPort: number; protocol: 'TCP' | 'UDP' }[] {
  return servers.map(({ name, port, type }) => ({
    ...(name === undefined ? {} : { name }),
    containerPort: port,
    protocol: type === 'udp' ? 'UDP' : 'TCP',
  }));
}
