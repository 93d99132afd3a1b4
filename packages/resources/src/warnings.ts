import { KINDS, type Resource } from './kinds.ts';
import { misspelt } from './misspelt.ts';
import { strangeKeys } from './own-keys.ts';

/** What is taken because it is harmless, but does not do all that it says. */
export function warningsOf(object: Resource): string[] {
  const fields = misspelt(KINDS[object.kind].schema, { ...object });
  const warnings = fields.map(
    ({ path, meant }) => `${path} is not a field that is known here; did you mean ${meant}?`,
  );
  warnings.push(...strangeKeys(object));
  if (object.kind !== 'Service') return warnings;
  const { spec } = object;
  if (spec.type === 'ExternalName') {
    warnings.push('spec.type ExternalName: a DNS server must answer it; nothing is translated');
  }
  return warnings;
}
