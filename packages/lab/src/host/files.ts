import { closeSync, fsyncSync, openSync, renameSync, writeSync } from 'node:fs';

/** Old content or new, never half of it, also when the machine stops in between. */
export function writeAtomically(path: string, text: string): void {
  const draft = `${path}.${process.pid}.tmp`;
  const file = openSync(draft, 'w', 0o600);
  try {
    writeSync(file, text);
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
  renameSync(draft, path);
}
