import type { Policy, PolicyStatement } from '@causeway/bgp';
import type { OriginatedPath, SpeakerConfig } from './speaker-port.ts';

/** What the speaker has from us. */
export interface Held {
  readonly policies: SpeakerConfig['policies'];
  readonly paths: readonly OriginatedPath[];
}

/**
 * The configuration for the moment in which the speaker has the new policies and still the old paths: with the
 * ways out that those had. Undefined when the new policies do for both.
 */
export function bridge(
  next: SpeakerConfig,
  paths: Held['paths'],
  held: Held,
): SpeakerConfig | undefined {
  const wanted = tagsOf(paths);
  const old = [...tagsOf(held.paths)].filter((tag) => !wanted.has(tag));
  if (old.length === 0) return undefined;
  const policies: Record<string, Policy> = { ...next.policies };
  for (const [name, policy] of Object.entries(next.policies)) {
    const kept = (held.policies[name]?.statements ?? []).flatMap((statement): PolicyStatement[] => {
      const tags = statement.match?.tags?.filter((tag) => old.includes(tag)) ?? [];
      return tags.length === 0 ? [] : [{ ...statement, match: { ...statement.match, tags } }];
    });
    if (kept.length > 0)
      policies[name] = { ...policy, statements: [...kept, ...policy.statements] };
  }
  return { ...next, policies };
}

const tagsOf = (paths: Held['paths']): Set<string> =>
  new Set(paths.flatMap(({ tag }) => (tag === undefined ? [] : [tag])));
