import { issueText, knownKeys, suggest, typeText } from '@causeway/daemon/words';
import type * as z from 'zod';
import { ResourceError, type ResourceIssue, shown } from './errors.ts';
import { apiVersionOf, KINDS, type KindDescriptor, type KindName, type Resource } from './kinds.ts';
import type { RawObject } from './manifest.ts';

/** Issues told of one object; a hostile object may have a million. */
const MAX_ISSUES = 20;

/** What validation makes of one object. */
export type Validation =
  | { readonly type: 'valid'; readonly kind: KindDescriptor; readonly object: Resource }
  | { readonly type: 'refused'; readonly error: ResourceError };

/**
 * Checks one object against its kind's schema and fills in defaults. The result is a copy; a
 * namespaced object without a namespace gets `namespace`.
 */
export function validateObject(raw: RawObject, namespace = 'default'): Validation {
  const { apiVersion, kind: name } = raw.value;
  const kind = descriptorOf(apiVersion, name);
  if (kind === undefined) return { type: 'refused', error: unknownKind(raw) };
  const what = rawName(raw);
  const parsed = kind.schema.safeParse(raw.value, { reportInput: true });
  const issues = parsed.success ? [] : issuesOf(parsed.error, kind, raw.value);
  // Of an object that the schema refuses, the check would mostly repeat it; what is not enforced is
  // worth saying at once.
  for (const each of kind.check(raw.value)) {
    if (parsed.success || each.type === 'unsupported') issues.push(withShortValue(each));
  }
  if (!parsed.success || issues.length > 0) {
    // A password that is refused must not end in a log.
    const shown = kind.kind === 'Secret' ? issues.map(({ value: _, ...rest }) => rest) : issues;
    return { type: 'refused', error: refusal(what, shown) };
  }
  const object = parsed.data as Resource;
  object.apiVersion = apiVersionOf(kind) as typeof object.apiVersion;
  if (kind.namespaced) object.metadata.namespace ??= namespace;
  else if (object.metadata.namespace !== undefined) {
    // Kubernetes refuses it too; a policy that looks namespaced and is not would widen.
    const issue: ResourceIssue = {
      type: 'invalid',
      path: 'metadata.namespace',
      message: `must be absent: ${kind.kind} belongs to the whole cluster`,
      value: object.metadata.namespace,
    };
    return { type: 'refused', error: refusal(what, [issue]) };
  }
  return { type: 'valid', kind, object };
}

/** Every object or none: all refusals together in one error. */
export function validateAll(raws: readonly RawObject[], namespace?: string): Resource[] {
  const objects: Resource[] = [];
  const errors: ResourceError[] = [];
  for (const raw of raws) {
    const result = validateObject(raw, namespace);
    if (result.type === 'valid') objects.push(result.object);
    else errors.push(result.error);
  }
  if (errors.length === 1) throw errors[0];
  if (errors.length > 1) {
    const told = errors.slice(0, MAX_ISSUES).map((error) => error.message);
    if (errors.length > told.length) told.push(`... and ${errors.length - told.length} more`);
    throw new ResourceError(errors[0]!.code, told.join('\n'), {
      issues: errors.flatMap((error) => error.issues).slice(0, MAX_ISSUES),
      hint: 'nothing was written',
    });
  }
  return objects;
}

/** `Service shop/till`, as errors and reports name an object. */
export function objectName(kind: string, namespace: string | undefined, name: string): string {
  return namespace === undefined ? `${kind} ${name}` : `${kind} ${namespace}/${name}`;
}

/** `objectName` of a typed object. */
export const nameOf = ({ kind, metadata }: Resource): string =>
  objectName(kind, metadata.namespace, metadata.name);

function descriptorOf(apiVersion: unknown, kind: unknown): KindDescriptor | undefined {
  if (typeof kind !== 'string' || !Object.hasOwn(KINDS, kind)) return undefined;
  const descriptor = KINDS[kind as KindName] as KindDescriptor;
  const known = descriptor.versions.some(
    (version) =>
      apiVersion === (descriptor.group === 'core' ? version : `${descriptor.group}/${version}`),
  );
  const alias = descriptor.aliases.some((each) => each === apiVersion);
  return known || alias ? descriptor : undefined;
}

function unknownKind({ where, value: { apiVersion, kind } }: RawObject): ResourceError {
  const path = typeof kind === 'string' ? 'apiVersion' : 'kind';
  const known = Object.values(KINDS).map((each) => `${apiVersionOf(each)} ${each.kind}`);
  const meant = typeof kind === 'string' ? suggest(kind, Object.keys(KINDS)) : undefined;
  const message = `${where}: ${shown(apiVersion)} ${shown(kind)} is not a kind that Causeway knows`;
  return new ResourceError('unknown-kind', message, {
    object: where,
    value: { apiVersion, kind },
    issues: [{ type: 'invalid', path, message: 'is not known', value: { apiVersion, kind } }],
    hint:
      meant === undefined
        ? `known kinds: ${known.join(', ')}`
        : `did you mean ${apiVersionOf(KINDS[meant as KindName])} ${meant}?`,
  });
}

function rawName({ where, value }: RawObject): string {
  const metadata = value.metadata as { name?: unknown; namespace?: unknown } | undefined;
  const name = typeof metadata?.name === 'string' ? metadata.name.slice(0, 253) : where;
  const namespace =
    typeof metadata?.namespace === 'string' ? metadata.namespace.slice(0, 63) : undefined;
  return objectName(String(value.kind), namespace, name);
}

export function refusal(what: string, issues: readonly ResourceIssue[]): ResourceError {
  const lines = issues.slice(0, MAX_ISSUES).map(({ path, message, value }) => {
    const at = path === '' ? '' : `${path} `;
    return `${what}: ${at}${message}${value === undefined ? '' : ` (it is ${shown(value)})`}`;
  });
  const code = issues.every((issue) => issue.type === 'unsupported') ? 'unsupported' : 'invalid';
  return new ResourceError(code, lines.join('\n'), {
    object: what,
    issues: issues.slice(0, MAX_ISSUES),
    value: issues[0]?.value,
  });
}

function issuesOf(error: z.ZodError, kind: KindDescriptor, value: unknown): ResourceIssue[] {
  const found: ResourceIssue[] = [];
  for (const issue of error.issues) {
    if (found.length >= MAX_ISSUES) break;
    found.push(...issueOf(issue, (path) => knownKeys(kind.schema, path, value)));
  }
  return found;
}

function issueOf(
  issue: z.core.$ZodIssue,
  known: (path: readonly PropertyKey[]) => readonly string[],
): ResourceIssue[] {
  const value = shortened(issue.input);
  const base = { path: pathText(issue.path), ...(value === undefined ? {} : { value }) };
  switch (issue.code) {
    case 'unrecognized_keys':
      return issue.keys.slice(0, MAX_ISSUES).map((key) => ({
        type: 'invalid',
        path: pathText([...issue.path, key]),
        message: `is not a field of this kind${nearest(key, known(issue.path))}`,
      }));
    case 'invalid_type':
      return [
        {
          ...base,
          type: 'invalid',
          message:
            issue.input === undefined
              ? `must be set: ${typeText(issue.expected)}`
              : issueText(issue),
        },
      ];
    case 'invalid_value':
      return [
        {
          ...base,
          type: 'invalid',
          message: `must be ${issue.values.map((v) => shown(v)).join(' or ')}`,
        },
      ];
    case 'invalid_key':
      return issue.issues
        .slice(0, 1)
        .map((inner) => ({ ...base, type: 'invalid', message: `key ${lower(inner.message)}` }));
    case 'custom':
      return [
        {
          ...base,
          type: 'invalid',
          message: issue.message,
        },
      ];
    default:
      return [{ ...base, type: 'invalid', message: issueText(issue) }];
  }
}

const nearest = (key: string, known: readonly string[]): string => {
  const meant = suggest(key, known);
  return meant === undefined ? '' : `; did you mean ${meant}?`;
};

const lower = (message: string): string => message.charAt(0).toLowerCase() + message.slice(1);

/** `spec.ingress[0]["odd key"].port` */
export function pathText(path: readonly PropertyKey[]): string {
  let text = '';
  for (const part of path) {
    if (typeof part === 'number') text += `[${part}]`;
    else if (/^[A-Za-z_][\w-]*$/.test(String(part)))
      text += `${text === '' ? '' : '.'}${String(part)}`;
    else text += `[${shown(String(part))}]`;
  }
  return text;
}

function withShortValue(issue: ResourceIssue): ResourceIssue {
  const { value: _, ...rest } = issue;
  const value = shortened(issue.value);
  return value === undefined ? rest : { ...rest, value };
}

function shortened(value: unknown): unknown {
  if (value === null || typeof value !== 'object') {
    return typeof value === 'string' && value.length > 200 ? `${value.slice(0, 200)}...` : value;
  }
  return shown(value);
}
