/** `ff*16 0013 04  # a comment to the end of the line` as bytes. `XX*N` repeats a byte. */
export function hex(text: string): Uint8Array {
  const clean = text
    .replaceAll(/#[^\n]*/g, '')
    .replaceAll(/([0-9a-f]{2})\*(\d+)/gi, (_, byte: string, times: string) =>
      byte.repeat(Number(times)),
    )
    .replaceAll(/\s+/g, '');
  if (!/^([0-9a-f]{2})*$/i.test(clean)) throw new Error(`not hexadecimal: ${clean}`);
  return Uint8Array.from(clean.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));
}

export const toHex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');
