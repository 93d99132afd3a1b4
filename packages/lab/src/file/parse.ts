import { LineCounter, parseDocument } from 'yaml';
import type { z } from 'zod';
import { LabError, type LabFileIssue } from '../errors.ts';
import { checkLabFile } from './check.ts';
import { ROUTING_TYPES } from './router-schema.ts';
import { type LabFile, labFileSchema } from './schema.ts';

/** A lab file is written by a person; more than this is a mistake. */
const MAX_BYTES = 1 << 20;

/**
 * Reads the text of a lab file. `source` names it in errors. Throws LabError `lab-file-invalid` with
 * every issue found, each with path, value and what is allowed; nothing is guessed or repaired.
 */
export function parseLabFile(text: string, source: string): LabFile {
  if (text.length > MAX_BYTES)
    throw invalid(source, [
      {
        path: '(file)',
        value: text.length,
        message: `is longer than the ${MAX_BYTES} characters allowed`,
      },
    ]);
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, uniqueKeys: true });
  if (document.errors.length > 0)
    throw invalid(
      source,
      document.errors.map((error) => {
        const at = lines.linePos(error.pos[0]);
        return {
          path: `line ${at.line}, column ${at.col}`,
          value: error.code,
          message: firstLine(error.message),
        };
      }),
    );
  let value: unknown;
  try {
    value = document.toJS({ maxAliasCount: 100 });
  } catch (cause) {
    throw invalid(source, [
      {
        path: '(file)',
        value: undefined,
        message: `cannot be read as YAML: ${String((cause as Error).message)}`,
      },
    ]);
  }
  const parsed = labFileSchema.safeParse(value);
  if (!parsed.success)
    throw invalid(
      source,
      parsed.error.issues.flatMap((issue) => explain(issue, value)),
    );
  const issues = checkLabFile(parsed.data);
  if (issues.length > 0) throw invalid(source, issues);
  return parsed.data;
}

function invalid(source: string, issues: readonly LabFileIssue[]): LabError {
  const lines = issues.map(
    (issue) =>
      `  ${issue.path}${issue.value === undefined ? '' : ` = ${printValue(issue.value)}`}: ${issue.message}`,
  );
  return new LabError('lab-file-invalid', `${source} is not a lab file:\n${lines.join('\n')}`, {
    value: source,
    issues,
    hint: 'correct the fields named above; packages/lab/labs/ holds examples, its README.md says what a field means',
  });
}

/** zod's issue in our words: unknown fields each get a line, and a missing one says that it is missing. */
function explain(issue: z.core.$ZodIssue, root: unknown): LabFileIssue[] {
  const path = pathText(issue.path);
  const value = at(root, issue.path);
  if (issue.code === 'unrecognized_keys')
    return issue.keys.map((key) => ({
      path: path === '(file)' ? key : `${path}.${key}`,
      value: at(value, [key]),
      message: 'is not a field of a lab file here',
    }));
  if (issue.code === 'invalid_type' && value === undefined)
    return [{ path, value, message: `is missing; expected ${issue.expected}` }];
  if (issue.code === 'invalid_union' && issue.discriminator !== undefined)
    return [{ path, value, message: `must be one of ${ROUTING_TYPES.join(', ')}` }];
  if (issue.code === 'invalid_value')
    return [{ path, value, message: `must be one of ${issue.values.map(String).join(', ')}` }];
  return [{ path, value, message: issue.message }];
}

/** `['clusters', 0, 'nodes']` as `clusters[0].nodes`. */
export function pathText(path: readonly PropertyKey[]): string {
  let text = '';
  for (const step of path)
    text +=
      typeof step === 'number' ? `[${step}]` : text === '' ? String(step) : `.${String(step)}`;
  return text === '' ? '(file)' : text;
}

function at(value: unknown, path: readonly PropertyKey[]): unknown {
  let here: unknown = value;
  for (const step of path) {
    if (typeof here !== 'object' || here === null || !Object.hasOwn(here, step)) return undefined;
    here = (here as Record<PropertyKey, unknown>)[step];
  }
  return here;
}

/** Long values are cut: the path leads to the rest. */
function printValue(value: unknown): string {
  const text = JSON.stringify(value) ?? String(value);
  return text.length > 80 ? `${text.slice(0, 77)}...` : text;
}

function firstLine(text: string): string {
  return text.split('\n', 1)[0] ?? text;
}
