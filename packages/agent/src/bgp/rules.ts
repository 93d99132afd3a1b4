import type { Labels } from '@causeway/resources';
import { type CiliumBGPAdvertisement, WELL_KNOWN_COMMUNITIES } from '@causeway/resources';
import { hash32 } from '@causeway/wire';

type Entry = CiliumBGPAdvertisement['spec']['advertisements'][number];

/** Attributes that announcements are sent with; several rules for one prefix are composed. */
export interface Attributes {
  readonly communities: readonly string[];
  readonly largeCommunities: readonly string[];
  readonly localPreference: number | undefined;
}

/** Entries of one CiliumBGPAdvertisement that mean the same things. */
export interface Rule {
  /**
   * Names the rule by what it selects, not by its place or its attributes: a path is tagged with it, and a change
   * of attributes alone touches no path.
   */
  readonly id: string;
  readonly advertisement: string;
  /** Of the CiliumBGPAdvertisement: by them peers choose. */
  readonly labels: Labels;
  readonly what: Pick<Entry, 'advertisementType' | 'selector' | 'service' | 'interface'>;
  readonly attributes: Attributes;
}

/** The rules of all advertisements, by id. */
export function rulesOf(advertisements: readonly CiliumBGPAdvertisement[]): Map<string, Rule> {
  const rules = new Map<string, Rule>();
  for (const { metadata, spec } of advertisements) {
    for (const entry of spec.advertisements) {
      const { attributes, ...what } = entry;
      const id = idOf(`${metadata.name} ${canonical(what)}`);
      const own = attributesOf(attributes);
      const known = rules.get(id);
      rules.set(id, {
        id,
        advertisement: metadata.name,
        labels: metadata.labels ?? {},
        what,
        attributes: known === undefined ? own : compose([known.attributes, own]),
      });
    }
  }
  return rules;
}

/**
 * All communities of all of them, and the greatest local preference (as Cilium 1.18 does it: RFC 4271 section
 * 9.1.1 prefers the higher degree).
 */
export function compose(all: readonly Attributes[]): Attributes {
  const union = (field: 'communities' | 'largeCommunities') =>
    [...new Set(all.flatMap((each) => each[field]))].sort(byNumbers);
  const preferences = all
    .map(({ localPreference }) => localPreference)
    .filter((value) => value !== undefined);
  return {
    communities: union('communities'),
    largeCommunities: union('largeCommunities'),
    localPreference: preferences.length === 0 ? undefined : Math.max(...preferences),
  };
}

function attributesOf(attributes: Entry['attributes']): Attributes {
  const { standard = [], wellKnown = [], large = [] } = attributes?.communities ?? {};
  return compose([
    {
      communities: [
        ...standard.map(pair),
        ...wellKnown.map((name) => WELL_KNOWN_COMMUNITIES[name]),
      ],
      largeCommunities: large,
      localPreference: attributes?.localPreference,
    },
  ]);
}

/** 64 bits as 16 digits. */
export const idOf = (text: string): string =>
  [hash32(text), hash32(`${text} again`)]
    .map((half) => half.toString(16).padStart(8, '0'))
    .join('');

/** `6553665` and `100:65` are one community: its two halves are what is compared and sent. */
function pair(text: string): string {
  if (text.includes(':')) return text;
  const value = Number(text);
  return `${Math.floor(value / 65536)}:${value % 65536}`;
}

function byNumbers(a: string, b: string): number {
  const left = a.split(':').map(Number);
  const right = b.split(':').map(Number);
  for (const [index, value] of left.entries()) {
    const difference = value - (right[index] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}

/** JSON with sorted keys: what was written in another order is the same. */
function canonical(value: unknown): string {
  return JSON.stringify(value, (_, each: unknown) =>
    typeof each === 'object' && each !== null && !Array.isArray(each)
      ? Object.fromEntries(Object.entries(each).sort(([a], [b]) => (a < b ? -1 : 1)))
      : each,
  );
}
