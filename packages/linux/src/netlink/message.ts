import { ByteReader, type ByteWriter, WireError } from '@causeway/wire';
import { LinuxError, NetlinkError } from '../errors.ts';
import type { Netns } from '../netns.ts';
import { type AttributeTable, attributeAt, readAttributes, row, text, u32 } from './attributes.ts';

// struct nlmsghdr and the control messages of linux/netlink.h.

export const NlFlag = {
  request: 1,
  multi: 2,
  ack: 4,
  dumpInterrupted: 0x10,
  replace: 0x100,
  exclusive: 0x200,
  create: 0x400,
  append: 0x800,
  dump: 0x300,
  cappedAck: 0x100,
  ackAttributes: 0x200,
} as const;

export const NlType = { error: 2, done: 3 } as const;

/** One change to ask for. Made by the builders in `request`; knows nothing of sockets. */
export interface RtRequest {
  /** RTM_*. */
  readonly type: number;
  /** NLM_F_* without request and ack. */
  readonly flags: number;
  /** For errors: "new-link cw_host". */
  readonly name: string;
  /** Fixed header and attributes. */
  readonly body: Uint8Array;
  /** To name the attribute that the kernel objects to. */
  readonly schema?: { readonly headerSize: number; readonly table: AttributeTable };
  /**
   * What belongs to this request but the kernel does not take in the first message. Sent once that
   * has succeeded; if one is refused, `undo` takes the whole back.
   */
  readonly followUps?: readonly FollowUp[];
  readonly undo?: RtRequest;
}

export interface FollowUp {
  readonly request: RtRequest;
  /** Where to ask, if not at the socket's own namespace. */
  readonly namespace?: Netns;
}

export interface NlMessage {
  readonly type: number;
  readonly flags: number;
  readonly sequence: number;
  readonly payload: Uint8Array;
}

const headerSize = 16;

export function writeMessage(
  writer: ByteWriter,
  message: { type: number; flags: number; body: Uint8Array },
  sequence: number,
): void {
  writer
    .u32(headerSize + message.body.length)
    .u16(message.type)
    .u16(message.flags)
    .u32(sequence)
    .u32(0)
    .bytes(message.body)
    .align(4);
}

/** The messages of one datagram; payloads are views into it. Throws netlink-malformed. */
export function parseMessages(datagram: Uint8Array): NlMessage[] {
  return decoding(() => {
    const reader = new ByteReader(datagram, 'little');
    const messages: NlMessage[] = [];
    while (reader.left > 0) {
      const length = reader.u32();
      const type = reader.u16();
      const flags = reader.u16();
      const sequence = reader.u32();
      reader.skip(4);
      messages.push({ type, flags, sequence, payload: reader.bytes(length - headerSize) });
      reader.align(4);
    }
    return messages;
  });
}

/** Runs a decoder; bytes that end too early become our error. */
export function decoding<T>(decode: () => T): T {
  try {
    return decode();
  } catch (error) {
    if (!(error instanceof WireError)) throw error;
    throw new LinuxError('netlink-malformed', `malformed netlink message: ${error.message}`, {
      operation: 'decode netlink',
      cause: error,
    });
  }
}

// enum nlmsgerr_attrs
const ackTable = {
  message: row(1, text),
  offset: row(2, u32),
  missingType: row(5, u32),
} as const;

/** What an NLMSG_ERROR (or NLMSG_DONE) says of a request; undefined for a plain acknowledgement. */
export function readAck(
  message: NlMessage,
  request: Pick<RtRequest, 'name' | 'schema' | 'body'>,
): NetlinkError | undefined {
  return decoding(() => {
    const reader = new ByteReader(message.payload, 'little');
    if (reader.left < 4) return undefined; // an NLMSG_DONE without a status
    const errno = -reader.i32();
    if (errno <= 0) return undefined;
    let attributes = new Uint8Array(0) as Uint8Array;
    if ((message.flags & NlFlag.ackAttributes) !== 0) {
      if (message.type === NlType.error) {
        const length = reader.u32();
        reader.skip(headerSize - 4);
        // Uncapped errors repeat the whole request.
        if ((message.flags & NlFlag.cappedAck) === 0) reader.skip(length - headerSize);
        reader.align(4);
      }
      attributes = reader.rest();
    }
    const ack = readAttributes(attributes, ackTable);
    return new NetlinkError(request.name, errno, ack.message, nameAttribute(ack, request));
  });
}

function nameAttribute(
  ack: { readonly offset?: number | undefined; readonly missingType?: number | undefined },
  request: Pick<RtRequest, 'schema' | 'body'>,
): string | undefined {
  const { schema } = request;
  if (schema === undefined) return undefined;
  if (ack.offset !== undefined) {
    const start = headerSize + schema.headerSize;
    return attributeAt(request.body.subarray(schema.headerSize), schema.table, ack.offset - start);
  }
  if (ack.missingType !== undefined) {
    const missing = Object.entries(schema.table).find(([, r]) => r.type === ack.missingType);
    return missing?.[0] ?? `#${ack.missingType}`;
  }
  return undefined;
}
