import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { test } from 'node:test';

const MARK = 'CAUSEWAY_TEST_ISOLATED';

/**
 * Runs the tests of a file in network, mount and PID-independent namespaces of their own, which the
 * kernel takes away with the process, whatever happens to it. Needs root; without it the test says so
 * and fails, for a skipped kernel test would look like a passed one.
 */
export function isolated(file: string, define: () => void): void {
  if (process.env[MARK] === file) {
    define();
    return;
  }
  test(`in its own namespaces: ${file.split('/').at(-1)}`, { timeout: 400_000 }, async () => {
    assert.equal(process.getuid?.(), 0, 'kernel tests need root');
    const { NODE_TEST_CONTEXT: _, ...environment } = process.env;
    const child = spawn(
      'unshare',
      [
        '--net',
        '--mount',
        '--propagation',
        'private',
        process.execPath,
        '--test',
        '--test-reporter=spec',
        file,
      ],
      { env: { ...environment, [MARK]: file }, stdio: ['ignore', 'pipe', 'pipe'] },
    );
    let output = '';
    child.stdout.on('data', (chunk) => (output += chunk));
    child.stderr.on('data', (chunk) => (output += chunk));
    const code = await new Promise((resolve) => child.on('close', resolve));
    assert.equal(code, 0, output.slice(Math.max(0, output.indexOf('✖ failing tests:'))));
  });
}
