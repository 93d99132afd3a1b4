import { type Parsed, parseEndpointSlice, parsePod, parseService } from '@causeway/loadbalancing';
import { type ParseSettings, parseCidrGroup, parsePolicy, type Refusal } from '@causeway/policy';
import type { ResourceIssue } from './errors.ts';

/**
 * What a schema cannot say: rules between fields, and what is not enforced yet. Asked of the packages
 * that act on the objects, so that whatever is stored is also understood. Every check takes any value.
 */
export type Check = (value: unknown) => readonly ResourceIssue[];

/** Whether a policy is taken does not depend on these. */
const ANY_CLUSTER: ParseSettings = { cluster: 'default', defaultCluster: 'local' };

export const checkPolicy: Check = (value) => {
  const parsed = parsePolicy(value, ANY_CLUSTER);
  return parsed.ok ? [] : parsed.refusals.map(issueOf);
};

export const checkCidrGroup: Check = (value) => {
  const parsed = parseCidrGroup(value);
  return parsed.ok ? [] : parsed.refusals.map(issueOf);
};

export const checkPod: Check = (value) => problemsOf(parsePod(value));
export const checkService: Check = (value) => problemsOf(parseService(value));
export const checkEndpointSlice: Check = (value) => problemsOf(parseEndpointSlice(value));

/** The pure rooms' messages begin with the path, which issues hold apart. */
const withoutPath = (path: string, message: string): string =>
  message.startsWith(`${path} `) ? message.slice(path.length + 1) : message;

function problemsOf(parsed: Parsed<unknown>): readonly ResourceIssue[] {
  if (parsed.ok) return [];
  return parsed.problems.map(({ path, message, ...rest }) => ({
    type: 'invalid',
    path,
    message: withoutPath(path, message),
    ...rest,
  }));
}

function issueOf({ code, path, message, value }: Refusal): ResourceIssue {
  return {
    type: code === 'unsupported' ? 'unsupported' : 'invalid',
    path,
    message: withoutPath(path, message),
    ...(value === undefined ? {} : { value }),
  };
}
