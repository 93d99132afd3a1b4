import { findAttribute } from '../rib/attribute-bytes.ts';
import { AttributeType } from '../wire/attribute-table.ts';
import { Community, ExtendedCommunity } from '../wire/communities.ts';
import { refusePolicy } from './errors.ts';
import type { CommunityChange, CommunityMatch } from './types.ts';

/** The three kinds are lists of fixed width: words of 32 bits, compared under masks. */
export interface CommunityKind {
  readonly attribute: number;
  readonly words: 1 | 2 | 3;
  readonly name: string;
  readonly form: string;
  /** The alternatives that a text with or without `*` stands for. */
  readonly patterns: (text: string) => readonly Pattern[] | undefined;
}

/** An item matches if each word under its mask is the value. */
export interface Pattern {
  readonly masks: readonly number[];
  readonly values: readonly number[];
}

const exact = (...values: number[]): Pattern => ({
  masks: values.map(() => -1),
  values: values.map((value) => value | 0),
});

function attempt<T>(parse: () => T): T | undefined {
  try {
    return parse();
  } catch {
    return undefined;
  }
}

/** `*`: any; otherwise a number up to `most`. */
function field(text: string | undefined, most: number): number | '*' | undefined {
  if (text === '*') return '*';
  if (text === undefined || !/^(0|[1-9]\d{0,9})$/.test(text)) return undefined;
  const value = Number(text);
  return value <= most ? value : undefined;
}

function standardPatterns(text: string): readonly Pattern[] | undefined {
  const value = attempt(() => Community.parse(text));
  if (value !== undefined) return [exact(value)];
  const parts = text.split(':');
  const high = field(parts[0], 0xffff);
  const low = field(parts[1], 0xffff);
  if (parts.length !== 2 || high === undefined || low === undefined) return undefined;
  const mask = (high === '*' ? 0 : 0xffff0000) | (low === '*' ? 0 : 0xffff);
  const wanted = ((high === '*' ? 0 : high) << 16) | (low === '*' ? 0 : low);
  return [{ masks: [mask | 0], values: [wanted | 0] }];
}

function largePatterns(text: string): readonly Pattern[] | undefined {
  const parts = text.split(':').map((part) => field(part, 0xffff_ffff));
  if (parts.length !== 3 || parts.includes(undefined)) return undefined;
  return [
    {
      masks: parts.map((part) => (part === '*' ? 0 : -1)),
      values: parts.map((part) => (part === '*' ? 0 : (part as number) | 0)),
    },
  ];
}

const subTypes: Readonly<Record<string, number>> = { rt: 2, soo: 3 };

function extendedPatterns(text: string): readonly Pattern[] | undefined {
  const value = attempt(() => ExtendedCommunity.parse(text));
  if (value !== undefined) return [exact(Number(value >> 32n), Number(value & 0xffff_ffffn))];
  const parts = text.split(':');
  const subType = subTypes[parts[0] ?? ''];
  if (parts.length !== 3 || subType === undefined) return undefined;
  const [, admin, local] = parts as [string, string, string];
  if (admin === '*') {
    const wanted = field(local, 0xffff_ffff);
    if (wanted === undefined) return undefined;
    // Types 0, 1 and 2 (2-octet AS, IPv4, 4-octet AS), the latter two with 16 bits of value.
    return [0, 1, 2].flatMap((type) => {
      const bits = type === 0 ? 0xffff_ffff : 0xffff;
      if (wanted !== '*' && wanted > bits) return [];
      const mask = wanted === '*' ? 0 : bits;
      return [
        {
          masks: [0xffff0000 | 0, mask | 0],
          values: [(type << 24) | (subType << 16), wanted === '*' ? 0 : wanted | 0],
        },
      ];
    });
  }
  if (local !== '*') return undefined;
  // The value's place is the same as with 0, so that one parse gives the rest.
  const shape = attempt(() => ExtendedCommunity.parse(`${parts[0]}:${admin}:0`));
  if (shape === undefined) return undefined;
  const high = Number(shape >> 32n) | 0;
  const low = Number(shape & 0xffff_ffffn) | 0;
  const alternatives: Pattern[] = [
    { masks: [-1, high >>> 24 === 0 ? 0 : 0xffff0000 | 0], values: [high, low] },
  ];
  if (high >>> 24 === 0) {
    // A small AS may be written in four octets too.
    const wide = attempt(() => ExtendedCommunity.parse(`${parts[0]}:${admin}L:0`));
    if (wide !== undefined) {
      alternatives.push({
        masks: [-1, 0xffff0000 | 0],
        values: [Number(wide >> 32n) | 0, Number(wide & 0xffff_ffffn) | 0],
      });
    }
  }
  return alternatives;
}

export const standardKind: CommunityKind = {
  attribute: AttributeType.communities,
  words: 1,
  name: 'communities',
  form: 'a community: AS:VALUE, either of which may be *, or a name such as no-export',
  patterns: standardPatterns,
};

export const largeKind: CommunityKind = {
  attribute: AttributeType.largeCommunities,
  words: 3,
  name: 'largeCommunities',
  form: 'a large community: ADMIN:DATA:DATA, any of which may be *',
  patterns: largePatterns,
};

export const extendedKind: CommunityKind = {
  attribute: AttributeType.extendedCommunities,
  words: 2,
  name: 'extendedCommunities',
  form: 'an extended community: rt:AS:VALUE, soo:IPV4:VALUE (one field may be *), or 0x and 16 digits',
  patterns: extendedPatterns,
};

const word = (b: Uint8Array, at: number): number =>
  (b[at]! << 24) | (b[at + 1]! << 16) | (b[at + 2]! << 8) | b[at + 3]!;

function matchesAt(pattern: Pattern, b: Uint8Array, at: number): boolean {
  for (let i = 0; i < pattern.masks.length; i++) {
    if ((word(b, at + i * 4) & pattern.masks[i]!) !== pattern.values[i]!) return false;
  }
  return true;
}

export type CommunitySets = Readonly<Record<string, readonly string[]>>;

/** Texts, with `@name` opened. Each gives its alternatives. */
function open(
  texts: readonly string[],
  kind: CommunityKind,
  sets: CommunitySets,
  where: string,
): Pattern[][] {
  return texts.flatMap((text) => {
    if (typeof text === 'string' && text.startsWith('@')) {
      const set = Object.hasOwn(sets, text.slice(1)) ? sets[text.slice(1)] : undefined;
      if (set === undefined) refusePolicy(where, text, 'the name of a community set');
      return [set.flatMap((one) => parsed(one, kind, `community set ${text.slice(1)}`))];
    }
    return [parsed(text, kind, where)];
  });
}

function parsed(text: string, kind: CommunityKind, where: string): Pattern[] {
  const patterns = typeof text === 'string' ? kind.patterns(text) : undefined;
  if (patterns === undefined) return refusePolicy(where, text, kind.form);
  return [...patterns];
}

export type BytesTest = (b: Uint8Array, start: number, end: number) => boolean;

/** Throws BgpError `invalid-config` naming `where`. */
export function compileCommunityMatch(
  match: CommunityMatch,
  kind: CommunityKind,
  sets: CommunitySets,
  where: string,
): BytesTest {
  const any = match.any === undefined ? undefined : open(match.any, kind, sets, where).flat();
  const all = match.all === undefined ? [] : open(match.all, kind, sets, where);
  const none = match.none === undefined ? [] : open(match.none, kind, sets, where).flat();
  const range = { start: 0, end: 0 };
  const width = kind.words * 4;
  const has = (patterns: readonly Pattern[], b: Uint8Array): boolean => {
    for (let at = range.start; at + width <= range.end; at += width) {
      for (const pattern of patterns) if (matchesAt(pattern, b, at)) return true;
    }
    return false;
  };
  return (b, start, end) => {
    if (!findAttribute(b, start, end, kind.attribute, range)) {
      return any === undefined && all.length === 0;
    }
    if (any !== undefined && !has(any, b)) return false;
    if (none.length > 0 && has(none, b)) return false;
    return all.every((patterns) => has(patterns, b));
  };
}

/** The attribute's new value; undefined if nothing is left. */
export type ListEdit = (old: Uint8Array | undefined) => Uint8Array | undefined;

export function compileCommunityChange(
  change: CommunityChange,
  kind: CommunityKind,
  sets: CommunitySets,
  where: string,
): ListEdit {
  if (change.replace !== undefined && (change.add !== undefined || change.remove !== undefined)) {
    refusePolicy(where, change, 'a change of communities: replace stands alone');
  }
  const items = (texts: readonly string[]): number[][] =>
    texts.map((text) => {
      const patterns = parsed(text, kind, where);
      const [only] = patterns;
      if (patterns.length !== 1 || only === undefined || only.masks.some((mask) => mask !== -1)) {
        return refusePolicy(where, text, 'a community to add: no * here');
      }
      return only.values.map((value) => value >>> 0);
    });
  const add = items(change.replace ?? change.add ?? []);
  const remove = open(change.remove ?? [], kind, sets, where).flat();
  const width = kind.words * 4;
  return (old) => {
    const list = add.map((item) => [...item]);
    if (change.replace === undefined && old !== undefined) {
      for (let at = 0; at + width <= old.length; at += width) {
        if (remove.some((pattern) => matchesAt(pattern, old, at))) continue;
        list.push(Array.from({ length: kind.words }, (_, i) => word(old, at + i * 4) >>> 0));
      }
    }
    // Canonical: ascending, each once.
    list.sort((a, b) => a.reduce((order, value, i) => order || value - b[i]!, 0));
    const bytes = new Uint8Array(list.length * width);
    let length = 0;
    list.forEach((item, n) => {
      if (n > 0 && item.every((value, i) => value === list[n - 1]![i])) return;
      for (const value of item) {
        bytes[length] = value >>> 24;
        bytes[length + 1] = (value >>> 16) & 255;
        bytes[length + 2] = (value >>> 8) & 255;
        bytes[length + 3] = value & 255;
        length += 4;
      }
    });
    return length === 0 ? undefined : bytes.slice(0, length);
  };
}
