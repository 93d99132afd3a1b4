/**
 * RFC 4271 section 4.1, the header of every message:
 *
 *     0                   1                   2                   3
 *     | Marker, 16 octets of ones ... | Length (2, with header) | Type |
 */
export const MessageType = Object.freeze({
  open: 1,
  update: 2,
  notification: 3,
  keepalive: 4,
  routeRefresh: 5,
} as const);
export type MessageType = (typeof MessageType)[keyof typeof MessageType];

export const headerLength = 19;
/** RFC 4271 section 4.1. */
export const classicMaximum = 4096;
/** RFC 8654 section 3. */
export const extendedMaximum = 65535;

/** Writes marker, length and type; `length` counts the header. */
export function writeHeader(target: Uint8Array, at: number, length: number, type: number): void {
  target.fill(0xff, at, at + 16);
  target[at + 16] = length >>> 8;
  target[at + 17] = length;
  target[at + 18] = type;
}

/** A whole message around a body. */
export function frame(type: MessageType, body: Uint8Array): Uint8Array {
  const message = new Uint8Array(headerLength + body.length);
  writeHeader(message, 0, message.length, type);
  message.set(body, headerLength);
  return message;
}

/** RFC 4271 section 4.4: a header and nothing else. A copy each time: callers may hand it to a socket. */
export function encodeKeepalive(): Uint8Array {
  return frame(MessageType.keepalive, new Uint8Array(0));
}
