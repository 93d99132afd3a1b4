import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import type { z } from 'zod';
import { DaemonError } from './errors.ts';
import { issueText } from './issue-text.ts';
import { knownKeys, valueAt } from './schema-keys.ts';
import { suggest } from './suggest.ts';

/** A configuration of a few kilobytes is large; more is a wrong file. */
const MAX_CONFIG_BYTES = 1_048_576;
const MAX_ISSUES = 20;
/** Fields whose values no refusal repeats. */
const SECRETS = /^(key|.*(passw|secret).*)$/i;

/** A mistyped secret's name is one still. */
export const isSecret = (name: PropertyKey | undefined): boolean =>
  SECRETS.test(String(name ?? ''));

/** @throws DaemonError `bad-config`, naming every bad field, its value and what is allowed there. */
export function loadConfig<T>(file: string, schema: z.ZodType<T>): T {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (cause) {
    throw new DaemonError('bad-config', `cannot read the configuration file ${file}`, {
      field: '--config',
      value: file,
      hint: 'give the path of a readable YAML file',
      cause,
    });
  }
  return parseConfig(text, schema, file);
}

/** YAML, of which JSON is a part. */
export function parseConfig<T>(text: string, schema: z.ZodType<T>, source = 'configuration'): T {
  if (text.length > MAX_CONFIG_BYTES) {
    throw new DaemonError('bad-config', `${source} is larger than ${MAX_CONFIG_BYTES} bytes`, {
      value: text.length,
    });
  }
  const value = text.trimStart().startsWith('{') ? fromJson(text, source) : fromYaml(text, source);
  return checkConfig(value ?? {}, schema, source);
}

/** What begins as JSON and is none may be YAML still, or has its mistake explained as such. */
function fromJson(text: string, source: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return fromYaml(text, source);
  }
}

/** Loaded when a file asks for it: a program that was given JSON does without, and without 5 MiB. */
function fromYaml(text: string, source: string): unknown {
  const { parseDocument } = createRequire(import.meta.url)('yaml') as typeof import('yaml');
  const document = parseDocument(text);
  const problem = document.errors[0];
  if (problem !== undefined) {
    throw new DaemonError('bad-config', `${source} is not YAML: ${problem.message}`, {
      cause: problem,
    });
  }
  try {
    return document.toJS({ maxAliasCount: 100 });
  } catch (cause) {
    throw new DaemonError('bad-config', `${source} cannot be read as YAML`, { cause });
  }
}

export function checkConfig<T>(value: unknown, schema: z.ZodType<T>, source = 'configuration'): T {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const problems = mistypedFirst(result.error.issues)
    .slice(0, MAX_ISSUES)
    .flatMap((issue) => explain(issue, value, schema));
  const first = problems[0];
  const text = problems
    .map(({ field, text, hint }) => `${field}: ${text}${hint === undefined ? '' : `; ${hint}`}`)
    .join('\n  ');
  throw new DaemonError('bad-config', `${source}: ${text}`, {
    ...(first === undefined ? {} : { field: first.field, value: first.value }),
    ...(first?.hint === undefined ? {} : { hint: first.hint }),
  });
}

/** For what no single field can know. @throws DaemonError `bad-config` always. */
export function refuseConfig(
  source: string,
  field: string,
  value: unknown,
  message: string,
  hint?: string,
): never {
  throw new DaemonError('bad-config', `${source}: ${field} ${message}`, {
    field,
    value,
    ...(hint === undefined ? {} : { hint }),
  });
}

/** A mistyped name is mostly also why another one is missing. */
const mistypedFirst = (issues: readonly z.core.$ZodIssue[]): readonly z.core.$ZodIssue[] =>
  issues.toSorted(
    (a, b) => Number(b.code === 'unrecognized_keys') - Number(a.code === 'unrecognized_keys'),
  );

interface Problem {
  readonly field: string;
  readonly value: unknown;
  readonly text: string;
  readonly hint?: string;
}

/** What is wrong, where, and what would be right there. `at` is where the issue's own path begins. */
function explain(
  issue: z.core.$ZodIssue,
  root: unknown,
  schema: unknown,
  at: readonly PropertyKey[] = [],
): Problem[] {
  const path = [...at, ...issue.path];
  const field = fieldName(path) || '(file)';
  // A refusal is printed and logged.
  const value = isSecret(path.at(-1)) ? '(secret)' : valueAt(root, path);
  if (issue.code === 'unrecognized_keys') {
    const known = knownKeys(schema, path, root);
    return issue.keys.map((key) => {
      const nearest = suggest(key, known);
      const hint =
        nearest === undefined
          ? known.length === 0
            ? undefined
            : `known here: ${known.join(', ')}`
          : `did you mean ${nearest}?`;
      return {
        field: fieldName([...path, key]),
        value: isSecret(key) || isSecret(nearest) ? '(secret)' : valueAt(root, [...path, key]),
        text: 'no such setting',
        ...(hint === undefined ? {} : { hint }),
      };
    });
  }
  if (issue.code === 'invalid_union') {
    const words = issue.errors.flatMap(([only, ...rest]) =>
      only?.code === 'invalid_value' && only.path.length === 0 && rest.length === 0
        ? only.values.map(String)
        : [],
    );
    if (words.length > 0 && typeof value !== 'object')
      return [
        { field, value, text: `${show(value)} is refused: must be one of ${words.join(', ')}` },
      ];
    // The alternative that came furthest is the one that was meant; its own words say more.
    const meant = nearestAlternative(issue.errors);
    if (meant !== undefined)
      return mistypedFirst(meant).flatMap((each) => explain(each, root, schema, path));
  }
  if (value === undefined)
    return [
      {
        field,
        value,
        text: `is missing${issue.code === 'invalid_type' ? `; it ${issueText(issue)}` : ''}`,
      },
    ];
  return [{ field, value, text: `${show(value)} is refused: ${issueText(issue)}` }];
}

function nearestAlternative(
  errors: readonly (readonly z.core.$ZodIssue[])[],
): readonly z.core.$ZodIssue[] | undefined {
  const inside = (issues: readonly z.core.$ZodIssue[]) =>
    issues.every((issue) => issue.path.length > 0 || issue.code !== 'invalid_type');
  const candidates = errors.filter((issues) => issues.length > 0 && inside(issues));
  return candidates.sort((a, b) => a.length - b.length)[0];
}

function show(value: unknown): string {
  const text = JSON.stringify(value) ?? 'nothing';
  return text.length > 80 ? `${text.slice(0, 80)}...` : text;
}

/** `neighbors.0.timers.hold`: as a person would write it. */
export const fieldName = (path: readonly PropertyKey[]): string => path.map(String).join('.');
