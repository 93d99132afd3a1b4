import { existsSync } from 'node:fs';
import { join } from 'node:path';
import {
  type BpfMap,
  type BpfProgram,
  type ConstantValue,
  inspectObject,
  LinuxError,
  type LoadedObject,
  loadObject,
} from '@causeway/linux';
import { checkConstants } from './config.ts';
import { DatapathError } from './errors.ts';
import { checkEvent } from './events.ts';
import { checkMap } from './map-declaration.ts';
import { allMaps, maps } from './maps/all.ts';

/** The object files, one a hook (the socket hooks share one), with the programs in each. */
export const OBJECTS = Object.freeze({
  from_pod: ['from_pod'],
  to_pod: ['to_pod'],
  from_host: ['from_host'],
  from_network: ['from_network'],
  to_network: ['to_network'],
  from_overlay: ['from_overlay'],
  external: ['external', 'external_aside', 'external_return'],
  xdp_lb: ['xdp_lb'],
  sock: [
    'sock_connect4',
    'sock_connect6',
    'sock_sendmsg4',
    'sock_sendmsg6',
    'sock_recvmsg4',
    'sock_recvmsg6',
    'sock_getpeername4',
    'sock_getpeername6',
  ],
} as const);
export type ObjectName = keyof typeof OBJECTS;
export type ProgramName = (typeof OBJECTS)[ObjectName][number];

/** enum stage of bpf/lib/stages.h: the programs that others go on to, by their places. */
const STAGES: readonly ProgramName[] = [
  'external',
  'external_aside',
  'external_return',
  'from_network',
];

/** Where the build leaves the objects. */
export const DEFAULT_OBJECTS = join(import.meta.dirname, '..', 'bpf', 'out');

export interface ObjectsOptions {
  /** Directory of the compiled objects. */
  readonly objects: string;
  readonly constants: Readonly<Record<string, ConstantValue>>;
  /** Capacities by map name, where other than declared. */
  readonly limits: Readonly<Record<string, number>>;
  /** Where maps are pinned; absent: they live as long as the process (tests). */
  readonly pins?: string;
  readonly incompatible: 'refuse' | 'replace';
  /** Which objects to load; all when absent. */
  readonly only?: readonly ObjectName[];
}

/** All programs of a node, sharing their maps. */
export class ObjectSet implements Disposable {
  readonly #loaded: readonly LoadedObject[];
  readonly #programs: ReadonlyMap<string, BpfProgram>;
  readonly #maps: ReadonlyMap<string, BpfMap>;
  /** Maps that took the place of pinned ones of another shape. */
  readonly replacedMaps: readonly string[];

  constructor(loaded: readonly LoadedObject[]) {
    this.#loaded = loaded;
    this.replacedMaps = [...new Set(loaded.flatMap((each) => each.replacedMaps))];
    this.#programs = new Map(
      loaded.flatMap((each) =>
        each.programNames.map((name) => [name, each.program(name)] as const),
      ),
    );
    this.#maps = new Map(
      loaded.flatMap((each) => each.mapNames.map((name) => [name, each.map(name)] as const)),
    );
  }

  program(name: ProgramName): BpfProgram {
    return this.#find(this.#programs, name);
  }

  get programs(): ReadonlyMap<string, BpfProgram> {
    return this.#programs;
  }

  map(name: string): BpfMap {
    return this.#find(this.#maps, name);
  }

  [Symbol.dispose](): void {
    for (const each of this.#loaded) each.close();
  }

  #find<T>(table: ReadonlyMap<string, T>, name: string): T {
    const found = table.get(name);
    if (found === undefined) {
      throw new DatapathError('objects-missing', `no object has ${name}`, { value: name });
    }
    return found;
  }
}

/**
 * Loads every object, checks its layouts first, and lets all share one set of maps. All or nothing.
 * Throws objects-missing, layout-mismatch, map-incompatible, program-refused.
 */
export function loadObjects(options: ObjectsOptions): ObjectSet {
  using undo = new DisposableStack();
  const loaded: LoadedObject[] = [];
  const shared = new Map<string, BpfMap>();
  for (const name of options.only ?? (Object.keys(OBJECTS) as ObjectName[])) {
    const object = undo.use(loadOne(name, options, shared));
    loaded.push(object);
    for (const map of allMaps) {
      if (object.mapNames.includes(map.name) && !shared.has(map.name)) {
        shared.set(map.name, object.map(map.name));
      }
    }
  }
  const objects = new ObjectSet(loaded);
  connectStages(objects);
  undo.move();
  return objects;
}

/** Puts the programs of `stages` where others go on to: from the next packet on, those of an earlier run are out. */
function connectStages(objects: ObjectSet): void {
  for (const [stage, name] of STAGES.entries()) {
    const program = objects.programs.get(name);
    if (program === undefined) continue;
    const { key, value } = maps.stages;
    objects.map(maps.stages.name).update(key.encode(stage), value.encode(program.fd.number));
  }
}

function loadOne(
  name: ObjectName,
  options: ObjectsOptions,
  shared: ReadonlyMap<string, BpfMap>,
): LoadedObject {
  const path = join(options.objects, `${name}.o`);
  if (!existsSync(path)) {
    throw new DatapathError('objects-missing', `there is no ${path}`, {
      value: path,
      hint: 'compile the eBPF programs: npm run setup',
    });
  }
  const { btf } = inspectObject(path);
  const present = new Set(btf.mapNames());
  const declared = allMaps.filter((map) => present.has(map.name));
  for (const map of declared) checkMap(btf, map);
  if (present.has('events')) checkEvent(btf);
  const unknown = [...present].filter((each) => !declared.some((map) => map.name === each));
  if (unknown.length > 0) {
    throw new DatapathError(
      'layout-mismatch',
      `object ${name} has maps not known here: ${unknown}`,
      {
        value: unknown,
      },
    );
  }
  checkConstants(btf, options.constants, name);

  const own = declared.filter((map) => !shared.has(map.name));
  const maxEntries = Object.fromEntries(
    declared.map((map) => [map.name, options.limits[map.name] ?? map.maxEntries]),
  );
  try {
    return loadObject({
      path,
      constants: options.constants,
      maxEntries,
      reuse: Object.fromEntries(
        declared
          .filter((map) => shared.has(map.name))
          .map((map) => [map.name, shared.get(map.name)!] as const),
      ),
      ...(options.pins !== undefined && {
        pins: {
          directory: options.pins,
          maps: own.map((map) => map.name),
          incompatible: options.incompatible,
        },
      }),
    });
  } catch (error) {
    throw explain(name, error);
  }
}

function explain(name: ObjectName, error: unknown): unknown {
  if (!(error instanceof LinuxError)) return error;
  if (error.code === 'program-refused') {
    return new DatapathError('program-refused', `object ${name}: ${error.message}`, {
      value: name,
      cause: error,
    });
  }
  if (error.code === 'map-incompatible') {
    return new DatapathError('map-incompatible', error.message, {
      value: error.value,
      hint: 'it was made by another version or with other limits; to begin with new, empty maps say incompatibleMaps: replace',
      cause: error,
    });
  }
  return error;
}
