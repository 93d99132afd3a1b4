import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { CliError } from './errors.ts';

export interface ManifestObject {
  /** `examples/a.yaml, document 2`: for errors. */
  readonly where: string;
  readonly value: Readonly<Record<string, unknown>>;
}

/** Reads files, directories (all .yaml, .yml and .json in them) and `-`. Throws `bad-input` for what cannot be read. */
export async function readManifests(paths: readonly string[]): Promise<ManifestObject[]> {
  const { parseManifests, ResourceError } = await import('@causeway/resources');
  const objects: ManifestObject[] = [];
  for (const path of paths.flatMap(filesOf)) {
    try {
      for (const { where, value } of parseManifests(read(path)))
        objects.push({ where: `${path}, ${where}`, value });
    } catch (error) {
      // Several files may be given: the error must say which one.
      if (error instanceof ResourceError)
        throw new ResourceError(error.code, `${path}: ${error.message}`, {
          issues: error.issues,
          value: error.value,
          cause: error,
          ...(error.hint === undefined ? {} : { hint: error.hint }),
        });
      throw error;
    }
  }
  if (objects.length === 0)
    throw new CliError('bad-input', `no objects in ${paths.join(', ')}`, {
      field: '--filename',
      value: paths,
      hint: 'give files with manifests in YAML or JSON',
    });
  return objects;
}

function filesOf(path: string): string[] {
  if (path === '-') return [path];
  try {
    if (!statSync(path).isDirectory()) return [path];
  } catch (cause) {
    throw unreadable(path, cause);
  }
  return readdirSync(path, { recursive: true, encoding: 'utf8' })
    .filter((file) => /\.(ya?ml|json)$/.test(file))
    .sort()
    .map((file) => join(path, file));
}

function read(path: string): string {
  try {
    // Descriptor 0 is standard input.
    return readFileSync(path === '-' ? 0 : path, 'utf8');
  } catch (cause) {
    throw unreadable(path, cause);
  }
}

function unreadable(path: string, cause: unknown): CliError {
  return new CliError(
    'bad-input',
    `cannot read ${path}: ${(cause as NodeJS.ErrnoException).code ?? String(cause)}`,
    {
      field: '--filename',
      value: path,
      cause,
    },
  );
}
