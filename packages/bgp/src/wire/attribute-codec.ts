import { BgpError } from '../errors.ts';
import { type Asn, type Origin, RouterId } from '../types.ts';
import { checkAsPath, readAsPath, writeAsPath } from './as-path.ts';
import { AttributeFlag, AttributeType as T } from './attribute-table.ts';
import type { LargeCommunityValue, PathAttributes, UnknownAttribute } from './attributes.ts';

type Mutable<P> = { -readonly [K in keyof P]: P[K] };

/**
 * The object behind canonical bytes (4-octet AS numbers, no next hop). Lazily: for policies that look, for APIs, for
 * people. Throws BgpError `truncated` or `update-error` for bytes that no parser or encoder of ours made.
 */
export function decodeAttributes(bytes: Uint8Array, start = 0, end = bytes.length): PathAttributes {
  const attributes: Mutable<PathAttributes> = { origin: 0, asPath: [] };
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const unknown: UnknownAttribute[] = [];
  const partial: number[] = [];
  let at = start;
  while (at < end) {
    const extended = (bytes[at]! & AttributeFlag.extendedLength) !== 0;
    if (end - at < (extended ? 4 : 3)) throw truncated(at, end);
    const flags = bytes[at]!;
    const type = bytes[at + 1]!;
    const length = extended ? view.getUint16(at + 2) : bytes[at + 2]!;
    at += extended ? 4 : 3;
    if (at + length > end) throw truncated(at, end);
    decodeOne(attributes, unknown, { type, flags, bytes, view, at, end: at + length });
    const known = transitiveTypes.has(type);
    if (known && (flags & AttributeFlag.partial) !== 0) partial.push(type);
    at += length;
  }
  if (unknown.length > 0) attributes.unknown = unknown;
  if (partial.length > 0) attributes.partial = partial;
  return attributes;
}

/** Known ones that may have the Partial bit. */
const transitiveTypes = new Set<number>([
  T.aggregator,
  T.communities,
  T.extendedCommunities,
  T.largeCommunities,
]);

interface Field {
  readonly type: number;
  readonly flags: number;
  readonly bytes: Uint8Array;
  readonly view: DataView;
  readonly at: number;
  readonly end: number;
}

function truncated(at: number, end: number): BgpError {
  return new BgpError('truncated', `an attribute at offset ${at} runs over the end at ${end}`, {
    value: end,
    offset: at,
  });
}

function wrong(field: Field): BgpError {
  return new BgpError(
    'update-error',
    `attribute ${field.type} with ${field.end - field.at} bytes at offset ${field.at} is not canonical`,
    { value: field.bytes.slice(field.at, field.end), offset: field.at },
  );
}

function want(field: Field, length: number): void {
  if (field.end - field.at !== length) throw wrong(field);
}

/** The offsets of items of `width` bytes. */
function items(field: Field, width: number): number[] {
  const length = field.end - field.at;
  if (length === 0 || length % width !== 0) throw wrong(field);
  return Array.from({ length: length / width }, (_, i) => field.at + i * width);
}

function decodeOne(out: Mutable<PathAttributes>, unknown: UnknownAttribute[], field: Field): void {
  const { type, flags, bytes, view, at, end } = field;
  switch (type) {
    case T.origin:
      want(field, 1);
      if (bytes[at]! > 2) throw wrong(field);
      out.origin = bytes[at] as Origin;
      break;
    case T.asPath:
      if (checkAsPath(bytes, at, end, 4, false) !== undefined) throw wrong(field);
      out.asPath = readAsPath(bytes, at, end, 4);
      break;
    case T.med:
      want(field, 4);
      out.med = view.getUint32(at);
      break;
    case T.localPreference:
      want(field, 4);
      out.localPreference = view.getUint32(at);
      break;
    case T.atomicAggregate:
      want(field, 0);
      out.atomicAggregate = true;
      break;
    case T.aggregator:
      want(field, 8);
      out.aggregator = {
        asn: view.getUint32(at) as Asn,
        routerId: RouterId.fromNumber(view.getUint32(at + 4)),
      };
      break;
    case T.communities:
      out.communities = items(field, 4).map((i) => view.getUint32(i));
      break;
    case T.originatorId:
      want(field, 4);
      out.originatorId = RouterId.fromNumber(view.getUint32(at));
      break;
    case T.clusterList:
      out.clusterList = items(field, 4).map((i) => RouterId.fromNumber(view.getUint32(i)));
      break;
    case T.extendedCommunities:
      out.extendedCommunities = items(field, 8).map((i) => view.getBigUint64(i));
      break;
    case T.largeCommunities:
      out.largeCommunities = items(field, 12).map((i) => ({
        admin: view.getUint32(i),
        data1: view.getUint32(i + 4),
        data2: view.getUint32(i + 8),
      }));
      break;
    default:
      unknown.push({
        type,
        flags: flags & ~AttributeFlag.extendedLength,
        value: bytes.slice(at, end),
      });
  }
}

const wellKnown = AttributeFlag.transitive;
const transitive = AttributeFlag.optional | AttributeFlag.transitive;
const nonTransitive = AttributeFlag.optional;

/**
 * Canonical bytes. Communities are sorted and made distinct here. Throws BgpError `too-long` when an attribute has
 * more than 65535 bytes.
 */
export function encodeAttributes(attributes: PathAttributes): Uint8Array {
  const parts: { type: number; flags: number; value: Uint8Array }[] = [];
  const add = (type: number, flags: number, value: Uint8Array) =>
    parts.push({ type, flags, value });
  const a = attributes;
  add(T.origin, wellKnown, Uint8Array.of(a.origin));
  add(T.asPath, wellKnown, writeAsPath(a.asPath, 4));
  if (a.med !== undefined) add(T.med, nonTransitive, words([a.med]));
  if (a.localPreference !== undefined) {
    add(T.localPreference, wellKnown, words([a.localPreference]));
  }
  if (a.atomicAggregate) add(T.atomicAggregate, wellKnown, new Uint8Array(0));
  if (a.aggregator !== undefined) {
    const { asn, routerId } = a.aggregator;
    add(T.aggregator, transitive, words([asn, RouterId.toNumber(routerId)]));
  }
  if (a.communities?.length) {
    add(T.communities, transitive, words(sortedNumbers(a.communities)));
  }
  if (a.originatorId !== undefined) {
    add(T.originatorId, nonTransitive, words([RouterId.toNumber(a.originatorId)]));
  }
  if (a.clusterList?.length) {
    add(T.clusterList, nonTransitive, words(a.clusterList.map(RouterId.toNumber)));
  }
  if (a.extendedCommunities?.length) {
    add(T.extendedCommunities, transitive, extendedBytes(a.extendedCommunities));
  }
  if (a.largeCommunities?.length) {
    add(T.largeCommunities, transitive, largeBytes(a.largeCommunities));
  }
  for (const part of parts) {
    if (a.partial?.includes(part.type)) part.flags |= AttributeFlag.partial;
  }
  for (const { type, flags, value } of a.unknown ?? []) add(type, flags, value);
  parts.sort((x, y) => x.type - y.type);
  return join(parts);
}

function words(values: readonly number[]): Uint8Array {
  const bytes = new Uint8Array(values.length * 4);
  const view = new DataView(bytes.buffer);
  for (const [i, value] of values.entries()) view.setUint32(i * 4, value);
  return bytes;
}

function sortedNumbers(values: readonly number[]): number[] {
  return [...new Set(values)].sort((a, b) => a - b);
}

function extendedBytes(values: readonly bigint[]): Uint8Array {
  const distinct = [...new Set(values)].sort((a, b) => (a < b ? -1 : 1));
  const bytes = new Uint8Array(distinct.length * 8);
  const view = new DataView(bytes.buffer);
  for (const [i, value] of distinct.entries()) view.setBigUint64(i * 8, value);
  return bytes;
}

function largeBytes(values: readonly LargeCommunityValue[]): Uint8Array {
  const sorted = [...values].sort(
    (x, y) => x.admin - y.admin || x.data1 - y.data1 || x.data2 - y.data2,
  );
  const distinct = sorted.filter((value, i) => {
    const before = sorted[i - 1];
    return (
      before === undefined ||
      before.admin !== value.admin ||
      before.data1 !== value.data1 ||
      before.data2 !== value.data2
    );
  });
  return words(distinct.flatMap(({ admin, data1, data2 }) => [admin, data1, data2]));
}

function join(parts: readonly { type: number; flags: number; value: Uint8Array }[]): Uint8Array {
  let length = 0;
  for (const { type, value } of parts) {
    if (value.length > 0xffff) {
      throw new BgpError('too-long', `attribute ${type} with ${value.length} bytes`, {
        value: value.length,
      });
    }
    length += value.length + (value.length > 255 ? 4 : 3);
  }
  const bytes = new Uint8Array(length);
  let at = 0;
  for (const { type, flags, value } of parts) {
    const extended = value.length > 255;
    bytes[at++] = extended ? flags | AttributeFlag.extendedLength : flags;
    bytes[at++] = type;
    if (extended) bytes[at++] = value.length >>> 8;
    bytes[at++] = value.length;
    bytes.set(value, at);
    at += value.length;
  }
  return bytes;
}

/** Attributes that we carry without reading them, yet know of: no Partial bit. */
const carried = new Set<number>([T.ipv6ExtendedCommunities]);

/**
 * RFC 4271 section 5: an unrecognized transitive attribute goes on with its Partial bit set.
 * Everything else about an export is policy.
 */
export function forExport(attributes: PathAttributes): PathAttributes {
  if (attributes.unknown === undefined) return attributes;
  return {
    ...attributes,
    unknown: attributes.unknown.map((one) =>
      carried.has(one.type) ? one : { ...one, flags: one.flags | AttributeFlag.partial },
    ),
  };
}
