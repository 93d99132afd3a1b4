import type { z } from 'zod';

/** How the library's own messages begin; any other was written for its field and says more. */
const STOCK = /^(Invalid|Too (big|small)|Unrecognized)\b/;

/** What zod found, as what must be: `must be a number`. The field and its value are the caller's to name. */
export function issueText(issue: z.core.$ZodIssue): string {
  const { message } = issue;
  if (!STOCK.test(message)) {
    // A format's own message is only the noun: `a duration such as 5s`.
    return issue.code === 'invalid_format' && !message.startsWith('must ')
      ? `must be ${message}`
      : lower(message);
  }
  switch (issue.code) {
    case 'invalid_type':
      return `must be ${typeText(issue.expected)}`;
    case 'invalid_value':
      return `must be one of ${issue.values.map(String).join(', ')}`;
    case 'too_big':
      return `must ${bound(issue.origin, 'at most', issue.maximum, issue.inclusive)}`;
    case 'too_small':
      return `must ${bound(issue.origin, 'at least', issue.minimum, issue.inclusive)}`;
    case 'not_multiple_of':
      return `must be a multiple of ${issue.divisor}`;
    default:
      return lower(message);
  }
}

/** A type with its article, as a person would say it. */
export const typeText = (expected: string): string => TYPES[expected] ?? expected;

const TYPES: Readonly<Record<string, string>> = {
  int: 'a whole number',
  number: 'a number',
  string: 'a text (write it in quotes)',
  array: 'a list',
  object: 'an object',
  record: 'an object',
  boolean: 'true or false',
};

/** What is counted of things that have no order. */
const COUNTED: Readonly<Record<string, string>> = {
  string: 'characters',
  array: 'entries',
  set: 'entries',
  map: 'entries',
};

function bound(
  origin: string,
  words: 'at most' | 'at least',
  limit: number | bigint,
  inclusive = true,
): string {
  const unit = COUNTED[origin];
  if (unit !== undefined) return `have ${words} ${limit} ${unit}`;
  if (inclusive) return `be ${words} ${limit}`;
  return `be ${words === 'at most' ? 'less' : 'greater'} than ${limit}`;
}

const lower = (message: string): string => message.charAt(0).toLowerCase() + message.slice(1);
