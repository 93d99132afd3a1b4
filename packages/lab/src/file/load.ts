import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { basename, dirname, isAbsolute, join, resolve } from 'node:path';
import { LabError } from '../errors.ts';
import { LAB_NAME } from '../host/names.ts';
import { parseLabFile } from './parse.ts';
import type { LabFile } from './schema.ts';

const SHIPPED = join(import.meta.dirname, '../../labs');

export interface LoadedLab {
  readonly file: LabFile;
  /** Absolute path of the file, for messages and for manifests named in it. */
  readonly source: string;
  /** The file's base name, which is the lab's name unless the caller gives one. */
  readonly name: string;
}

/** Reads a lab file by its path, or one of the shipped labs by its name. A path has a slash or an ending. */
export function loadLab(fileOrName: string): LoadedLab {
  const byName = LAB_NAME.test(fileOrName);
  const source = byName ? join(SHIPPED, `${fileOrName}.yaml`) : resolve(fileOrName);
  let text: string;
  try {
    text = readFileSync(source, 'utf8');
  } catch (cause) {
    throw new LabError(
      'lab-file-unreadable',
      byName
        ? `there is no lab ${fileOrName} among those shipped: ${shippedLabs().join(', ')}`
        : `${source} cannot be read: ${(cause as NodeJS.ErrnoException).code}`,
      {
        value: fileOrName,
        cause,
        hint: 'give a shipped lab by its name, or a file by its path (./mine.yaml)',
      },
    );
  }
  return {
    file: parseLabFile(text, source),
    source,
    name: basename(source).replace(/\.ya?ml$/, ''),
  };
}

export function shippedLabs(): string[] {
  return readdirSync(SHIPPED)
    .filter((file) => file.endsWith('.yaml'))
    .map((file) => file.slice(0, -'.yaml'.length))
    .sort();
}

/** The manifest files that a lab names, directories searched through, in the order of the file. */
export function manifestFiles(source: string, entries: readonly string[]): string[] {
  return entries.flatMap((entry) => {
    const path = isAbsolute(entry) ? entry : join(dirname(source), entry);
    if (!existsSync(path))
      throw new LabError(
        'lab-file-unreadable',
        `manifest ${entry} of ${source} does not exist (${path})`,
        {
          value: entry,
          hint: 'manifests are named relative to the lab file',
        },
      );
    if (!statSync(path).isDirectory()) return [path];
    return readdirSync(path, { recursive: true, encoding: 'utf8' })
      .filter((file) => /\.(ya?ml|json)$/.test(file))
      .sort()
      .map((file) => join(path, file));
  });
}
