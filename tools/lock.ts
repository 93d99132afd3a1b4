/**
 * Completes package-lock.json: npm leaves out the optional packages of platforms that the registry in use
 * does not serve, and `npm ci` then refuses the file. Adds them as npm writes them elsewhere: version,
 * platform, optional. Run by `npm run lock` after a dependency changed.
 */
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';

interface Entry {
  version?: string;
  dev?: boolean;
  optional?: boolean;
  os?: string[];
  cpu?: string[];
  libc?: string[];
  optionalDependencies?: Record<string, string>;
}

const systems = [
  'android',
  'darwin',
  'freebsd',
  'linux',
  'netbsd',
  'openbsd',
  'openharmony',
  'sunos',
  'win32',
  'aix',
];
const processors = [
  'arm64',
  'arm',
  'ia32',
  'loong64',
  'mips64el',
  'ppc64',
  'riscv64',
  's390x',
  'wasm32',
  'x64',
];

/** What a platform package is for, read off its name as their makers write it. */
function platformOf(name: string): Pick<Entry, 'os' | 'cpu' | 'libc'> {
  const words = name.split(/[-/_]/);
  const os = systems.find((system) => words.includes(system));
  const cpu =
    processors.find((one) => words.includes(one)) ??
    (words.includes('riscv64d') ? 'riscv64' : undefined);
  return {
    ...(cpu === undefined ? {} : { cpu: [cpu] }),
    ...(os === undefined ? {} : { os: [os] }),
    ...(words.includes('musl') ? { libc: ['musl'] } : {}),
  };
}

execFileSync('npm', ['install', '--no-audit', '--no-fund', '--loglevel=error'], {
  stdio: 'inherit',
});
const lock = JSON.parse(readFileSync('package-lock.json', 'utf8')) as {
  packages: Record<string, Entry>;
};
let added = 0;
for (const [path, entry] of Object.entries(lock.packages)) {
  for (const [name, version] of Object.entries(entry.optionalDependencies ?? {})) {
    const nested = `${path}/node_modules/${name}`;
    if (lock.packages[nested] !== undefined || lock.packages[`node_modules/${name}`] !== undefined)
      continue;
    const platform = platformOf(name);
    if (platform.os === undefined && platform.cpu === undefined)
      throw new Error(`${name} of ${path} names no platform; add it to tools/lock.ts`);
    lock.packages[`node_modules/${name}`] = {
      version,
      ...(entry.dev ? { dev: true } : {}),
      optional: true,
      ...platform,
    };
    added += 1;
  }
}
const sorted = Object.fromEntries(
  Object.entries(lock.packages).sort(([a], [b]) => (a < b ? -1 : 1)),
);
writeFileSync('package-lock.json', `${JSON.stringify({ ...lock, packages: sorted }, null, 2)}\n`);
console.log(`lock: ${added} packages of other platforms added`);
