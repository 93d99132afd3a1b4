import { systemClock } from './clock.ts';
import type { ConnectOptions } from './connect.ts';
import { KvError } from './errors.ts';
import { GrpcTransport } from './grpc.ts';
import { type Header, namesCluster } from './transport.ts';

/** More revisions than any store writes while it is asked. */
const AHEAD = 1_000_000;

/**
 * Whether what answers is a proxy that joins watches of one prefix to one (etcd's grpc-proxy): it tells the second
 * watcher no cluster id. Readers that hold on to that id, Cilium's from 1.17 on, can then not be behind it.
 * `prefix` is one that may be read; `deadline` in milliseconds is for each watch. Throws KvError where it cannot be seen.
 */
export async function joinsWatches(options: ConnectOptions, prefix: string): Promise<boolean> {
  const { endpoints, tls, keepAlive = 10_000, clock = systemClock, deadline = 5000 } = options;
  const transport = new GrpcTransport(endpoints, { tls, clock, keepAlive });
  const patience = typeof deadline === 'number' ? deadline : deadline();
  const open: { close(): void }[] = [];
  const created = (startRevision: number) =>
    new Promise<Header>((resolve, reject) => {
      const over = new AbortController();
      const late = `no answer to the watch of ${prefix} in ${patience} ms`;
      clock.sleep(patience, over.signal).then(() => {
        if (!over.signal.aborted) reject(new KvError('deadline', prefix, late));
      });
      open.push(
        transport.watch(
          { prefix, startRevision },
          {
            created: (header) => {
              over.abort();
              resolve(header);
            },
            events: () => {},
            ended: (error) => {
              over.abort();
              reject(error);
            },
          },
        ),
      );
    });
  try {
    const { revision } = await created(0);
    // A proxy joins it to the first only if that has not gone past the revision at which it begins.
    return !namesCluster(await created(revision + AHEAD));
  } finally {
    for (const stream of open) stream.close();
    await transport[Symbol.asyncDispose]();
  }
}
