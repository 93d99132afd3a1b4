import { createHash } from 'node:crypto';
import { Mac } from '@causeway/ip';

/** Host side of an attachment: `cw` and ten hex digits of a hash, the same for every repetition of an ADD. */
export function hostIfnameOf(containerId: string, ifname: string): string {
  return `cw${digest('ifname', containerId, ifname).subarray(0, 5).toString('hex')}`;
}

/**
 * MAC addresses of both sides, derived rather than drawn: a retried ADD gives the same result, and
 * two endpoints of a node differ for as long as their container ids do.
 */
export function macsOf(
  node: string,
  containerId: string,
  ifname: string,
): { mac: Mac; hostMac: Mac } {
  return {
    mac: Mac.local(digest('mac', node, containerId, ifname).subarray(0, 6)),
    hostMac: Mac.local(digest('host-mac', node, containerId, ifname).subarray(0, 6)),
  };
}

function digest(...parts: readonly string[]): Buffer {
  return createHash('sha256').update(parts.join('\0')).digest();
}
