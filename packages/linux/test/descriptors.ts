import { readdirSync, readlinkSync } from 'node:fs';

/**
 * For tests: how many descriptors are open of the kinds that this package makes. Node opens and
 * closes others (pipes to children, the event loop's own) as it likes.
 */
export function openDescriptors(): number {
  return readdirSync('/proc/self/fd').filter((fd) => {
    try {
      return /^(anon_inode:bpf|net:|\/run\/netns\/|socket:)/.test(
        readlinkSync(`/proc/self/fd/${fd}`),
      );
    } catch {
      return false; // the one that readdir itself had
    }
  }).length;
}
