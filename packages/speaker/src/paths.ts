import { BgpError, checkOriginatedPaths, type OriginatedPath } from '@causeway/bgp';
import { Address, Prefix } from '@causeway/ip';
import { SpeakerError } from './errors.ts';
import { Slices } from './slices.ts';

/** As `PUT /v1/paths/:owner` takes it, one of a list. */
export type PathInput = OriginatedPath;

const MAX_PATHS = 1_000_000;
const LISTS = ['communities', 'largeCommunities', 'extendedCommunities', 'neighbors'] as const;
const U32 = ['localPreference', 'med'] as const;
const ORIGINS = ['igp', 'egp', 'incomplete'];
const KNOWN = new Set<string>(['prefix', 'nextHop', 'origin', 'tag', ...LISTS, ...U32]);

/**
 * Checks a list of paths by hand and in slices: there may be a hundred thousand, for which a schema takes too
 * long. What stands in communities the core checks. @throws SpeakerError `bad-request` naming the field.
 */
export async function readPaths(body: unknown): Promise<OriginatedPath[]> {
  if (!Array.isArray(body)) return refuse('(body)', body, 'must be a list of paths');
  if (body.length > MAX_PATHS)
    return refuse('(body)', body.length, `must not have more than ${MAX_PATHS} paths`);
  const slices = new Slices();
  const paths: OriginatedPath[] = [];
  for (const [index, raw] of body.entries()) {
    paths.push(readPath(raw, index));
    if (index % 64 === 63) await slices.pause();
  }
  return paths;
}

/** What the core would refuse, while there is none yet. @throws SpeakerError `bad-request`. */
export function checkPaths(owner: string, paths: readonly OriginatedPath[]): void {
  try {
    checkOriginatedPaths(owner, paths);
  } catch (error) {
    throw asPathError(error);
  }
}

export function asPathError(error: unknown): unknown {
  if (!(error instanceof BgpError)) return error;
  return new SpeakerError('bad-request', error.message, { value: error.value, cause: error });
}

function readPath(raw: unknown, index: number): OriginatedPath {
  if (raw === null || typeof raw !== 'object' || Array.isArray(raw))
    return refuse(String(index), raw, 'must be an object with a prefix');
  const path = raw as Record<string, unknown>;
  const { prefix, nextHop, origin, tag } = path;
  const at = (field: string) => `${index}.${field}`;
  for (const key of Object.keys(path))
    if (!KNOWN.has(key))
      refuse(at(key), path[key], 'no such field', `known here: ${[...KNOWN].join(', ')}`);
  if (typeof prefix !== 'string') return refuse(at('prefix'), prefix, 'must be a prefix');
  const canonical = Prefix.tryParse(prefix);
  if (canonical === undefined)
    return refuse(at('prefix'), prefix, 'must be a prefix with its host bits clear');
  if (nextHop !== undefined && nextHop !== 'self') {
    if (typeof nextHop !== 'string' || !Address.is(nextHop))
      refuse(at('nextHop'), nextHop, 'must be "self" or an address');
  }
  if (origin !== undefined && !ORIGINS.includes(origin as string))
    refuse(at('origin'), origin, `must be one of ${ORIGINS.join(', ')}`);
  if (tag !== undefined && (typeof tag !== 'string' || tag.length > 1024))
    refuse(at('tag'), tag, 'must be text of at most 1024 characters');
  for (const key of U32) {
    const value = path[key];
    if (value === undefined) continue;
    if (!Number.isInteger(value) || (value as number) < 0 || (value as number) > 0xffff_ffff)
      refuse(at(key), value, 'must be a whole number from 0 to 4294967295');
  }
  for (const key of LISTS) {
    const value = path[key];
    if (value === undefined) continue;
    if (
      !Array.isArray(value) ||
      value.length > 10_000 ||
      !value.every((each) => typeof each === 'string' && each.length <= 256)
    )
      refuse(at(key), value, 'must be a list of texts');
  }
  return prefix === canonical
    ? (path as unknown as OriginatedPath)
    : ({ ...path, prefix: canonical } as OriginatedPath);
}

function refuse(field: string, value: unknown, message: string, hint?: string): never {
  throw new SpeakerError('bad-request', `${field}: ${message}`, {
    field,
    value,
    ...(hint === undefined ? {} : { hint }),
  });
}
