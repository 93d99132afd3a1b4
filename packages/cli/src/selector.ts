import { CliError } from './errors.ts';

type Labels = Readonly<Record<string, string>>;

/**
 * Kubernetes' selector text: `a=b`, `a==b`, `a!=b`, `a in (x,y)`, `a notin (x,y)`, `a`, `!a`, joined by
 * commas that all must hold. Throws `bad-input` naming the part that is none of these.
 */
export function parseSelector(text: string): (labels: Labels) => boolean {
  const terms = splitTerms(text).map(parseTerm);
  return (labels) => terms.every((holds) => holds(labels));
}

/** At commas outside of parentheses. */
function splitTerms(text: string): string[] {
  return text
    .split(/,(?![^(]*\))/)
    .map((term) => term.trim())
    .filter((term) => term !== '');
}

function parseTerm(term: string): (labels: Labels) => boolean {
  const key = '([A-Za-z0-9]([-A-Za-z0-9_./]*[A-Za-z0-9])?)';
  const equal = new RegExp(`^${key}\\s*(==?|!=)\\s*([-A-Za-z0-9_.]*)$`).exec(term);
  if (equal) {
    const [, name = '', , operator, value = ''] = equal;
    return (labels) => (labels[name] === value) === (operator !== '!=');
  }
  const set = new RegExp(`^${key}\\s+(in|notin)\\s*\\(([^()]*)\\)$`).exec(term);
  if (set) {
    const [, name = '', , operator, list = ''] = set;
    const values = new Set(list.split(',').map((each) => each.trim()));
    return (labels) =>
      (Object.hasOwn(labels, name) && values.has(labels[name] ?? '')) === (operator === 'in');
  }
  const exists = new RegExp(`^(!?)\\s*${key}$`).exec(term);
  if (exists) {
    const [, not, name = ''] = exists;
    return (labels) => Object.hasOwn(labels, name) === (not === '');
  }
  throw new CliError('bad-input', `${JSON.stringify(term)} is not part of a label selector`, {
    field: '--selector',
    value: term,
    hint: 'write key=value, key!=value, "key in (a,b)", "key notin (a,b)", key or !key, with commas between',
  });
}
