import { execFileSync } from 'node:child_process';
import { takeAwayOnInterrupt } from './interrupt.ts';

/**
 * Network namespaces `tag0` to `tag(count-1)`, gone with their scope, or when the benchmark is interrupted. The tag
 * carries the process's id.
 */
export function namespaces(tag: string, count: number): Disposable {
  const batch = (words: string): void => {
    const input = Array.from({ length: count }, (_, index) => `${words} ${tag}${index}\n`).join('');
    execFileSync('ip', ['-force', '-batch', '-'], { input, stdio: ['pipe', 'ignore', 'ignore'] });
  };
  const remove = (): void => {
    try {
      batch('netns delete');
    } catch {
      // With -force it goes on past those that are gone, and says so at the end.
    }
  };
  const forget = takeAwayOnInterrupt(remove);
  batch('netns add');
  return {
    [Symbol.dispose]() {
      forget();
      remove();
    },
  };
}

/** Has them detect no duplicate addresses: `ptp` would wait two seconds for that. */
export function withoutDuplicateDetection(tag: string, count: number): void {
  for (let index = 0; index < count; index += 1) {
    const knobs = ['all', 'default'].map((each) => `net.ipv6.conf.${each}.accept_dad=0`);
    execFileSync('nsenter', [`--net=/run/netns/${tag}${index}`, 'sysctl', '-qw', ...knobs]);
  }
}
