import type { ByteReader, ByteWriter } from '@causeway/wire';
import { BmpError } from '../errors.ts';
import type { PeerHeader } from './peer-header.ts';

/**
 * RFC 7854 section 4.8: a count of TLVs, and the TLVs. Three forms of value, each with its length:
 *
 *     counter     4 bytes, grows
 *     gauge       8 bytes
 *     family     11 bytes: AFI (2), SAFI (1), gauge (8)
 */
const FORM = Object.freeze({ counter: 4, gauge: 8, family: 11 });
type Form = keyof typeof FORM;

/** IANA, BMP Statistics Types: code, form. 0 to 13 RFC 7854, 14 to 17 RFC 8671, 18 to 43 RFC 9972. */
const TYPES = Object.freeze({
  'rejected-by-import-policy': [0, 'counter'],
  'duplicate-announcements': [1, 'counter'],
  'duplicate-withdrawals': [2, 'counter'],
  'cluster-list-loops': [3, 'counter'],
  'as-path-loops': [4, 'counter'],
  'originator-loops': [5, 'counter'],
  'as-confed-loops': [6, 'counter'],
  'adj-rib-in-routes': [7, 'gauge'],
  'loc-rib-routes': [8, 'gauge'],
  'adj-rib-in-routes-of-family': [9, 'family'],
  'loc-rib-routes-of-family': [10, 'family'],
  'updates-treated-as-withdraw': [11, 'counter'],
  'prefixes-treated-as-withdraw': [12, 'counter'],
  'duplicate-updates': [13, 'counter'],
  'out-pre-routes': [14, 'gauge'],
  'out-post-routes': [15, 'gauge'],
  'out-pre-routes-of-family': [16, 'family'],
  'out-post-routes-of-family': [17, 'family'],
  'in-pre-routes': [18, 'gauge'],
  'in-pre-routes-of-family': [19, 'family'],
  'in-post-routes': [20, 'gauge'],
  'in-post-routes-of-family': [21, 'family'],
  'rejected-routes-of-family': [22, 'family'],
  'accepted-routes-of-family': [23, 'family'],
  'suppressed-routes-of-family': [26, 'family'],
  'stale-routes-of-family': [27, 'family'],
  'long-lived-stale-routes-of-family': [28, 'family'],
  'routes-left-before-threshold': [29, 'gauge'],
  'routes-left-before-threshold-of-family': [30, 'family'],
  'routes-left-before-licence': [31, 'gauge'],
  'routes-left-before-licence-of-family': [32, 'family'],
  'rejected-for-as-path-length': [33, 'gauge'],
  'rejected-for-as-path-length-of-family': [34, 'family'],
  'in-post-rpki-invalid-of-family': [35, 'family'],
  'in-post-rpki-valid-of-family': [36, 'family'],
  'in-post-rpki-not-found-of-family': [37, 'family'],
  'out-rejected-by-policy-of-family': [38, 'family'],
  'out-filtered-for-as-path-length': [39, 'gauge'],
  'out-filtered-for-as-path-length-of-family': [40, 'family'],
  'out-post-rpki-invalid-of-family': [41, 'family'],
  'out-post-rpki-valid-of-family': [42, 'family'],
  'out-post-rpki-not-found-of-family': [43, 'family'],
} as const satisfies Readonly<Record<string, readonly [number, Form]>>);

type Types = typeof TYPES;
type NamesOf<F extends Form> = {
  [Name in keyof Types]: Types[Name][1] extends F ? Name : never;
}[keyof Types];

export type Statistic =
  | { readonly type: 'counter'; readonly name: NamesOf<'counter'>; readonly value: number }
  | { readonly type: 'gauge'; readonly name: NamesOf<'gauge'>; readonly value: bigint }
  | {
      readonly type: 'family';
      readonly name: NamesOf<'family'>;
      readonly afi: number;
      readonly safi: number;
      readonly value: bigint;
    }
  /** "Unrecognized stats MUST be ignored": kept for who knows more, also a known type with a length of its own. */
  | { readonly type: 'unknown'; readonly code: number; readonly data: Uint8Array };

export interface StatisticsReport {
  readonly type: 'statistics';
  readonly peer: PeerHeader;
  readonly statistics: readonly Statistic[];
}

const byCode = new Map<number, { readonly name: string; readonly form: Form }>(
  Object.entries(TYPES).map(([name, [code, form]]) => [code, { name, form }] as const),
);

export function readStatistics(reader: ByteReader, peer: PeerHeader): StatisticsReport {
  const count = reader.u32();
  const statistics: Statistic[] = [];
  while (!reader.done) {
    const code = reader.u16();
    statistics.push(readStatistic(code, reader.sub(reader.u16())));
  }
  if (statistics.length !== count) {
    throw new BmpError(
      'bad-length',
      count,
      `a statistics report announces ${count} values and holds ${statistics.length}`,
    );
  }
  return { type: 'statistics', peer, statistics };
}

function readStatistic(code: number, data: ByteReader): Statistic {
  const known = byCode.get(code);
  if (known === undefined || FORM[known.form] !== data.left) {
    return { type: 'unknown', code, data: data.rest() };
  }
  const { form, name } = known;
  switch (form) {
    case 'counter':
      return { type: form, name: name as NamesOf<'counter'>, value: data.u32() };
    case 'gauge':
      return { type: form, name: name as NamesOf<'gauge'>, value: data.u64() };
    case 'family': {
      const [afi, safi, value] = [data.u16(), data.u8(), data.u64()] as const;
      return { type: form, name: name as NamesOf<'family'>, afi, safi, value };
    }
    default:
      return form satisfies never;
  }
}

export function writeStatistics(writer: ByteWriter, { statistics }: StatisticsReport): void {
  writer.u32(statistics.length);
  for (const one of statistics) {
    if (one.type === 'unknown') {
      writer.u16(one.code).u16(one.data.length).bytes(one.data);
      continue;
    }
    writer.u16(TYPES[one.name][0]).u16(FORM[one.type]);
    switch (one.type) {
      case 'counter':
        // RFC 7854 section 4.8: counters go from the maximum back to 0.
        writer.u32(one.value % 0x1_0000_0000);
        break;
      case 'gauge':
        writer.u64(one.value);
        break;
      case 'family':
        writer.u16(one.afi).u8(one.safi).u64(one.value);
        break;
      default:
        one satisfies never;
    }
  }
}
