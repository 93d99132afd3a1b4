import { Address } from '@causeway/ip';
import { BgpError } from '../errors.ts';
import { fieldsOf } from '../rib/prefix-table.ts';
import type { Rib } from '../rib/rib.ts';
import type { FamilyKey } from '../types.ts';
import { encodeAttributes } from '../wire/attribute-codec.ts';
import { Community, ExtendedCommunity, LargeCommunity } from '../wire/communities.ts';
import { hashBytes } from '../wire/hash.ts';
import type { OriginatedPath } from './config.ts';

/** An originated path as the RIB holds it: a path of peer 0, with an identifier of its own. */
export interface LocalPath {
  readonly owner: string;
  readonly path: OriginatedPath;
  readonly family: FamilyKey;
  readonly id: number;
  /** Names of the neighbours it is for, sorted; undefined: all. */
  readonly scope: string | undefined;
  /** Of what it was made; an equal one changes nothing. */
  readonly text: string;
}

interface Prepared {
  readonly path: OriginatedPath;
  readonly key: string;
  readonly text: string;
  readonly scope: string | undefined;
  readonly fields: ReturnType<typeof fieldsOf>;
  readonly attributes: Uint8Array;
  readonly nextHop: Uint8Array;
}

const origins = { igp: 0, egp: 1, incomplete: 2 } as const;

/** What owners originate: each owner's whole set is put in place of its former one. */
export class LocalPaths {
  readonly #ribs: Readonly<Record<FamilyKey, Rib>>;
  readonly #owners = new Map<string, Map<string, LocalPath>>();
  readonly byId = new Map<number, LocalPath>();
  /** How many paths have each scope. */
  readonly scopes = new Map<string, number>();
  #nextId = 1;

  constructor(ribs: Readonly<Record<FamilyKey, Rib>>) {
    this.#ribs = ribs;
  }

  owners(): string[] {
    return [...this.#owners.keys()];
  }

  of(owner: string): OriginatedPath[] {
    return [...(this.#owners.get(owner)?.values() ?? [])].map(({ path }) => path);
  }

  /** Throws BgpError `invalid-config` naming the path, before anything has changed. */
  set(
    owner: string,
    paths: readonly OriginatedPath[],
  ): { added: number; changed: number; removed: number } {
    const wanted = prepareAll(owner, paths);
    const known = this.#owners.get(owner) ?? new Map<string, LocalPath>();
    const result = { added: 0, changed: 0, removed: 0 };
    for (const [key, local] of known) {
      if (wanted.has(key)) continue;
      this.#remove(local);
      known.delete(key);
      result.removed++;
    }
    for (const [key, prepared] of wanted) {
      const old = known.get(key);
      if (old?.text === prepared.text) continue;
      known.set(key, this.#put(owner, prepared, old));
      if (old === undefined) result.added++;
      else result.changed++;
    }
    if (known.size > 0) this.#owners.set(owner, known);
    else this.#owners.delete(owner);
    return result;
  }

  #put(owner: string, prepared: Prepared, old: LocalPath | undefined): LocalPath {
    const { fields, scope } = prepared;
    const family: FamilyKey = fields.bits === 32 ? 'ipv4-unicast' : 'ipv6-unicast';
    const local: LocalPath = {
      owner,
      path: prepared.path,
      family,
      id: old?.id ?? this.#nextId++,
      scope,
      text: prepared.text,
    };
    this.byId.set(local.id, local);
    if (scope !== undefined && old === undefined) {
      this.scopes.set(scope, (this.scopes.get(scope) ?? 0) + 1);
    }
    const rib = this.#ribs[family];
    const { sets } = rib;
    const hop = sets.nextHops.intern(prepared.nextHop, 0, prepared.nextHop.length);
    const bytes = prepared.attributes;
    const set = sets.intern(bytes, 0, bytes.length, hashBytes(bytes, 0, bytes.length), hop);
    sets.nextHops.release(hop);
    const prefix = rib.prefixes.insert(fields.length, fields.w0, fields.w1, fields.w2, fields.w3);
    if (scope !== undefined) rib.setScoped(prefix);
    rib.announce(0, prefix, local.id, set, set, 0, Number.POSITIVE_INFINITY);
    // A tag is no part of the attributes: who looks at tags must look again.
    if (old !== undefined) rib.touch(prefix);
    sets.release(set);
    return local;
  }

  #remove(local: LocalPath): void {
    const rib = this.#ribs[local.family];
    const fields = fieldsOf(local.path.prefix);
    const prefix = rib.prefixes.find(fields.length, fields.w0, fields.w1, fields.w2, fields.w3);
    if (prefix !== 0) rib.withdraw(0, prefix, local.id);
    this.byId.delete(local.id);
    if (local.scope === undefined) return;
    const count = this.scopes.get(local.scope)! - 1;
    if (count === 0) this.scopes.delete(local.scope);
    else this.scopes.set(local.scope, count);
  }
}

export const scopeNames = (scope: string): readonly string[] => JSON.parse(scope) as string[];

/** Throws BgpError `invalid-config` for what `setPaths` would refuse. */
export function checkOriginatedPaths(owner: string, paths: readonly OriginatedPath[]): void {
  prepareAll(owner, paths);
}

function prepareAll(owner: string, paths: readonly OriginatedPath[]): Map<string, Prepared> {
  const wanted = new Map<string, Prepared>();
  for (const path of paths) {
    const prepared = prepare(path);
    if (wanted.has(prepared.key)) {
      throw new BgpError('invalid-config', `${path.prefix} stands twice in the paths of ${owner}`, {
        value: path.prefix,
      });
    }
    wanted.set(prepared.key, prepared);
  }
  return wanted;
}

function prepare(path: OriginatedPath): Prepared {
  const wrong = (field: string, value: unknown, cause?: unknown): never => {
    const why = cause instanceof Error ? ` (${cause.message})` : '';
    throw new BgpError(
      'invalid-config',
      `path ${String(path.prefix)}, ${field}: ${JSON.stringify(value) ?? String(value)} will not do${why}`,
      { value, cause },
    );
  };
  const attempt = <T>(field: string, value: unknown, make: () => T): T => {
    try {
      return make();
    } catch (cause) {
      return wrong(field, value, cause);
    }
  };
  const number = (field: string, value: number | undefined): number | undefined => {
    if (value === undefined) return undefined;
    return Number.isInteger(value) && value >= 0 && value <= 0xffff_ffff
      ? value
      : wrong(field, value);
  };
  const list = <T>(
    field: string,
    texts: readonly string[] | undefined,
    parse: (text: string) => T,
  ): T[] | undefined =>
    texts === undefined || texts.length === 0
      ? undefined
      : texts.map((text) => attempt(field, text, () => parse(text)));
  const fields = attempt('prefix', path.prefix, () => fieldsOf(path.prefix));
  const origin = origins[path.origin ?? 'igp'];
  if (origin === undefined) wrong('origin', path.origin);
  const hop = path.nextHop ?? 'self';
  const address = hop === 'self' ? undefined : Address.tryParse(hop);
  if (
    hop !== 'self' &&
    (address === undefined || (fields.bits === 128 && Address.isIPv4(address)))
  ) {
    wrong('nextHop', hop);
  }
  const communities = list('communities', path.communities, Community.parse);
  const large = list('largeCommunities', path.largeCommunities, LargeCommunity.parse);
  const extended = list('extendedCommunities', path.extendedCommunities, ExtendedCommunity.parse);
  const med = number('med', path.med);
  const localPreference = number('localPreference', path.localPreference);
  const attributes = encodeAttributes({
    origin,
    asPath: [],
    ...(med === undefined ? {} : { med }),
    ...(localPreference === undefined ? {} : { localPreference }),
    ...(communities && { communities: [...new Set(communities)].sort((a, b) => a - b) }),
    ...(large && {
      largeCommunities: unique(large, LargeCommunity.format).sort(LargeCommunity.compare),
    }),
    ...(extended && {
      extendedCommunities: [...new Set(extended)].sort((a, b) => (a < b ? -1 : a > b ? 1 : 0)),
    }),
  });
  const scope =
    path.neighbors === undefined ? undefined : JSON.stringify([...new Set(path.neighbors)].sort());
  return {
    path,
    key: `${path.prefix} ${scope ?? ''}`,
    text: JSON.stringify(path),
    scope,
    fields,
    attributes,
    nextHop: address === undefined ? new Uint8Array(0) : Address.toBytes(address),
  };
}

function unique<T>(items: readonly T[], format: (item: T) => string): T[] {
  return [...new Map(items.map((item) => [format(item), item])).values()];
}
