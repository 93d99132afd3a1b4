import { VERSION } from '@causeway/daemon';
import type { BfdStatus } from '../bfd.ts';
import type { BmpStatusView } from '../runtime/bmp.ts';
import type { Engine } from '../runtime/engine.ts';
import type { KernelStatusView } from '../runtime/kernel.ts';
import { instant, secondsSince } from '../views/time.ts';

/** `GET /v1/status`: cheap whatever the number of neighbours and routes. */
export interface StatusView {
  readonly version: string;
  /** Changes with each process. */
  readonly startedAt: string;
  readonly uptimeSeconds: number;
  readonly ready: true;
  /** False until somebody has said what AS we are in. */
  readonly configured: boolean;
  readonly asn?: number;
  readonly routerId?: string;
  readonly listening: readonly string[];
  /** After a restart, until all whose sessions were up are back, or the deferral is over. */
  readonly restarting?: { readonly expected: number };
  readonly peers: { readonly total: number; readonly established: number };
  readonly prefixes: Readonly<Record<string, number>>;
  readonly paths: Readonly<Record<string, number>>;
  readonly tables: {
    readonly attributeSets: number;
    readonly attributeBytes: number;
    readonly tableBytes: number;
    readonly updateGroups: number;
  };
  readonly kernel?: KernelStatusView;
  readonly bfd?: BfdStatus;
  readonly bmp: readonly BmpStatusView[];
  readonly memoryBytes: number;
}

export function statusView(engine: Engine | undefined, startedAt: number): StatusView {
  const counters = engine?.core.counters();
  const bfd = engine?.bfd?.status();
  return {
    version: VERSION,
    startedAt: instant(startedAt),
    uptimeSeconds: secondsSince(startedAt),
    ready: true,
    configured: engine !== undefined,
    ...(engine === undefined
      ? {}
      : { asn: engine.settings.asn, routerId: engine.settings.routerId }),
    listening: engine?.shell.listening.map(({ address, port }) => `${address} ${port}`) ?? [],
    ...(counters?.deferring
      ? { restarting: { expected: engine?.restart?.expected.length ?? 0 } }
      : {}),
    peers: { total: counters?.peers ?? 0, established: counters?.established ?? 0 },
    prefixes: counters?.prefixes ?? {},
    paths: counters?.paths ?? {},
    tables: {
      attributeSets: counters?.attributeSets ?? 0,
      attributeBytes: counters?.attributeBytes ?? 0,
      tableBytes: counters?.tableBytes ?? 0,
      updateGroups: counters?.updateGroups ?? 0,
    },
    ...(engine === undefined ? {} : { kernel: engine.kernel.status() }),
    ...(bfd === undefined ? {} : { bfd }),
    bmp: engine?.bmp.status() ?? [],
    memoryBytes: process.memoryUsage.rss(),
  };
}
