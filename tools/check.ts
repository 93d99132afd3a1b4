/**
 * `npm test`: the checks of the house (format and lint, types, examples, floors, unused code), then every test by
 * level, the quick ones first. Ends with what was left behind, what was skipped and why, what failed with
 * its whole text, and one line of counts. `node tools/check.ts pure` (or house, kernel, interop, system) runs one level.
 */
import { spawnSync } from 'node:child_process';
import { globSync, readFileSync } from 'node:fs';
import { relative, resolve } from 'node:path';
import { run } from 'node:test';
import { spec } from 'node:test/reporters';
import { setTimeout as sleep } from 'node:timers/promises';
import { checkExamples } from './examples.ts';
import { type Failure, lastLines, told, words } from './failures.ts';
import { FileClock } from './file-clock.ts';
import { checkFloors } from './floors.ts';
import { inventory, leftBehind } from './residue.ts';

const levels = ['house', 'pure', 'kernel', 'interop', 'system'] as const;
type Level = (typeof levels)[number];

/** Files at once: most of a test is waiting, and what it makes bears its process's number. */
const AT_ONCE = 2;

/** No file takes a third of this on two cores with nothing else to do. */
const FILE_LIMIT = 300_000;
const clock = new FileClock(FILE_LIMIT);

let passed = 0;
let failed = 0;
const failures: Failure[] = [];
const skipped: string[] = [];

function step(name: string, check: () => string | undefined): void {
  const start = performance.now();
  const problem = check();
  const seconds = ((performance.now() - start) / 1000).toFixed(1);
  console.log(`${problem === undefined ? 'ok  ' : 'FAIL'} ${name} (${seconds} s)`);
  if (problem === undefined) {
    passed += 1;
  } else {
    fail({ where: 'house', name, text: lastLines(problem) });
    console.log(problem.trimEnd());
  }
}

function fail(failure: Failure): void {
  failed += 1;
  failures.push(failure);
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

/** A whole site's bars in time are kept with the machine to itself. */
function hasBarsInTime(file: string): boolean {
  return file.endsWith('.system.test.ts') && readFileSync(file, 'utf8').includes('within.ts');
}

async function tests(level: Level): Promise<void> {
  const { true: timed = [], false: others = [] } = Object.groupBy(filesOf(level), (file) =>
    hasBarsInTime(file) ? 'true' : 'false',
  );
  await testFiles(level, others, AT_ONCE);
  await testFiles(`${level}, with bars in time`, timed, 1);
}

async function testFiles(title: string, files: string[], concurrency: number): Promise<void> {
  if (files.length === 0) return;
  console.log(`\n${title}: ${files.length} files`);
  const stream = run({ files, concurrency, timeout: FILE_LIMIT });
  clock.follow(stream, (file) =>
    fail({ where: file, name: file, text: `took over ${FILE_LIMIT / 1000} s and was ended` }),
  );
  stream.on('test:pass', (event) => {
    if (event.details.type === 'suite') return;
    if (event.skip !== undefined && event.skip !== false)
      skipped.push(`${event.file ?? ''} ${event.name}: ${String(event.skip)}`);
    else passed += 1;
  });
  // A file that ends badly outside its tests says so by these only.
  const errors = new Map<string, string>();
  const hear = (file: string | undefined, message: string): void => {
    if (file === undefined) return;
    const key = resolve(file);
    errors.set(key, `${errors.get(key) ?? ''}${message}`.slice(-8192));
  };
  stream.on('test:stderr', ({ file, message }) => hear(file, message));
  stream.on('test:diagnostic', ({ file, message }) => {
    if (message.startsWith('Error: ')) hear(file, `${message}\n`);
  });
  stream.on('test:fail', ({ file = '', name, details }) => {
    const { error } = details;
    // The tests in it are told by themselves; a hook of it is told by nobody else.
    if (failureType(error) === 'subtestsFailed') {
      if (details.type !== 'suite') failed += 1;
      return;
    }
    const whole =
      resolve(name) === file ? `\nits last words:\n${lastLines(errors.get(file) ?? '(none)')}` : '';
    fail({ where: relative('.', file), name, text: `${words(error)}${whole}` });
  });
  const report = new spec();
  for await (const chunk of stream.compose(report)) process.stdout.write(chunk);
}

function failureType(error: unknown): unknown {
  return error instanceof Error && 'failureType' in error ? error.failureType : undefined;
}

/** What is there that was not; what is on its way out has a while to go. */
async function residue(before: ReadonlySet<string>): Promise<string[]> {
  const end = performance.now() + 10_000;
  for (;;) {
    const left = leftBehind(before, inventory());
    if (left.length === 0 || performance.now() > end) return left;
    await sleep(250);
  }
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
const left = await residue(before);
if (left.length > 0) {
  fail({ where: 'after all tests', name: 'nothing is left behind', text: left.join('\n') });
  console.log(`\nleft behind on this machine:\n${left.join('\n')}`);
}
if (skipped.length > 0)
  console.log(`\nNOT RUN on this machine (${skipped.length}):\n${skipped.join('\n')}`);
const slowest = clock
  .slowest(15)
  .map(({ file, seconds }) => `${seconds.toFixed(1).padStart(6)} s  ${file}`);
if (slowest.length > 0) console.log(`\nfiles that took longest:\n${slowest.join('\n')}`);
const failedText = told(failures);
if (failedText !== '') console.log(failedText);
console.log(`\ntook ${((performance.now() - start) / 1000).toFixed(0)} s`);
console.log(`${passed} passed, ${failed} failed, ${skipped.length} skipped`);
process.exitCode = failed === 0 ? 0 : 1;
