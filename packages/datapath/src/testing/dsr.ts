import { Address } from '@causeway/ip';
import { internetChecksum } from '@causeway/wire';

/**
 * The frame with the option of bpf/lib/dsr.h behind its IP header: which socket its client called. IPv4 without other
 * options, IPv6 without extension headers.
 */
export function withCalled(frame: Uint8Array, address: Address, port: number): Uint8Array {
  const v6 = frame[12] === 0x86;
  const start = 14 + (v6 ? 40 : 20);
  const option = v6
    ? [frame[20]!, 2, 0x1e, 20, port >> 8, port & 255, 0, 0, ...Address.toBytes(address)]
    : [158, 8, port >> 8, port & 255, ...Address.toBytes(address)];
  const out = Uint8Array.from([...frame.subarray(0, start), ...option, ...frame.subarray(start)]);
  const view = new DataView(out.buffer);
  if (v6) {
    out[20] = 60;
    view.setUint16(18, view.getUint16(18) + option.length);
    return out;
  }
  out[14] = 0x47;
  view.setUint16(16, view.getUint16(16) + option.length);
  view.setUint16(24, 0);
  view.setUint16(24, internetChecksum(out.subarray(14, 14 + 28)));
  return out;
}
