/**
 * The floor rule: a package imports only floors below its own, through the other package's face, and
 * declares what it imports; pure packages and protocol cores do no I/O and read neither clock nor chance; FFI stays in
 * `linux`; child processes stay in `lab` (and in tools, benches and tests). Prints one line a breach.
 */
import { globSync, readFileSync } from 'node:fs';
import { basename, dirname, relative, resolve } from 'node:path';

/** Floors from the ground up. Packages on one floor do not import each other, save as `within` says. */
const floors: readonly (readonly string[])[] = [
  ['ip', 'wire'],
  ['tables', 'linux', 'etcd', 'daemon', 'pki'],
  ['bgp', 'bfd', 'bmp'],
  ['identity', 'policy', 'ipam', 'loadbalancing'],
  ['resources', 'datapath', 'mesh'],
  ['agent', 'operator', 'speaker', 'bfd-daemon', 'bmp-station', 'inventory', 'cni', 'lab', 'cli'],
];

/** The imports allowed inside one floor: each is an order of its own, so that no cycle can come. */
const within: Readonly<Record<string, readonly string[]>> = {
  etcd: ['tables'],
  daemon: ['linux'],
  bmp: ['bgp'],
  policy: ['identity'],
  // In tests only: our own speaker is one of the routers that feed the station.
  'bmp-station': ['speaker'],
  mesh: ['resources'],
  lab: ['cni'],
  cli: ['agent', 'operator', 'cni', 'lab', 'speaker', 'bfd-daemon', 'bmp-station', 'inventory'],
};

const pure = new Set(['ip', 'wire', 'tables', 'identity', 'policy', 'ipam', 'loadbalancing']);
/** Sans-I/O cores: pure but for their one shell, `shell.ts` or the files of `shell/`. */
const cores = new Set(['bgp', 'bfd', 'bmp']);
const isPure = (name: string, file: string) =>
  pure.has(name) || (cores.has(name) && !/\/shell(\.ts$|\/)/.test(file));

const mayUseFfi = new Set(['linux']);
const mayStartProcesses = new Set(['lab']);
/** A secret of the process, on which nothing that can be seen depends. */
const mayUseChance = new Set(['packages/bgp/src/wire/hash.ts']);

/** Second faces, so that who does without loads nothing of them: a command line starts by the first and the last. */
const lightFaces = new Set(['daemon/client', 'daemon/fields', 'daemon/words']);

/** Clock and chance, which a pure package takes as arguments. */
const ambient =
  /\b(Date\.now|Math\.random|performance\.now|process\.hrtime|setTimeout|setInterval)\b|new Date\(\)/;

interface Breach {
  readonly file: string;
  readonly line: number;
  readonly what: string;
}

const floorOf = new Map(
  floors.flatMap((names, floor) => names.map((name) => [name, floor] as const)),
);

function importsOf(text: string): { specifier: string; line: number }[] {
  const found: { specifier: string; line: number }[] = [];
  const pattern =
    /(?:^|\n)\s*(?:import|export)\b[^'"`;]*?from\s*['"]([^'"]+)['"]|\bimport\(\s*['"]([^'"]+)['"]\s*\)|(?:^|\n)\s*import\s*['"]([^'"]+)['"]/g;
  for (const match of text.matchAll(pattern)) {
    const specifier = match[1] ?? match[2] ?? match[3];
    if (specifier === undefined) continue;
    found.push({
      specifier,
      line: text.slice(0, match.index + match[0].length).split('\n').length,
    });
  }
  return found;
}

function checkImport(
  name: string,
  specifier: string,
  file: string,
  isTest: boolean,
  declared: ReadonlySet<string>,
): string | undefined {
  if (specifier.startsWith('.')) {
    const target = relative(resolve('packages', name), resolve(dirname(file), specifier));
    if (target.startsWith('..'))
      return `reaches out of its package: ${specifier}; import @causeway/... instead`;
    return specifier.endsWith('.ts') || specifier.endsWith('.json')
      ? undefined
      : `relative import without .ts: ${specifier}`;
  }
  const own = /^@causeway\/([^/]+)(\/.*)?$/.exec(specifier);
  if (own !== null) {
    const other = own[1] ?? '';
    // Tests share what starts a real program or builds a world: `<package>/testing` is its face.
    const isFace = own[2] === undefined || lightFaces.has(`${other}${own[2]}`);
    if (!isFace && !(own[2] === '/testing' && isTest))
      return `imports past the face of ${other}: ${specifier}`;
    if (!declared.has(`@causeway/${other}`))
      return `${specifier} is not among the dependencies in package.json`;
    const mine = floorOf.get(name);
    const theirs = floorOf.get(other);
    if (mine === undefined || theirs === undefined)
      return `${name} or ${other} stands on no floor; add it to tools/floors.ts`;
    if (theirs < mine || within[name]?.includes(other)) return undefined;
    return `${name} (floor ${mine}) must not import ${other} (floor ${theirs})`;
  }
  if (specifier === 'koffi' && !mayUseFfi.has(name)) return 'FFI outside packages/linux';
  if (/^(node:)?child_process$/.test(specifier) && !mayStartProcesses.has(name) && !isTest)
    return 'starts child processes outside lab, tools, bench and tests';
  if (isPure(name, file) && specifier.startsWith('node:') && !isTest)
    return `pure package imports ${specifier}`;
  return undefined;
}

/** Returns every breach of the floor rule in the tree that the process stands in. */
export function checkFloors(): Breach[] {
  const breaches: Breach[] = [];
  for (const manifest of globSync('packages/*/package.json')) {
    const name = basename(dirname(manifest));
    const parsed = JSON.parse(readFileSync(manifest, 'utf8')) as {
      dependencies?: Record<string, string>;
      devDependencies?: Record<string, string>;
    };
    const declared = new Set([
      ...Object.keys(parsed.dependencies ?? {}),
      ...Object.keys(parsed.devDependencies ?? {}),
    ]);
    if (!floorOf.has(name))
      breaches.push({
        file: manifest,
        line: 1,
        what: `${name} stands on no floor; add it to tools/floors.ts`,
      });
    for (const file of globSync(`packages/${name}/**/*.ts`)) {
      if (file.includes('node_modules')) continue;
      const text = readFileSync(file, 'utf8');
      const isTest = /\.test\.ts$|\/(testing|test|bench)\//.test(file);
      for (const { specifier, line } of importsOf(text)) {
        const what = checkImport(name, specifier, file, isTest, declared);
        if (what !== undefined) breaches.push({ file, line, what });
      }
      if (!isPure(name, file) || isTest || mayUseChance.has(file)) continue;
      text.split('\n').forEach((row, index) => {
        const code = row.replace(/\/\/.*$|^\s*\*.*$|\/\*.*?\*\//, '');
        if (ambient.test(code))
          breaches.push({
            file,
            line: index + 1,
            what: `pure package reads clock or chance: ${row.trim()}`,
          });
      });
    }
  }
  return breaches;
}
