import { existsSync, mkdirSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import koffi from 'koffi';
import { callError, invalidArgument, LinuxError, VerifierError } from '../errors.ts';
import { Fd } from '../fd.ts';
import { libbpf, type Pointer } from '../ffi/libbpf.ts';
import { capturingWarnings } from '../ffi/libbpf-print.ts';
import { stableCopy } from '../ffi/memory.ts';
import { onFile } from '../files.ts';
import { isBpffs } from '../mounts.ts';
import type { Btf } from './btf.ts';
import { type ConstantValue, writeConstants } from './constants.ts';
import { unpin } from './link.ts';
import { BpfMap, type MapShape } from './map.ts';
import { mapTypeName } from './map-types.ts';
import { inspectObject } from './object-file.ts';
import { BpfProgram } from './program.ts';
import { findRefusal, summarizeVerifierLog } from './verifier-log.ts';

export interface LoadOptions {
  /** The object file. */
  readonly path: string;
  /** `const volatile` variables by name. Names that the object lacks are refused. */
  readonly constants?: Readonly<Record<string, ConstantValue>>;
  /** Programs (C function names) to load; all when absent. */
  readonly programs?: readonly string[];
  readonly maxEntries?: Readonly<Record<string, number>>;
  /** Existing maps to take in place of the object's own, by their name in the object. */
  readonly reuse?: Readonly<Record<string, BpfMap>>;
  /** Maps that outlive us, under `directory/<map name>`. */
  readonly pins?: PinOptions;
}

export interface PinOptions {
  readonly directory: string;
  readonly maps: readonly string[];
  /** What to do with a pinned map of another type, size or capacity: 'refuse' is the default. */
  readonly incompatible?: 'refuse' | 'replace';
}

/** Programs and maps of one loaded object. Closing it closes them all; pins and links live on. */
export class LoadedObject implements Disposable {
  readonly btf: Btf;
  /** Maps that replaced pinned ones of another shape. */
  readonly replacedMaps: readonly string[];
  readonly #programs: ReadonlyMap<string, BpfProgram>;
  readonly #maps: ReadonlyMap<string, BpfMap>;

  constructor(
    btf: Btf,
    programs: ReadonlyMap<string, BpfProgram>,
    maps: ReadonlyMap<string, BpfMap>,
    replacedMaps: readonly string[],
  ) {
    this.btf = btf;
    this.#programs = programs;
    this.#maps = maps;
    this.replacedMaps = replacedMaps;
  }

  get programNames(): readonly string[] {
    return [...this.#programs.keys()];
  }

  /** Data sections go by their section's name: ".rodata", ".data", ".bss". */
  get mapNames(): readonly string[] {
    return [...this.#maps.keys()];
  }

  program(name: string): BpfProgram {
    return this.#find(this.#programs, 'program', name);
  }

  map(name: string): BpfMap {
    return this.#find(this.#maps, 'map', name);
  }

  close(): void {
    for (const program of this.#programs.values()) program.close();
    for (const map of this.#maps.values()) map.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #find<T>(table: ReadonlyMap<string, T>, what: string, name: string): T {
    const found = table.get(name);
    if (found === undefined) {
      throw new LinuxError(
        'bad-object',
        `the loaded object has no ${what} ${name} (it has ${[...table.keys()].join(', ')})`,
        { operation: 'look up', value: name },
      );
    }
    return found;
  }
}

/**
 * Opens an object file, sets it up as asked and loads it into the kernel. All or nothing: after an
 * error no program, map or new pin is left. Throws VerifierError, map-incompatible, bad-object.
 */
export function loadObject(options: LoadOptions): LoadedObject {
  const file = inspectObject(options.path);
  const { result: object, warnings } = capturingWarnings(() =>
    libbpf().objectOpen(options.path, null),
  );
  if (object === null) {
    throw new LinuxError('bad-object', `libbpf cannot open ${options.path}: ${warnings.trim()}`, {
      operation: 'open object',
      value: options.path,
    });
  }
  using cleanup = new DisposableStack();
  cleanup.defer(() => libbpf().objectClose(object));

  const programs = listPrograms(object);
  const wanted = options.programs ?? [...programs.keys()];
  requireNames('program', wanted, programs);
  for (const [name, pointer] of programs) {
    libbpf().programSetAutoload(pointer, wanted.includes(name));
  }

  const maps = listMaps(object);
  for (const [name, count] of Object.entries(options.maxEntries ?? {})) {
    requireNames('map', [name], maps);
    const result = libbpf().mapSetMaxEntries(maps.get(name)!, count);
    if (result < 0) throw callError(`set capacity of map ${name} to`, result, count);
  }
  if (options.constants !== undefined && Object.keys(options.constants).length > 0) {
    setConstants(maps.get('.rodata'), file.btf, options.constants);
  }
  for (const [name, map] of Object.entries(options.reuse ?? {})) {
    requireNames('map', [name], maps);
    reuse(maps.get(name)!, name, map);
  }
  const pins = usePins(maps, options.pins);

  const loading = capturingWarnings(() => libbpf().objectLoad(object));
  if (loading.result < 0) throw loadError(options.path, -loading.result, loading.warnings);

  return collect(file.btf, wanted, programs, maps, pins);
}

function requireNames(what: string, names: readonly string[], known: ReadonlyMap<string, unknown>) {
  for (const name of names) {
    if (!known.has(name)) {
      throw new LinuxError(
        'bad-object',
        `the object has no ${what} ${name} (it has ${[...known.keys()].join(', ')})`,
        { operation: 'load object', value: name },
      );
    }
  }
}

function listPrograms(object: Pointer): Map<string, Pointer> {
  const found = new Map<string, Pointer>();
  for (
    let p = libbpf().nextProgram(object, null);
    p !== null;
    p = libbpf().nextProgram(object, p)
  ) {
    found.set(libbpf().programName(p), p);
  }
  return found;
}

function listMaps(object: Pointer): Map<string, Pointer> {
  const found = new Map<string, Pointer>();
  for (let m = libbpf().nextMap(object, null); m !== null; m = libbpf().nextMap(object, m)) {
    // libbpf names data sections after the object, cut short: "from_pod.rodata".
    const name = libbpf().mapName(m);
    const section = /\.(rodata|data|bss)(\.[\w.]+)?$/.exec(name)?.[0];
    found.set(section ?? name, m);
  }
  return found;
}

function setConstants(
  map: Pointer | undefined,
  btf: Btf,
  values: Readonly<Record<string, ConstantValue>>,
): void {
  const length = new BigUint64Array(1);
  const initial =
    map === undefined ? null : libbpf().mapInitialValue(map, new Uint8Array(length.buffer));
  if (map === undefined || initial === null) {
    throw new LinuxError('bad-object', 'the object has no constants to set', {
      operation: 'set constants',
      value: Object.keys(values),
    });
  }
  const bytes = stableCopy(new Uint8Array(koffi.view(initial, Number(length[0]))));
  writeConstants(bytes, btf.variables('.rodata'), values);
  const result = libbpf().mapSetInitialValue(map, bytes, bytes.length);
  if (result < 0) throw callError('set constants', result);
}

function declaredShape(pointer: Pointer, name: string): MapShape {
  return {
    name,
    type: mapTypeName(libbpf().mapType(pointer)),
    keySize: libbpf().mapKeySize(pointer),
    valueSize: libbpf().mapValueSize(pointer),
    maxEntries: libbpf().mapMaxEntries(pointer),
    flags: libbpf().mapFlags(pointer),
  };
}

function differences(declared: MapShape, found: MapShape): string[] {
  return (['type', 'keySize', 'valueSize', 'maxEntries', 'flags'] as const)
    .filter((field) => declared[field] !== found[field])
    .map((field) => `${field} is ${found[field]}, needed ${declared[field]}`);
}

function incompatible(name: string, where: string, differing: readonly string[]): LinuxError {
  return new LinuxError(
    'map-incompatible',
    `map ${name} ${where} does not fit the object: ${differing.join('; ')}`,
    { operation: 'reuse map', value: name },
  );
}

function reuse(pointer: Pointer, name: string, map: BpfMap): void {
  const differing = differences(declaredShape(pointer, name), map.info);
  if (differing.length > 0) throw incompatible(name, `(id ${map.info.id})`, differing);
  const result = libbpf().mapReuseFd(pointer, map.fd.number);
  if (result < 0) throw callError('reuse map', result, name);
}

interface Pins {
  readonly toPin: readonly { name: string; path: string; replace: boolean }[];
}

function usePins(maps: ReadonlyMap<string, Pointer>, options: PinOptions | undefined): Pins {
  const toPin: { name: string; path: string; replace: boolean }[] = [];
  if (options === undefined) return { toPin };
  requireNames('map', options.maps, maps);
  onFile('create pin directory', options.directory, () =>
    mkdirSync(options.directory, { recursive: true }),
  );
  if (!isBpffs(options.directory)) {
    throw invalidArgument(
      'pin maps',
      `${options.directory} is on no BPF file system: mount one there`,
      options.directory,
    );
  }
  for (const name of options.maps) {
    // bpffs takes no dots in names.
    const path = join(options.directory, name.replaceAll('.', ''));
    const pointer = maps.get(name)!;
    if (!existsSync(path)) {
      toPin.push({ name, path, replace: false });
      continue;
    }
    using pinned = BpfMap.openPinned(path);
    const differing = differences(declaredShape(pointer, name), pinned.info);
    if (differing.length === 0) {
      reuse(pointer, name, pinned);
    } else if (options.incompatible === 'replace') {
      toPin.push({ name, path, replace: true });
    } else {
      throw incompatible(name, `pinned at ${path}`, differing);
    }
  }
  return { toPin };
}

function loadError(path: string, errno: number, warnings: string): LinuxError {
  const refusal = findRefusal(warnings);
  if (refusal !== undefined) {
    const summary = summarizeVerifierLog(refusal.log) || warnings.trim();
    return new VerifierError(refusal.program, summary, refusal.log, errno);
  }
  const error = callError('load object', errno, path);
  return new LinuxError(error.code, `${error.message}\n${warnings.trim()}`, {
    operation: 'load object',
    errno,
    value: path,
  });
}

/** Takes copies of all descriptors, pins what is to be pinned; undoes both when a step fails. */
function collect(
  btf: Btf,
  wanted: readonly string[],
  programPointers: ReadonlyMap<string, Pointer>,
  mapPointers: ReadonlyMap<string, Pointer>,
  pins: Pins,
): LoadedObject {
  using undo = new DisposableStack();
  const programs = new Map<string, BpfProgram>();
  for (const name of wanted) {
    const fd = libbpf().programFd(programPointers.get(name)!);
    programs.set(name, undo.use(BpfProgram.adopt(Fd.copyOf(fd, `BPF program ${name}`))));
  }
  const maps = new Map<string, BpfMap>();
  for (const [name, pointer] of mapPointers) {
    const fd = libbpf().mapFd(pointer);
    if (fd >= 0) maps.set(name, undo.use(BpfMap.adopt(Fd.copyOf(fd, `BPF map ${name}`))));
  }
  // New maps get their pins at the very end, and those that replace others by one rename each: a
  // failure in between leaves the old ones in place.
  for (const { name, path, replace } of pins.toPin) {
    const target = replace ? `${path}_new` : path;
    if (replace) unpin(target); // left over by a crash
    maps.get(name)!.pin(target);
    undo.defer(() => unpin(target));
  }
  for (const { path, replace } of pins.toPin) {
    if (replace) renameSync(`${path}_new`, path);
  }
  undo.move();
  return new LoadedObject(
    btf,
    programs,
    maps,
    pins.toPin.filter((pin) => pin.replace).map((pin) => pin.name),
  );
}
