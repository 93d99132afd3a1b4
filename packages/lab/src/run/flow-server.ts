import { createServer, type Server, type Socket } from 'node:net';
import { createInterface } from 'node:readline';
import { Netns } from '@causeway/linux';

/**
 * One process that serves in many namespaces at once: a listening socket belongs to the namespace in which
 * its thread stood when it was made, and stays there. Says its place's name to each client, then sends
 * back whatever comes. Told what by its only argument; a place's name on standard input closes it there.
 */

export interface FlowServerRequest {
  readonly port: number;
  readonly places: readonly { readonly name: string; readonly netns: string }[];
}

interface Serving {
  readonly server: Server;
  readonly sockets: Set<Socket>;
}

function serve(name: string, netns: string, port: number): Promise<Serving> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    socket.on('close', () => sockets.delete(socket));
    socket.setNoDelay();
    socket.write(`${name}\n`);
    socket.pipe(socket);
  });
  using namespace = Netns.open(netns);
  // Without a host name `listen` makes its socket before it returns.
  namespace.run(() => {
    server.listen({ port, backlog: 4096 });
  });
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.once('listening', () => resolve({ server, sockets }));
  });
}

if (import.meta.main) {
  const { port, places } = JSON.parse(process.argv[2] ?? '') as FlowServerRequest;
  const serving = new Map<string, Serving>();
  for (const { name, netns } of places) serving.set(name, await serve(name, netns, port));
  console.log('ready');
  for await (const name of createInterface({ input: process.stdin })) {
    const one = serving.get(name);
    one?.server.close();
    for (const socket of one?.sockets ?? []) socket.destroy();
    serving.delete(name);
    console.log('closed');
  }
  process.exit();
}
