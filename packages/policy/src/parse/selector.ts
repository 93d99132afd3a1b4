import {
  type CompiledSelector,
  compileSelector,
  IdentityError,
  LABEL_SOURCES,
  type LabelSelector,
  type LabelSelectorRequirement,
} from '@causeway/identity';
import { type Fields, present } from './fields.ts';

/** Sources that only Causeway gives; selecting by them is what CIDR rules, groups and FQDN rules are for. */
const NOT_SELECTABLE: Readonly<Record<string, string>> = {
  [LABEL_SOURCES.cidr]: 'use a CIDR rule',
  [LABEL_SOURCES.cidrGroup]: 'use cidrGroupRef or cidrGroupSelector',
  [LABEL_SOURCES.fqdn]: 'rules by DNS name are not enforced yet',
  [LABEL_SOURCES.node]: 'use fromNodes or toNodes',
};

/** A selector as it stands in a manifest, checked for shape but not yet compiled. */
export interface RawSelector extends LabelSelector {
  readonly keys: readonly string[];
}

export function readSelector(
  fields: Fields,
  value: unknown,
  path: string,
): RawSelector | undefined {
  const object = fields.object(value, path, ['matchLabels', 'matchExpressions']);
  if (object === undefined) return undefined;
  const before = fields.refusals.length;
  const entries: [string, string][] = [];
  if (present(object.matchLabels)) {
    const labels = object.matchLabels;
    if (typeof labels !== 'object' || Array.isArray(labels)) {
      fields.refuse('invalid', `${path}.matchLabels`, 'must be an object', labels);
    } else {
      for (const [key, text] of Object.entries(labels as Record<string, unknown>)) {
        if (typeof text === 'string') entries.push([key, text]);
        else fields.refuse('invalid', `${path}.matchLabels[${key}]`, 'must be a string', text);
      }
    }
  }
  const matchExpressions: LabelSelectorRequirement[] = [];
  fields.list(object.matchExpressions, `${path}.matchExpressions`)?.forEach((each, index) => {
    const at = `${path}.matchExpressions[${index}]`;
    const given = fields.object(each, at, ['key', 'operator', 'values']);
    const key = fields.string(given?.key, `${at}.key`);
    const operator = fields.string(given?.operator, `${at}.operator`);
    if (key === undefined || operator === undefined) {
      fields.refuse('invalid', at, 'must have a key and an operator', each);
      return;
    }
    const values = (fields.list(given?.values, `${at}.values`) ?? []).map((text) => {
      if (typeof text !== 'string') {
        fields.refuse('invalid', `${at}.values`, 'must hold strings only', text);
      }
      return String(text);
    });
    matchExpressions.push({ key, operator, values });
  });
  if (fields.refusals.length > before) return undefined;
  // Not by assignment: a key __proto__ would be lost, and with it a condition.
  const matchLabels = Object.fromEntries(entries);
  const keys = [...Object.keys(matchLabels), ...matchExpressions.map((each) => each.key)];
  return { matchLabels, matchExpressions, keys };
}

/**
 * @param keyPrefix is put before every key: namespaceSelector speaks of labels that pods carry under
 *   a prefix.
 */
export function compileRaw(
  fields: Fields,
  raw: RawSelector,
  path: string,
  style: 'cilium' | 'cilium-nodes' | 'kubernetes',
  keyPrefix = '',
): CompiledSelector | undefined {
  const before = fields.refusals.length;
  const own = style === 'cilium-nodes' ? LABEL_SOURCES.node : undefined;
  for (const key of raw.keys) {
    const source = key.includes(':') ? key.slice(0, key.indexOf(':')) : undefined;
    if (source === undefined) continue;
    if (style === 'kubernetes') {
      fields.refuse('invalid', path, `has key ${key}: a label key holds no colon`, key);
    } else if (Object.hasOwn(NOT_SELECTABLE, source) && source !== own) {
      const how = NOT_SELECTABLE[source];
      fields.refuse('unsupported', path, `selects by source ${source}: ${how}`, key);
    }
  }
  if (fields.refusals.length > before) return undefined;
  const prefixed: LabelSelector =
    keyPrefix === ''
      ? raw
      : {
          matchLabels: Object.fromEntries(
            Object.entries(raw.matchLabels ?? {}).map(([key, value]) => [keyPrefix + key, value]),
          ),
          matchExpressions: (raw.matchExpressions ?? []).map((each) => ({
            ...each,
            key: keyPrefix + each.key,
          })),
        };
  try {
    const source = style === 'kubernetes' ? LABEL_SOURCES.k8s : LABEL_SOURCES.any;
    return compileSelector(prefixed, source, path);
  } catch (error) {
    if (!(error instanceof IdentityError)) throw error;
    return fields.refuse('invalid', path, `is no selector: ${error.message}`, error.value);
  }
}
