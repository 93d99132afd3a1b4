import { IdentityError } from './errors.ts';
import { type Label, LabelSet } from './labels.ts';

/**
 * Decides which labels make an identity. Rules follow Cilium's `--labels`: `[source:][!]pattern`,
 * the pattern being a regular expression that must match at the start of the key.
 */
export interface LabelFilter {
  /** The rules in force, as given. */
  readonly rules: readonly string[];
  keeps(label: Label): boolean;
  /** The identity's labels, and those that only inform. */
  split(labels: LabelSet): { readonly identity: LabelSet; readonly information: LabelSet };
}

interface Rule {
  readonly source: string;
  readonly ignore: boolean;
  readonly pattern: RegExp;
}

const MAX_RULE = 512;
const MAX_RULES = 1000;

/** Cilium 1.19 without any `--labels` (pkg/labelsfilter; clustermesh-kvstore.md, section 2). */
export const DEFAULT_LABEL_RULES: readonly string[] = Object.freeze([
  'reserved:.*',
  'io\\.kubernetes\\.pod\\.namespace',
  'io\\.cilium\\.k8s\\.namespace\\.labels',
  'app\\.kubernetes\\.io',
  'io\\.cilium\\.k8s\\.policy\\.cluster',
  'io\\.cilium\\.k8s\\.policy\\.serviceaccount',
  '!io\\.kubernetes',
  '!kubernetes\\.io',
  '!statefulset\\.kubernetes\\.io/pod-name',
  '!apps\\.kubernetes\\.io/pod-index',
  '!batch\\.kubernetes\\.io/job-completion-index',
  '!batch\\.kubernetes\\.io/controller-uid',
  '!.*beta\\.kubernetes\\.io',
  '!k8s\\.io',
  '!pod-template-generation',
  '!pod-template-hash',
  '!controller-revision-hash',
  '!controller-uid',
  '!annotation.*',
  '!etcd_node',
  '!topology\\.kubernetes\\.io',
]);

/**
 * The default filter, with rules added as Cilium adds them: as soon as one added rule includes,
 * only included labels count (the defaults' includes among them).
 */
export function labelFilter(added: readonly string[] = []): LabelFilter {
  return compile([...DEFAULT_LABEL_RULES], added);
}

/** A filter of exactly these rules; the defaults are not in it. */
export function labelFilterOf(rules: readonly string[]): LabelFilter {
  return compile([], rules);
}

function compile(base: readonly string[], added: readonly string[]): LabelFilter {
  const texts = [...base, ...added];
  if (texts.length > MAX_RULES) {
    throw new IdentityError(
      'bad-filter-rule',
      `${texts.length} label rules are more than ${MAX_RULES}`,
      texts.length,
    );
  }
  const rules = texts.map(parseRule);
  const onlyIncluded = rules.slice(base.length).some((rule) => !rule.ignore);

  const keeps = (label: Label): boolean => {
    let included = 0;
    let ignored = 0;
    for (const rule of rules) {
      if (rule.source !== '' && rule.source !== label.source) continue;
      const matched = rule.pattern.exec(label.key);
      rule.pattern.lastIndex = 0;
      if (!matched) continue;
      const length = matched[0].length;
      if (!rule.ignore) included = Math.max(included, length);
      else if (ignored === 0 || length < ignored) ignored = length;
    }
    return (!onlyIncluded && ignored === 0) || included > ignored;
  };

  return {
    rules: texts,
    keeps,
    split(labels) {
      const identity: Label[] = [];
      const information: Label[] = [];
      for (const each of labels) (keeps(each) ? identity : information).push(each);
      return { identity: LabelSet.of(identity), information: LabelSet.of(information) };
    },
  };
}

function parseRule(text: string): Rule {
  if (text.length > MAX_RULE) {
    throw new IdentityError(
      'bad-filter-rule',
      `label rule of ${text.length} characters is longer than ${MAX_RULE}`,
      text.slice(0, 80),
    );
  }
  const colon = text.indexOf(':');
  const source = colon < 0 ? '' : text.slice(0, colon);
  const rest = text.slice(colon + 1);
  const ignore = rest.startsWith('!');
  const pattern = ignore ? rest.slice(1) : rest;
  if (pattern === '') {
    throw new IdentityError('bad-filter-rule', `label rule ${JSON.stringify(text)} is empty`, text);
  }
  try {
    return { source, ignore, pattern: new RegExp(pattern, 'y') };
  } catch (cause) {
    throw new IdentityError(
      'bad-filter-rule',
      `label rule ${JSON.stringify(text)} is not a regular expression: ${(cause as Error).message}`,
      text,
    );
  }
}
