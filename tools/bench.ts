/**
 * `npm run bench -- NAME [NAME ...] [--quick]`: runs benchmarks, prints their tables and writes
 * `bench/out/NAME.json`. Without a name it lists them. Exit status 1 when a bar is missed.
 */
import { globSync, mkdirSync, writeFileSync } from 'node:fs';
import { basename } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { Benchmark } from '../bench/lib/benchmark.ts';
import { armInterrupt, unlessInterrupted } from '../bench/lib/interrupt.ts';
import { printReport } from '../bench/lib/report.ts';

const names = globSync('bench/*.ts')
  .map((file) => basename(file, '.ts'))
  .sort();
const argv = process.argv.slice(2);
const quick = argv.includes('--quick');
const wanted = argv.filter((word) => !word.startsWith('--'));

const unknown = wanted.filter((name) => !names.includes(name));
if (unknown.length > 0) {
  console.error(`bench: no benchmark named ${unknown.join(', ')}; there are: ${names.join(', ')}`);
  process.exit(2);
}
if (wanted.length === 0) {
  console.log(`benchmarks: ${names.join(', ')}\nrun one with: npm run bench -- NAME [--quick]`);
}
armInterrupt();
mkdirSync('bench/out', { recursive: true });
for (const name of wanted) {
  const module = (await import(pathToFileURL(`bench/${name}.ts`).href)) as { default: Benchmark };
  const started = performance.now();
  const log = (line: string): void => console.error(`bench ${name}: ${line}`);
  const report = await module.default({ quick, log }).catch(async (error: unknown) => {
    await unlessInterrupted();
    throw error;
  });
  const seconds = Math.round((performance.now() - started) / 1000);
  const file = `bench/out/${name}.json`;
  writeFileSync(file, `${JSON.stringify({ name, quick, seconds, ...report }, null, 2)}\n`);
  printReport(name, report);
  console.log(`wrote ${file} after ${seconds} s`);
  if (report.bars.some((bar) => !bar.met)) process.exitCode = 1;
}
