/** IANA protocol numbers that policies can name. 0 stands for every protocol in compiled entries. */
export const PROTOCOL = Object.freeze({ any: 0, icmp: 1, tcp: 6, udp: 17, icmpv6: 58, sctp: 132 });

const NAMES = new Map<number, string>([
  [PROTOCOL.any, 'ANY'],
  [PROTOCOL.icmp, 'ICMP'],
  [PROTOCOL.tcp, 'TCP'],
  [PROTOCOL.udp, 'UDP'],
  [PROTOCOL.icmpv6, 'ICMPv6'],
  [PROTOCOL.sctp, 'SCTP'],
]);

/** What "ANY" in a port rule means: the protocols with ports, so never ICMP (Cilium's PortProtocol). */
export const PORT_PROTOCOLS: readonly number[] = [PROTOCOL.tcp, PROTOCOL.udp, PROTOCOL.sctp];

export const protocolName = (protocol: number): string =>
  NAMES.get(protocol) ?? `protocol ${protocol}`;

/** The number for a name in any case; undefined for names that policies cannot use. */
export function protocolNumber(name: string): number | undefined {
  const wanted = name.toUpperCase();
  for (const [number, text] of NAMES) if (text.toUpperCase() === wanted) return number;
  return undefined;
}

export const isIcmp = (protocol: number): boolean =>
  protocol === PROTOCOL.icmp || protocol === PROTOCOL.icmpv6;

/** `TCP 80`, `ICMP type 8`, `UDP 5000-5999`, `any port`: how reports print what a rule is about. */
export function portsText(protocol: number, first: number, last: number): string {
  if (protocol === PROTOCOL.any) return 'any protocol and port';
  const name = protocolName(protocol);
  if (first === 0 && last === 0xffff) return name;
  const range = first === last ? String(first) : `${first}-${last}`;
  return isIcmp(protocol) ? `${name} type ${range}` : `${name} ${range}`;
}
