import { cpSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const CHECKOUT = join(import.meta.dirname, '../../..');

/**
 * Another installation of the product beside this one, with a version of its own; gives its `causeway`. Its
 * packages are copies that find one another, its dependencies are ours.
 */
export function installVersion(directory: string, version: string): string {
  mkdirSync(join(directory, 'node_modules/@causeway'), { recursive: true });
  for (const name of readdirSync(join(CHECKOUT, 'node_modules')))
    if (name !== '@causeway' && name !== '.cache')
      symlinkSync(join(CHECKOUT, 'node_modules', name), join(directory, 'node_modules', name));
  cpSync(join(CHECKOUT, 'packages'), join(directory, 'packages'), {
    recursive: true,
    filter: (path) => !/\/(system|testing)$|\.test\.ts$/.test(path),
  });
  for (const name of readdirSync(join(directory, 'packages'))) {
    symlinkSync(join('../../packages', name), join(directory, 'node_modules/@causeway', name));
    const manifest = join(directory, 'packages', name, 'package.json');
    const text = readFileSync(manifest, 'utf8');
    writeFileSync(manifest, text.replace(/("version": )"[^"]+"/, `$1"${version}"`));
  }
  const daemon = join(directory, 'packages/daemon/src/daemon.ts');
  const source = readFileSync(daemon, 'utf8');
  writeFileSync(daemon, source.replace(/(const VERSION = )'[^']+'/, `$1'${version}'`));
  return join(directory, 'packages/cli/bin/causeway');
}
