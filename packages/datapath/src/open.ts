import { existsSync, mkdirSync, readdirSync } from 'node:fs';
import { release } from 'node:os';
import { join } from 'node:path';
import { BpfMap, Features, unpin } from '@causeway/linux';
import { type AttachMode, Attachments } from './attachments.ts';
import { constantsOf, type DatapathConfig, traitsOf } from './config.ts';
import { Datapath, NEEDS_EXTERNAL } from './datapath.ts';
import { DatapathError } from './errors.ts';
import { MonitorFlag } from './events.ts';
import { type MapName, maps } from './maps/all.ts';
import { LAYOUT_VERSION, NODES_FLAGGED, UseFlag } from './maps/conntrack.ts';
import { flagNodes } from './migrations.ts';
import { DEFAULT_OBJECTS, loadObjects, type ObjectSet } from './objects.ts';
import { type MapOf, TypedMap } from './typed-map.ts';

/** Capacities; entries, of `events` bytes (a power of two). What is left out has its default. */
export type MapLimits = Partial<Record<MapName, number>>;

export interface DatapathOptions {
  /** On a BPF file system: maps go to `maps/`, links to `links/` below it. */
  readonly bpffsRoot: string;
  readonly config: DatapathConfig;
  readonly limits?: MapLimits;
  /** Directory of the compiled objects; default: where the build leaves them. */
  readonly objects?: string;
  readonly features?: Features;
  /** Default: links where the kernel has tcx, else filters. */
  readonly attachMode?: AttachMode;
  /**
   * Pinned maps of another version or capacity: 'refuse' (default) throws map-incompatible and leaves
   * all as it is; 'replace' begins with empty ones, at the price of the connections they hold.
   */
  readonly incompatibleMaps?: 'refuse' | 'replace';
  /** Drop and audit events per second and CPU. Default 200. */
  readonly dropEventsPerSecond?: number;
  /** In place of the running kernel's, for tests. */
  readonly kernelRelease?: string;
}

/**
 * Loads the programs around the node's pinned maps (made now if they are not there), and puts the new
 * programs in the place of those of an earlier run, link by link, each exchange atomic. Connections,
 * endpoints and all else in the maps stay, with what an older version did not write of them. Throws bad-config,
 * objects-missing, layout-mismatch, map-incompatible, program-refused, unsupported; nothing is changed then.
 */
export function openDatapath(options: DatapathOptions): Datapath {
  for (const [name, limit] of Object.entries(options.limits ?? {})) {
    if (!(name in maps) || !Number.isInteger(limit) || limit < 1 || limit > 0x4000_0000) {
      throw new DatapathError('bad-config', `limits.${name}: ${limit} entries are not possible`, {
        value: limit,
        hint: `maps are ${Object.keys(maps).join(', ')}`,
      });
    }
  }
  const features = options.features ?? new Features();
  const traits = traitsOf(features, options.kernelRelease ?? release());
  const constants = constantsOf(options.config, traits);
  for (const feature of ['ringbuf', 'redirect-peer', 'redirect-neigh', 'fib-lookup'] as const) {
    features.require(feature);
  }
  const mapDirectory = join(options.bpffsRoot, 'maps');
  mkdirSync(mapDirectory, { recursive: true });
  const incompatible = options.incompatibleMaps ?? 'refuse';
  if (existsSync(join(mapDirectory, maps.runtime.name)) && !usableLayout(mapDirectory)) {
    if (incompatible === 'refuse') {
      throw new DatapathError(
        'map-incompatible',
        `the maps pinned at ${mapDirectory} are of another layout than version ${LAYOUT_VERSION}`,
        { value: mapDirectory, hint: 'say incompatibleMaps: replace to begin with empty ones' },
      );
    }
    for (const name of readdirSync(mapDirectory)) unpin(join(mapDirectory, name));
  }
  using undo = new DisposableStack();
  const objects = undo.use(
    loadObjects({
      objects: options.objects ?? DEFAULT_OBJECTS,
      constants,
      limits: Object.fromEntries(
        Object.entries(options.limits ?? {}).map(([name, limit]) => [
          maps[name as MapName].name,
          limit,
        ]),
      ),
      pins: mapDirectory,
      incompatible,
    }),
  );
  const mode = options.attachMode ?? (features.has('tcx') ? 'tcx' : 'clsact');
  const attachments = new Attachments(join(options.bpffsRoot, 'links'), mode);
  initialiseRuntime(objects, options.dropEventsPerSecond ?? 200);
  const updated = attachments.updateAll((name) => objects.programs.get(name));
  const datapath = new Datapath(objects, attachments, features, updated);
  undo.move();
  return datapath;
}

/** Whether the pinned maps mean what this code means by them. */
function usableLayout(directory: string): boolean {
  using map = BpfMap.openPinned(join(directory, maps.runtime.name));
  if (map.info.valueSize !== maps.runtime.value.size) return false;
  const layout = new TypedMap(maps.runtime, map).get(0)?.layout;
  // 0: an earlier run ended before it got to write it.
  return layout === LAYOUT_VERSION || layout === 0;
}

function runtimeOf(objects: ObjectSet): MapOf<typeof maps.runtime> {
  return new TypedMap(maps.runtime, objects.map(maps.runtime.name));
}

/**
 * The epoch goes on where it was; an earlier run's readers are gone: what is cheap is told of. What its packets went on
 * to is loaded anew, so that they meet programs of one make.
 */
function initialiseRuntime(objects: ObjectSet, dropEventsPerSecond: number): void {
  const runtime = runtimeOf(objects);
  const { epoch, flags } = runtime.get(0)!;
  if ((flags & NODES_FLAGGED) === 0) flagNodes(objects);
  if ((flags & NEEDS_EXTERNAL) !== 0) objects.load('external');
  const uses = Object.values(UseFlag).reduce((sum, flag) => sum | flag, 0);
  runtime.set(0, {
    flags: (flags & uses) | NODES_FLAGGED | MonitorFlag.drop | MonitorFlag.audit,
    dropEventsPerSecond,
    epoch,
    layout: LAYOUT_VERSION,
  });
}
