import type { Address, Mac } from '@causeway/ip';
import { Address as Addresses, Mac as Macs } from '@causeway/ip';
import type { Btf, ConstantValue, Features } from '@causeway/linux';
import { DatapathError } from './errors.ts';

/** Settings of a node, fixed for as long as its programs are loaded. */
export interface DatapathConfig {
  /** Families that pods have; at least one. */
  readonly ipv4: boolean;
  readonly ipv6: boolean;
  /** The device that holds the gateway addresses (cw_host). */
  readonly host: { readonly ifindex: number; readonly mac: Mac };
  /** What pods see as their gateways: answered to ping, and the sender of ICMP errors. */
  readonly gateways: { readonly ipv4?: Address; readonly ipv6?: Address };
  /** The VXLAN device; absent: native routing alone. `mtu`: the largest inner IP packet, bytes. */
  readonly overlay?: { readonly ifindex: number; readonly mtu: number };
  /** The VXLAN device to egress gateways where `overlay` is absent; with it, that is used. */
  readonly egressOverlay?: { readonly ifindex: number; readonly mtu: number };
  /** Dual stack sites of Cilium's form tell the world by family: identities 9 and 10 in place of 2. */
  readonly worldByFamily?: boolean;
  readonly masquerade?: { readonly ipv4: boolean; readonly ipv6: boolean };
  /** Source ports for masquerading, both ends included. Default 49152 to 65535. */
  readonly natPorts?: { readonly first: number; readonly last: number };
  /** Translate services per packet too, for what no socket hook saw. Default true. */
  readonly packetServices?: boolean;
  /** Source that a pod sees when it reaches itself through a service. */
  readonly hairpin?: { readonly ipv4: Address; readonly ipv6: Address };
  /** The node itself always reaches its pods (probes). Default true. */
  readonly allowLocalhost?: boolean;
  /** Seconds. */
  readonly timeouts?: Partial<ConntrackTimeouts>;
}

export interface ConntrackTimeouts {
  readonly tcp: number;
  readonly tcpSyn: number;
  readonly tcpClose: number;
  readonly udp: number;
  readonly udpReply: number;
  readonly icmp: number;
}

export const DEFAULT_TIMEOUTS: ConntrackTimeouts = Object.freeze({
  tcp: 21_600,
  tcpSyn: 60,
  tcpClose: 10,
  udp: 60,
  udpReply: 180,
  icmp: 60,
});

export const DEFAULT_HAIRPIN = Object.freeze({
  ipv4: Addresses.parse('169.254.42.1'),
  ipv6: Addresses.parse('fd00:ca::1'),
});

/** The kernel's unit for expiry: 2^30 ns of CLOCK_MONOTONIC. */
const TICK_SECONDS = 2 ** 30 / 1e9;

export const ticksOf = (seconds: number): number => Math.max(1, Math.round(seconds / TICK_SECONDS));
export const secondsOf = (ticks: number): number => ticks * TICK_SECONDS;
/** Ticks of a CLOCK_MONOTONIC time in ns, which is what process.hrtime.bigint() gives. */
export const tickAt = (monotonicNs: bigint): number => Number((monotonicNs >> 30n) & 0xffff_ffffn);

/** Which of the kernel's newer helpers the programs may use. */
export interface KernelTraits {
  readonly setRetval: boolean;
  readonly netnsCookie: boolean;
  readonly coarseClock: boolean;
  /** bpf_fib_lookup without a neighbour look-up, Linux 6.3. */
  readonly fibSkipNeighbour: boolean;
}

export function traitsOf(features: Features, release: string): KernelTraits {
  const [major = 0, minor = 0] = release.split('.').map((part) => Number.parseInt(part, 10));
  const atLeast = (a: number, b: number) => major > a || (major === a && minor >= b);
  return {
    setRetval: features.has('set-retval'),
    netnsCookie: features.has('netns-cookie'),
    coarseClock: atLeast(5, 11),
    fibSkipNeighbour: atLeast(6, 3),
  };
}

const refuse = (field: string, value: unknown, why: string): never => {
  throw new DatapathError('bad-config', `config.${field}: ${why}`, { value });
};

function checkRange(field: string, value: number, least: number, most: number): number {
  if (!Number.isInteger(value) || value < least || value > most) {
    refuse(field, value, `${value} is not within ${least} to ${most}`);
  }
  return value;
}

const optional16 = (address: Address | undefined): Uint8Array =>
  address === undefined ? new Uint8Array(16) : Addresses.toBytes16(address);

/** The constants of bpf/lib/config.h by name. Throws bad-config naming the field. */
export function constantsOf(
  config: DatapathConfig,
  traits: KernelTraits,
): Readonly<Record<string, ConstantValue>> {
  const { gateways, host, overlay, masquerade, hairpin = DEFAULT_HAIRPIN } = config;
  if (!config.ipv4 && !config.ipv6) refuse('ipv4', false, 'pods need at least one address family');
  if (gateways.ipv4 !== undefined && !Addresses.isIPv4(gateways.ipv4)) {
    refuse('gateways.ipv4', gateways.ipv4, `${gateways.ipv4} is no IPv4 address`);
  }
  if (gateways.ipv6 !== undefined && !Addresses.isIPv6(gateways.ipv6)) {
    refuse('gateways.ipv6', gateways.ipv6, `${gateways.ipv6} is no IPv6 address`);
  }
  const egress = overlay ?? config.egressOverlay;
  const first = checkRange('natPorts.first', config.natPorts?.first ?? 49_152, 1, 65_535);
  const last = checkRange('natPorts.last', config.natPorts?.last ?? 65_535, first, 65_535);
  const hostMac = new Uint8Array(8);
  hostMac.set(Macs.toBytes(host.mac));
  const timeouts = { ...DEFAULT_TIMEOUTS, ...config.timeouts };
  for (const [name, seconds] of Object.entries(timeouts)) {
    if (!(seconds > 0 && seconds <= 1e6)) {
      refuse(`timeouts.${name}`, seconds, `${seconds} seconds is not within 0 to a million`);
    }
  }
  return {
    ipv4_enabled: config.ipv4,
    ipv6_enabled: config.ipv6,
    world_by_family: config.worldByFamily ?? false,
    host_ifindex: checkRange('host.ifindex', host.ifindex, 1, 0x7fff_ffff),
    host_device_mac: hostMac,
    gateway_ipv4: optional16(gateways.ipv4),
    gateway_ipv6: optional16(gateways.ipv6),
    overlay_ifindex: overlay ? checkRange('overlay.ifindex', overlay.ifindex, 1, 0x7fff_ffff) : 0,
    overlay_mtu: overlay ? checkRange('overlay.mtu', overlay.mtu, 1280, 65_535) : 0xffff,
    egress_overlay_ifindex: egress
      ? checkRange('egressOverlay.ifindex', egress.ifindex, 1, 0x7fff_ffff)
      : 0,
    egress_overlay_mtu: egress ? checkRange('egressOverlay.mtu', egress.mtu, 1280, 65_535) : 0xffff,
    masquerade_ipv4: masquerade?.ipv4 ?? false,
    masquerade_ipv6: masquerade?.ipv6 ?? false,
    nat_port_min: first,
    nat_port_max: last,
    packet_services: config.packetServices ?? true,
    hairpin_ipv4: optional16(hairpin.ipv4),
    hairpin_ipv6: optional16(hairpin.ipv6),
    set_retval: traits.setRetval,
    netns_cookie: traits.netnsCookie,
    allow_localhost: config.allowLocalhost ?? true,
    coarse_clock: traits.coarseClock,
    fib_flags: traits.fibSkipNeighbour ? 4 : 0,
    timeout_tcp: ticksOf(timeouts.tcp),
    timeout_tcp_syn: ticksOf(timeouts.tcpSyn),
    timeout_tcp_close: ticksOf(timeouts.tcpClose),
    timeout_udp: ticksOf(timeouts.udp),
    timeout_udp_reply: ticksOf(timeouts.udpReply),
    timeout_icmp: ticksOf(timeouts.icmp),
  };
}

/** Throws layout-mismatch when object and code do not have the same settings. */
export function checkConstants(
  btf: Btf,
  constants: Readonly<Record<string, ConstantValue>>,
  object: string,
): void {
  const declared = new Set(btf.variables('.rodata').map(({ name }) => name));
  const missing = Object.keys(constants).filter((name) => !declared.has(name));
  const unknown = [...declared].filter((name) => !(name in constants) && /^[a-z]\w*$/.test(name));
  if (missing.length > 0 || unknown.length > 0) {
    throw new DatapathError(
      'layout-mismatch',
      `object ${object}: settings it lacks: ${missing.join(', ') || 'none'}; settings not known here: ${unknown.join(', ') || 'none'}`,
      { value: object, hint: 'compile the eBPF objects of this version' },
    );
  }
}
