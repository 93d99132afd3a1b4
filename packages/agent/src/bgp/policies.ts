import type { Policy, PolicyStatement, PrefixRule } from '@causeway/bgp';
import type { BGPPeerOptions, CiliumBGPPeerConfig } from '@causeway/resources';
import { selects } from '@causeway/resources';
import { type Attributes, compose, idOf, type Rule } from './rules.ts';
import type { FamilyKey } from './speaker-port.ts';

type PeerFamily = NonNullable<CiliumBGPPeerConfig['spec']['families']>[number];
export type FamilyOptions = NonNullable<BGPPeerOptions['spec']['families']>[number];

/** Neither takes nor gives anything: also internal neighbours are given nothing that nobody asked for. */
export const NOTHING = 'nothing';
export const nothing: Policy = { statements: [], otherwise: 'reject' };

// biome-ignore lint/suspicious/noThenProperty: the policy language's word, and nobody awaits a statement
const accepted = Object.freeze({ then: 'accept' } as const);

/** What the speaker takes as a tag. */
const TAG_LENGTH = 1024;

/** Paths are tagged with the ids of the rules that made them. */
export function tagOf(rules: readonly string[]): string {
  const text = [...new Set(rules)].sort().join('+');
  return text.length <= TAG_LENGTH ? text : `${rules.length}:${idOf(text)}`;
}

/** Each tag in use with the rules that it stands for. */
export type Tags = ReadonlyMap<string, readonly string[]>;

/** Ids of the rules that a family of a peer config chooses by its selector. */
export function chosenRules(
  family: Pick<PeerFamily, 'advertisements'>,
  rules: ReadonlyMap<string, Rule>,
): Set<string> {
  const { advertisements } = family;
  if (advertisements === undefined) return new Set();
  return new Set(
    [...rules.values()].filter(({ labels }) => selects(advertisements, labels)).map(({ id }) => id),
  );
}

/** What a path of these rules is sent with to a peer that chose those; undefined: it is not sent. */
export function attributesFor(
  ids: readonly string[],
  chosen: ReadonlySet<string>,
  rules: ReadonlyMap<string, Rule>,
): Attributes | undefined {
  const matching = ids.filter((id) => chosen.has(id)).map((id) => rules.get(id)!);
  if (matching.length === 0) return undefined;
  return compose(matching.map(({ attributes }) => attributes));
}

/**
 * Own paths by their tags, with the attributes that all rules together give them; then, for those that may have
 * them, what was learned from others; nothing else. It names no prefix: services come and go without it.
 */
export function exportPolicy(
  family: FamilyKey,
  tags: Tags,
  chosen: ReadonlySet<string>,
  rules: ReadonlyMap<string, Rule>,
  transit: boolean,
): Policy {
  const byAttributes = new Map<
    string,
    { readonly attributes: Attributes; readonly tags: string[]; readonly ids: string[] }
  >();
  for (const tag of [...tags.keys()].sort()) {
    const ids = tags.get(tag)!;
    const attributes = attributesFor(ids, chosen, rules);
    if (attributes === undefined) continue;
    const key = JSON.stringify(attributes);
    const group = byAttributes.get(key);
    if (group === undefined) byAttributes.set(key, { attributes, tags: [tag], ids: [...ids] });
    else {
      group.tags.push(tag);
      group.ids.push(...ids);
    }
  }
  const statements = Array.from(
    byAttributes.values(),
    (group): PolicyStatement => ({
      name: advertisementsOf(group.ids, chosen, rules),
      match: { source: ['local'], families: [family], tags: group.tags },
      ...settings(group.attributes),
      ...accepted,
    }),
  );
  if (transit) {
    const match = { source: ['ibgp', 'ebgp'], families: [family] } as const;
    statements.push({ name: 'transit', match, ...accepted });
  }
  return { statements, otherwise: 'reject' };
}

export function importPolicy(rules: NonNullable<FamilyOptions['import']>): Policy {
  const prefixes = rules.map(({ prefix, minLength, maxLength }): string | PrefixRule => {
    if (minLength === undefined && maxLength === undefined) return prefix;
    return {
      prefix,
      ...(minLength === undefined ? {} : { ge: minLength }),
      ...(maxLength === undefined ? {} : { le: maxLength }),
    };
  });
  return {
    statements: [{ name: 'import', match: { prefixes }, ...accepted }],
    otherwise: 'reject',
  };
}

function settings({
  communities,
  largeCommunities,
  localPreference,
}: Attributes): Pick<PolicyStatement, 'set'> {
  const set = {
    ...(communities.length === 0 ? {} : { communities: { add: communities } }),
    ...(largeCommunities.length === 0 ? {} : { largeCommunities: { add: largeCommunities } }),
    ...(localPreference === undefined ? {} : { localPreference }),
  };
  return Object.keys(set).length === 0 ? {} : { set };
}

/** A statement is called by the CiliumBGPAdvertisements behind it: `causeway bgp why` shows it. */
function advertisementsOf(
  ids: readonly string[],
  chosen: ReadonlySet<string>,
  rules: ReadonlyMap<string, Rule>,
): string {
  const names = ids.filter((id) => chosen.has(id)).map((id) => rules.get(id)!.advertisement);
  return [...new Set(names)].sort().join(', ').slice(0, 1000);
}
