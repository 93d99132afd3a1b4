import { IdentityError } from './errors.ts';
import { compareBytes, LABEL_SOURCES, type LabelSet } from './labels.ts';

/** Kubernetes' label selector; keys may carry a source (`k8s:app`, `any:app`, `reserved:host`). */
export interface LabelSelector {
  readonly matchLabels?: Readonly<Record<string, string>> | undefined;
  readonly matchExpressions?: readonly LabelSelectorRequirement[] | undefined;
}

export interface LabelSelectorRequirement {
  readonly key: string;
  readonly operator: 'In' | 'NotIn' | 'Exists' | 'DoesNotExist' | (string & {});
  readonly values?: readonly string[] | undefined;
}

/** One condition; all conditions of a selector must hold. */
export type Requirement =
  | {
      readonly type: 'in';
      readonly source: string;
      readonly key: string;
      readonly values: ReadonlySet<string>;
    }
  | {
      readonly type: 'not-in';
      readonly source: string;
      readonly key: string;
      readonly values: ReadonlySet<string>;
    }
  | { readonly type: 'exists'; readonly source: string; readonly key: string }
  | { readonly type: 'absent'; readonly source: string; readonly key: string };

/** A selector ready to match. `key` is equal for selectors that mean the same text-wise. */
export interface CompiledSelector {
  readonly key: string;
  readonly requirements: readonly Requirement[];
  /** Selects everything. */
  readonly wildcard: boolean;
  matches(labels: LabelSet): boolean;
}

/**
 * Compiles a selector. A key without a source gets `defaultSource`: `any` as in Cilium policies,
 * `k8s` for NetworkPolicy. `reserved:all` among matchLabels selects everything.
 * @param field where the selector stands, for the error's text.
 */
export function compileSelector(
  selector: LabelSelector,
  defaultSource: string = LABEL_SOURCES.any,
  field = 'selector',
): CompiledSelector {
  const requirements: Requirement[] = [];
  for (const [key, value] of Object.entries(selector.matchLabels ?? {})) {
    requirements.push({
      type: 'in',
      ...splitKey(key, defaultSource, `${field}.matchLabels`),
      values: new Set([value]),
    });
  }
  (selector.matchExpressions ?? []).forEach((each, index) => {
    requirements.push(requirementOf(each, defaultSource, `${field}.matchExpressions[${index}]`));
  });
  return selectorOf(requirements);
}

/** All of several selectors together. */
export function intersectSelectors(...selectors: readonly CompiledSelector[]): CompiledSelector {
  return selectorOf(selectors.flatMap((each) => each.requirements));
}

/** A selector from finished requirements; duplicates fall away. */
export function selectorOf(given: readonly Requirement[]): CompiledSelector {
  const byText = new Map<string, Requirement>();
  for (const each of given) {
    if (!selectsAll(each)) byText.set(requirementText(each), each);
  }
  const texts = [...byText.keys()].sort(compareBytes);
  const requirements = texts.map((text) => byText.get(text)!);
  return {
    key: texts.join(','),
    requirements,
    wildcard: requirements.length === 0,
    matches: (labels) => requirements.every((each) => holds(each, labels)),
  };
}

/** True when a condition names this key, from this source or from any. */
export function selectorNamesKey(selector: CompiledSelector, key: string): boolean {
  return selector.requirements.some((each) => each.key === key);
}

const selectsAll = (requirement: Requirement): boolean =>
  requirement.type === 'in' && requirement.source === 'reserved' && requirement.key === 'all';

function holds(requirement: Requirement, labels: LabelSet): boolean {
  const found = labels.get(requirement.key);
  const present =
    found !== undefined && (requirement.source === 'any' || requirement.source === found.source);
  switch (requirement.type) {
    case 'in':
      return present && requirement.values.has(found.value);
    case 'not-in':
      // As in Kubernetes, what lacks the key is "not in" too.
      return !present || !requirement.values.has(found.value);
    case 'exists':
      return present;
    case 'absent':
      return !present;
    default:
      return requirement satisfies never;
  }
}

function requirementOf(
  given: LabelSelectorRequirement,
  defaultSource: string,
  field: string,
): Requirement {
  const at = splitKey(given.key, defaultSource, `${field}.key`);
  const values = given.values ?? [];
  switch (given.operator) {
    case 'In':
    case 'NotIn':
      if (values.length === 0) {
        throw new IdentityError(
          'bad-selector',
          `${field}.values must not be empty with operator ${given.operator}`,
          values,
          `${field}.values`,
        );
      }
      return { type: given.operator === 'In' ? 'in' : 'not-in', ...at, values: new Set(values) };
    case 'Exists':
    case 'DoesNotExist':
      if (values.length > 0) {
        throw new IdentityError(
          'bad-selector',
          `${field}.values must be empty with operator ${given.operator}`,
          values,
          `${field}.values`,
        );
      }
      return { type: given.operator === 'Exists' ? 'exists' : 'absent', ...at };
    default:
      throw new IdentityError(
        'bad-selector',
        `${field}.operator ${JSON.stringify(given.operator)} is none of In, NotIn, Exists, DoesNotExist`,
        given.operator,
        `${field}.operator`,
      );
  }
}

function splitKey(text: string, defaultSource: string, field: string) {
  const colon = text.indexOf(':');
  const source = colon < 0 ? defaultSource : text.slice(0, colon);
  const key = text.slice(colon + 1);
  if (source === '' || key === '' || /[;=]/.test(text)) {
    throw new IdentityError(
      'bad-selector',
      `${field}: key ${JSON.stringify(text)} must be [source:]key without ";" and "="`,
      text,
      field,
    );
  }
  return { source, key };
}

function requirementText(requirement: Requirement): string {
  const name = `${quoted(requirement.source)}:${quoted(requirement.key)}`;
  switch (requirement.type) {
    case 'in':
      return `${name} in ${valuesText(requirement.values)}`;
    case 'not-in':
      return `${name} notin ${valuesText(requirement.values)}`;
    case 'exists':
      return name;
    case 'absent':
      return `!${name}`;
    default:
      return requirement satisfies never;
  }
}

const valuesText = (values: ReadonlySet<string>): string =>
  `(${[...values].sort(compareBytes).map(quoted).join('|')})`;

// Quoting keeps two different selectors from having one text.
const quoted = (value: string): string =>
  /^[-\w./]*$/.test(value) ? value : JSON.stringify(value);
