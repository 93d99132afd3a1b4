import type { ClaimOwner } from './types.ts';

/** As a person would name him: `StatefulSet shop/db, pod 2`. */
export function ownerText(owner: ClaimOwner): string {
  switch (owner.type) {
    case 'pod':
      return `pod ${owner.namespace}/${owner.pod}`;
    case 'workload':
      return `${owner.kind} ${owner.namespace}/${owner.name}, pod ${owner.ordinal}`;
    default:
      return owner satisfies never;
  }
}

export function sameOwner(a: ClaimOwner, b: ClaimOwner): boolean {
  return ownerText(a) === ownerText(b);
}
