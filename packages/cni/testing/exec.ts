import { spawn } from 'node:child_process';
import type { PluginExec } from '../src/driver.ts';

/** Starts a plugin, behind a command such as `ip netns exec NAME` if one is given. */
export function execPlugin(...prefix: readonly string[]): PluginExec {
  return (file, environment, stdin) =>
    new Promise((resolve, reject) => {
      const [program, ...argv] = [...prefix, file];
      const child = spawn(program as string, argv, {
        env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', ...environment },
      });
      let stdout = '';
      let stderr = '';
      child.stdout.on('data', (chunk) => {
        stdout += chunk;
      });
      child.stderr.on('data', (chunk) => {
        stderr += chunk;
      });
      child.stdin.on('error', () => {});
      child.on('error', reject);
      child.on('close', (code) => resolve({ code: code ?? 255, stdout, stderr }));
      child.stdin.end(stdin);
    });
}
