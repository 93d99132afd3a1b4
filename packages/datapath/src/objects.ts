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
  external: ['external', 'external_aside', 'external_return', 'external_accept'],
  xdp_lb: ['xdp_lb'],
  host_policy: ['host_ingress', 'host_egress'],
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
  'external_accept',
];

/** Programs that many nodes never need: loaded when the first row comes that needs them. */
const LATER: ReadonlySet<ObjectName> = new Set(['external', 'xdp_lb', 'host_policy']);

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
  /** Which objects to load at once; when absent those that every node needs. */
  readonly only?: readonly ObjectName[];
}

/** The programs of a node, sharing their maps. */
export class ObjectSet implements Disposable {
  readonly #options: ObjectsOptions;
  readonly #loaded = new Map<ObjectName, LoadedObject>();
  readonly #programs = new Map<string, BpfProgram>();
  readonly #maps = new Map<string, BpfMap>();
  readonly #shared = new Map<string, BpfMap>();

  constructor(options: ObjectsOptions) {
    this.#options = options;
  }

  /**
   * Loads an object beside those that are there, checks its layouts first, and lets it share their maps. Idempotent;
   * all or nothing. Throws objects-missing, layout-mismatch, map-incompatible, program-refused.
   */
  load(name: ObjectName): void {
    if (this.#loaded.has(name)) return;
    const object = loadOne(name, this.#options, this.#shared);
    this.#loaded.set(name, object);
    for (const each of object.programNames) this.#programs.set(each, object.program(each));
    for (const each of object.mapNames) this.#maps.set(each, object.map(each));
    for (const map of allMaps) {
      if (object.mapNames.includes(map.name) && !this.#shared.has(map.name)) {
        this.#shared.set(map.name, object.map(map.name));
      }
    }
    connectStages(this, object.programNames);
  }

  /** Maps that took the place of pinned ones of another shape. */
  get replacedMaps(): readonly string[] {
    return [...new Set(Array.from(this.#loaded.values(), (each) => each.replacedMaps).flat())];
  }

  /** A program by its name; its object is loaded if it was not. Throws as `load` does. */
  program(name: ProgramName): BpfProgram {
    if (!this.#programs.has(name)) this.load(objectOf(name));
    return this.#find(this.#programs, name);
  }

  /** Those that are loaded. */
  get programs(): ReadonlyMap<string, BpfProgram> {
    return this.#programs;
  }

  /** False for a map of objects that are not loaded. */
  hasMap(name: string): boolean {
    return this.#maps.has(name);
  }

  map(name: string): BpfMap {
    return this.#find(this.#maps, name);
  }

  [Symbol.dispose](): void {
    for (const each of this.#loaded.values()) each.close();
  }

  #find<T>(table: ReadonlyMap<string, T>, name: string): T {
    const found = table.get(name);
    if (found === undefined) {
      throw new DatapathError('objects-missing', `no object has ${name}`, { value: name });
    }
    return found;
  }
}

function objectOf(program: ProgramName): ObjectName {
  for (const name of Object.keys(OBJECTS) as ObjectName[]) {
    if ((OBJECTS[name] as readonly ProgramName[]).includes(program)) return name;
  }
  throw new DatapathError('objects-missing', `no object has ${program}`, { value: program });
}

/**
 * Loads the objects that every node needs, or those named. All or nothing.
 * Throws objects-missing, layout-mismatch, map-incompatible, program-refused.
 */
export function loadObjects(options: ObjectsOptions): ObjectSet {
  using undo = new DisposableStack();
  const objects = undo.use(new ObjectSet(options));
  const names = Object.keys(OBJECTS) as ObjectName[];
  for (const name of options.only ?? names.filter((each) => !LATER.has(each))) objects.load(name);
  undo.move();
  return objects;
}

/** Puts the programs of `stages` where others go on to: from the next packet on, those of an earlier run are out. */
function connectStages(objects: ObjectSet, programs: readonly string[]): void {
  for (const [stage, name] of STAGES.entries()) {
    if (!programs.includes(name)) continue;
    const { key, value } = maps.stages;
    const { fd } = objects.program(name);
    objects.map(maps.stages.name).update(key.encode(stage), value.encode(fd.number));
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
