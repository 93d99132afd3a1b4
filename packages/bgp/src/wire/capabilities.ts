/** RFC 5492 section 4: a capability is code (1), length (1), value. One row per code that we know. */
import { ByteReader, ByteWriter, WireError } from '@causeway/wire';
import type { AfiSafi, Asn } from '../types.ts';

/** ADD-PATH Send/Receive (RFC 7911 section 4) from the sender of the capability's point of view. */
export type AddPathMode = 'receive' | 'send' | 'both';

/** One capability (RFC 5492), in the order of the message; unknown ones are kept as bytes. */
export type Capability =
  | { readonly type: 'multiprotocol'; readonly family: AfiSafi }
  | { readonly type: 'route-refresh' }
  | {
      readonly type: 'extended-next-hop';
      /** RFC 8950: NLRI of `family` may have next hops of `nextHopAfi`. */
      readonly entries: readonly { readonly family: AfiSafi; readonly nextHopAfi: number }[];
    }
  | { readonly type: 'extended-message' }
  | {
      readonly type: 'graceful-restart';
      /** R bit (RFC 4724). */
      readonly restarting: boolean;
      /** N bit (RFC 8538). */
      readonly notification: boolean;
      /** Seconds, 0 to 4095. */
      readonly restartTime: number;
      readonly families: readonly { readonly family: AfiSafi; readonly forwarding: boolean }[];
    }
  | { readonly type: 'four-octet-as'; readonly asn: Asn }
  | {
      readonly type: 'add-path';
      readonly families: readonly { readonly family: AfiSafi; readonly mode: AddPathMode }[];
    }
  | { readonly type: 'enhanced-route-refresh' }
  | {
      readonly type: 'long-lived-graceful-restart';
      readonly families: readonly {
        readonly family: AfiSafi;
        readonly forwarding: boolean;
        /** Seconds, 24 bits. */
        readonly staleTime: number;
      }[];
    }
  | { readonly type: 'fqdn'; readonly host: string; readonly domain: string }
  | { readonly type: 'unknown'; readonly code: number; readonly value: Uint8Array };

type Known = Exclude<Capability['type'], 'unknown'>;
type Of<T extends Known> = Extract<Capability, { type: T }>;

interface Row<T extends Known> {
  readonly code: number;
  readonly decode: (reader: ByteReader) => Of<T>;
  readonly encode: (capability: Of<T>, writer: ByteWriter) => void;
}

const modes: readonly (AddPathMode | undefined)[] = [undefined, 'receive', 'send', 'both'];
const forwardingBit = 0x80;

function family(reader: ByteReader): AfiSafi {
  return { afi: reader.u16(), safi: reader.u8() };
}

function list<T>(reader: ByteReader, item: () => T): T[] {
  const items: T[] = [];
  while (!reader.done) items.push(item());
  return items;
}

const text = new TextEncoder();

/** Empty capabilities: their presence is all there is to them. */
function bare<T extends 'route-refresh' | 'extended-message' | 'enhanced-route-refresh'>(
  code: number,
  type: T,
): Row<T> {
  return { code, decode: () => ({ type }) as Of<T>, encode: () => {} };
}

const table: { readonly [T in Known]: Row<T> } = {
  // RFC 4760 section 8: afi (2), reserved (1), safi (1)
  multiprotocol: {
    code: 1,
    decode: (reader) => {
      const afi = reader.u16();
      reader.skip(1);
      return { type: 'multiprotocol', family: { afi, safi: reader.u8() } };
    },
    encode: ({ family: { afi, safi } }, writer) => writer.u16(afi).u8(0).u8(safi),
  },
  // RFC 2918 section 2
  'route-refresh': bare(2, 'route-refresh'),
  // RFC 8950 section 4: afi (2), safi (2), next hop's afi (2), repeated
  'extended-next-hop': {
    code: 5,
    decode: (reader) => ({
      type: 'extended-next-hop',
      entries: list(reader, () => ({
        family: { afi: reader.u16(), safi: reader.u16() },
        nextHopAfi: reader.u16(),
      })),
    }),
    encode: ({ entries }, writer) => {
      for (const { family: of, nextHopAfi } of entries) {
        writer.u16(of.afi).u16(of.safi).u16(nextHopAfi);
      }
    },
  },
  // RFC 8654 section 3
  'extended-message': bare(6, 'extended-message'),
  // RFC 4724 section 3: flags (4 bits), time (12 bits), then afi (2), safi (1), flags (1)
  'graceful-restart': {
    code: 64,
    decode: (reader) => {
      const head = reader.u16();
      return {
        type: 'graceful-restart',
        restarting: (head & 0x8000) !== 0,
        notification: (head & 0x4000) !== 0,
        restartTime: head & 0x0fff,
        families: list(reader, () => ({
          family: family(reader),
          forwarding: (reader.u8() & forwardingBit) !== 0,
        })),
      };
    },
    encode: ({ restarting, notification, restartTime, families }, writer) => {
      writer.u16((restarting ? 0x8000 : 0) | (notification ? 0x4000 : 0) | restartTime);
      for (const { family: of, forwarding } of families) {
        writer
          .u16(of.afi)
          .u8(of.safi)
          .u8(forwarding ? forwardingBit : 0);
      }
    },
  },
  // RFC 6793 section 3
  'four-octet-as': {
    code: 65,
    decode: (reader) => ({ type: 'four-octet-as', asn: reader.u32() as Asn }),
    encode: ({ asn }, writer) => writer.u32(asn),
  },
  // RFC 7911 section 4: afi (2), safi (1), mode (1), repeated
  'add-path': {
    code: 69,
    decode: (reader) => ({
      type: 'add-path',
      // "If any other value is received, then the capability SHOULD be treated as not understood".
      families: list(reader, () => {
        const of = family(reader);
        const mode = modes[reader.u8()];
        return mode === undefined ? undefined : { family: of, mode };
      }).filter((one) => one !== undefined),
    }),
    encode: ({ families }, writer) => {
      for (const { family: of, mode } of families) {
        writer.u16(of.afi).u8(of.safi).u8(modes.indexOf(mode));
      }
    },
  },
  // RFC 7313 section 3.1
  'enhanced-route-refresh': bare(70, 'enhanced-route-refresh'),
  // RFC 9494 section 3.1: afi (2), safi (1), flags (1), time (3), repeated
  'long-lived-graceful-restart': {
    code: 71,
    decode: (reader) => ({
      type: 'long-lived-graceful-restart',
      families: list(reader, () => ({
        family: family(reader),
        forwarding: (reader.u8() & forwardingBit) !== 0,
        staleTime: reader.u24(),
      })),
    }),
    encode: ({ families }, writer) => {
      for (const { family: of, forwarding, staleTime } of families) {
        writer
          .u16(of.afi)
          .u8(of.safi)
          .u8(forwarding ? forwardingBit : 0);
        writer.u8(staleTime >>> 16).u16(staleTime & 0xffff);
      }
    },
  },
  // draft-walton-bgp-hostname-capability: length (1), host, length (1), domain
  fqdn: {
    code: 73,
    decode: (reader) => {
      const host = reader.text(reader.u8());
      return { type: 'fqdn', host, domain: reader.done ? '' : reader.text(reader.u8()) };
    },
    encode: ({ host, domain }, writer) => {
      for (const part of [host, domain]) {
        const bytes = text.encode(part).subarray(0, 64);
        writer.u8(bytes.length).bytes(bytes);
      }
    },
  },
};

const byCode = new Map<number, Row<Known>>(
  Object.values(table).map((row) => [row.code, row as unknown as Row<Known>]),
);

/**
 * A known capability whose value is malformed counts as one that we do not understand, and RFC 5492 ignores
 * those. Not so the AS number: to misread it would be to misread every AS_PATH, so that WireError is thrown on.
 */
export function decodeCapability(code: number, value: Uint8Array): Capability {
  const row = byCode.get(code);
  if (row !== undefined) {
    const reader = new ByteReader(value);
    try {
      const capability = row.decode(reader);
      reader.end();
      return capability;
    } catch (error) {
      if (!(error instanceof WireError) || code === table['four-octet-as'].code) throw error;
    }
  }
  return { type: 'unknown', code, value: value.slice() };
}

/** Code, length, value. */
export function encodeCapability(capability: Capability): Uint8Array {
  const writer = new ByteWriter();
  if (capability.type === 'unknown') {
    writer.u8(capability.code).u8(capability.value.length).bytes(capability.value);
    return writer.finish();
  }
  const row = table[capability.type] as unknown as Row<Known>;
  writer.u8(row.code).u8(0);
  row.encode(capability as Of<Known>, writer);
  const bytes = writer.finish();
  bytes[1] = bytes.length - 2;
  return bytes;
}
