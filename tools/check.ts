/**
 * `npm test`: the checks of the house (format and lint, types, examples, floors, unused code), then every test by
 * level, the quick ones first. Ends with what was skipped and why, what was left behind, and one line of
 * counts. `node tools/check.ts pure` (or house, kernel, interop, system) runs one level.
 */
import { spawnSync } from 'node:child_process';
import { globSync } from 'node:fs';
import { run } from 'node:test';
import { spec } from 'node:test/reporters';
import { checkExamples } from './examples.ts';
import { checkFloors } from './floors.ts';
import { inventory, leftBehind } from './residue.ts';

const levels = ['house', 'pure', 'kernel', 'interop', 'system'] as const;
type Level = (typeof levels)[number];

/** Tests that share the machine's namespaces or cores run one file after the other. */
const concurrency: Readonly<Record<Level, number>> = {
  house: 1,
  pure: 2,
  kernel: 1,
  interop: 1,
  system: 1,
};

let passed = 0;
let failed = 0;
const skipped: string[] = [];

function step(name: string, check: () => string | undefined): void {
  const start = performance.now();
  const problem = check();
  const seconds = ((performance.now() - start) / 1000).toFixed(1);
  console.log(`${problem === undefined ? 'ok  ' : 'FAIL'} ${name} (${seconds} s)`);
  if (problem === undefined) {
    passed += 1;
  } else {
    failed += 1;
    console.log(problem.trimEnd());
  }
}

function command(file: string, ...argv: string[]): () => string | undefined {
  return () => {
    const result = spawnSync(`node_modules/.bin/${file}`, argv, { encoding: 'utf8' });
    return result.status === 0 ? undefined : `${result.stdout}${result.stderr}`;
  };
}

function house(): void {
  step('format and lint', command('biome', 'ci', '--colors=off', '--max-diagnostics=40', '.'));
  step('types', command('tsc', '-p', '.'));
  step('examples in READMEs', checkExamples);
  step('floors', () => {
    const breaches = checkFloors();
    return breaches.length === 0
      ? undefined
      : breaches.map((breach) => `${breach.file}:${breach.line} ${breach.what}`).join('\n');
  });
  step('unused code', command('knip', '--no-progress'));
}

function filesOf(level: Level): string[] {
  const all = globSync('{packages,tools,bench}/**/*.test.ts').filter(
    (file) => !file.includes('node_modules'),
  );
  const named = /\.(kernel|interop|system)\.test\.ts$/;
  return all
    .filter((file) => (level === 'pure' ? !named.test(file) : file.endsWith(`.${level}.test.ts`)))
    .sort();
}

async function tests(level: Level): Promise<void> {
  const files = filesOf(level);
  if (files.length === 0) return;
  console.log(`\n${level}: ${files.length} files`);
  const stream = run({ files, concurrency: concurrency[level], timeout: 600_000 });
  stream.on('test:pass', (event) => {
    if (event.details.type === 'suite') return;
    if (event.skip !== undefined && event.skip !== false)
      skipped.push(`${event.file ?? ''} ${event.name}: ${String(event.skip)}`);
    else passed += 1;
  });
  stream.on('test:fail', (event) => {
    if (event.details.type !== 'suite') failed += 1;
  });
  const report = new spec();
  for await (const chunk of stream.compose(report)) process.stdout.write(chunk);
}

const wanted = process.argv.slice(2);
const unknown = wanted.filter((name) => !(levels as readonly string[]).includes(name));
if (unknown.length > 0) {
  console.error(`check: no level named ${unknown.join(', ')}; levels: ${levels.join(', ')}`);
  process.exit(2);
}
const before = inventory();
const start = performance.now();
for (const level of levels) {
  if (wanted.length > 0 && !wanted.includes(level)) continue;
  if (level === 'house') house();
  else await tests(level);
}
const left = leftBehind(before, inventory());
if (left.length > 0) {
  failed += 1;
  console.log(`\nleft behind on this machine:\n${left.join('\n')}`);
}
if (skipped.length > 0)
  console.log(`\nNOT RUN on this machine (${skipped.length}):\n${skipped.join('\n')}`);
console.log(`\ntook ${((performance.now() - start) / 1000).toFixed(0)} s`);
console.log(`${passed} passed, ${failed} failed, ${skipped.length} skipped`);
process.exitCode = failed === 0 ? 0 : 1;
