import type { VipService } from './types.ts';

/**
 * Why two services cannot have one address; undefined if they can. As in Cilium: both name the same sharing key,
 * no port is in both, the external traffic policy is the same, and with policy Local they select the same pods
 * (else a node with pods of the one would take in what is for the other). Services of different namespaces share
 * only if each names the other's.
 */
export function whyNotShared(a: VipService, b: VipService): string | undefined {
  if (a.sharingKey === undefined || a.sharingKey !== b.sharingKey) {
    return 'they have no sharing key in common';
  }
  if (a.namespace !== b.namespace && !(admits(a, b) && admits(b, a))) {
    return 'their namespaces do not both admit the other';
  }
  const port = a.ports.find((one) => b.ports.includes(one));
  if (port !== undefined) return `both use ${port}`;
  if (a.local !== b.local) return 'their external traffic policies differ';
  if (a.local && a.selector !== b.selector) {
    return 'with external traffic policy Local they must select the same pods';
  }
  return undefined;
}

const admits = (one: VipService, other: VipService): boolean =>
  one.sharingNamespaces.includes('*') || one.sharingNamespaces.includes(other.namespace);
