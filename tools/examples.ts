/**
 * Examples in READMEs are compiled: each `ts` block of each package's README becomes a module of its own
 * in that package, beside the real ones, and the compiler judges all of them together.
 */
import { spawnSync } from 'node:child_process';
import { globSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';

/** Below the tree, so that packages find each other, and in nobody's way. */
const DIRECTORY = 'node_modules/.cache/readme-examples';

/** The blocks of a README with the line at which each begins. */
export function examplesOf(text: string): { readonly line: number; readonly code: string }[] {
  const pattern = /^```ts\n(.*?)^```$/gms;
  return [...text.matchAll(pattern)].map((match) => ({
    line: text.slice(0, match.index).split('\n').length + 1,
    code: match[1] ?? '',
  }));
}

/** What the compiler says, or undefined when every example compiles. */
export function checkExamples(): string | undefined {
  rmSync(DIRECTORY, { recursive: true, force: true });
  mkdirSync(DIRECTORY, { recursive: true });
  const where = new Map<string, { readonly readme: string; readonly line: number }>();
  for (const readme of globSync('packages/*/README.md').sort()) {
    examplesOf(readFileSync(readme, 'utf8')).forEach(({ line, code }, index) => {
      const name = `${basename(dirname(readme))}-${index}.ts`;
      // An example without an import is a script to the compiler: this makes it a module.
      writeFileSync(join(DIRECTORY, name), `${code}export {};\n`);
      where.set(name, { readme, line });
    });
  }
  const options = {
    extends: '../../../tsconfig.json',
    // Examples name results that a reader would go on with.
    compilerOptions: { noUnusedLocals: false, noUnusedParameters: false },
    include: ['*.ts'],
  };
  writeFileSync(join(DIRECTORY, 'tsconfig.json'), JSON.stringify(options));
  const { status, stdout, stderr } = spawnSync('node_modules/.bin/tsc', ['-p', DIRECTORY], {
    encoding: 'utf8',
  });
  if (status === 0) return undefined;
  const place = /^.*?([\w-]+\.ts)\((\d+),(\d+)\)/;
  return `${stdout}${stderr}`
    .split('\n')
    .map((row) =>
      row.replace(place, (whole, name: string, line: string) => {
        const from = where.get(name);
        return from === undefined ? whole : `${from.readme}:${from.line + Number(line) - 1}`;
      }),
    )
    .join('\n');
}
