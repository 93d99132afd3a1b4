import type { Resource } from './kinds.ts';

/** What is taken because it is harmless, but does not do all that it says. */
export function warningsOf(object: Resource): string[] {
  if (object.kind !== 'Service') return [];
  const warnings: string[] = [];
  const { spec } = object;
  if (spec.type === 'ExternalName') {
    warnings.push('spec.type ExternalName: a DNS server must answer it; nothing is translated');
  }
  return warnings;
}
