/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Settings of a node: read-only data, set before load. The verifier sees constants and removes what is
 * switched off, so a setting costs nothing at run time. Mirrored by src/config.ts, checked by BTF. */
#pragma once

#include "types.h"

#define CONFIG(type, name, sentence) const volatile type name

CONFIG(__u8, ipv4_enabled, "pods have IPv4 addresses") = 1;
CONFIG(__u8, ipv6_enabled, "pods have IPv6 addresses") = 1;
CONFIG(__u8, world_by_family, "dual stack: the world is identity 9 (IPv4) or 10 (IPv6) in place of 2") = 0;

CONFIG(__u32, host_ifindex, "device that holds the node's gateway addresses") = 0;
CONFIG(__u64, host_device_mac, "its MAC address in the first six bytes") = 0;
CONFIG(union addr, gateway_ipv4, "address that pods see as their IPv4 gateway") = {};
CONFIG(union addr, gateway_ipv6, "address that pods see as their IPv6 gateway") = {};

CONFIG(__u32, overlay_ifindex, "VXLAN device; 0: no tunnels on this node") = 0;
CONFIG(__u16, overlay_mtu, "largest IP packet that fits into the tunnel, in bytes") = 1450;

CONFIG(__u32, egress_overlay_ifindex, "VXLAN device that leads to egress gateways; 0: none") = 0;
CONFIG(__u16, egress_overlay_mtu, "largest IP packet that fits into that, in bytes") = 1450;

CONFIG(__u8, masquerade_ipv4, "pods leave the native ranges with the device's IPv4 address") = 0;
CONFIG(__u8, masquerade_ipv6, "pods leave the native ranges with the device's IPv6 address") = 0;
CONFIG(__u16, nat_port_min, "first source port for masquerading, host byte order") = 49152;
CONFIG(__u16, nat_port_max, "last source port for masquerading, host byte order") = 65535;

CONFIG(__u8, packet_services, "services are translated per packet for what did not pass a socket hook") = 1;
CONFIG(union addr, hairpin_ipv4, "source that a pod sees when it reaches itself through a service, IPv4") = {};
CONFIG(union addr, hairpin_ipv6, "the same for IPv6") = {};
CONFIG(__u8, set_retval, "kernel has bpf_set_retval (5.18): a refused connect() says ECONNREFUSED") = 0;
CONFIG(__u8, netns_cookie, "kernel has bpf_get_netns_cookie for socket hooks (5.7)") = 1;

CONFIG(__u8, allow_localhost, "the node itself always reaches its pods") = 1;
CONFIG(__u8, coarse_clock, "kernel has bpf_ktime_get_coarse_ns (5.11)") = 1;
CONFIG(__u32, fib_flags, "flags of bpf_fib_lookup: 4 (no neighbour look-up) from Linux 6.3") = 0;

/* Timeouts in ticks of 2^30 ns (1.074 s). */
CONFIG(__u32, timeout_tcp, "TCP, established") = 20000;
CONFIG(__u32, timeout_tcp_syn, "TCP, no answer yet") = 60;
CONFIG(__u32, timeout_tcp_close, "TCP, closed by both or reset") = 10;
CONFIG(__u32, timeout_udp, "UDP and others, no answer yet") = 60;
CONFIG(__u32, timeout_udp_reply, "UDP and others, answered") = 180;
CONFIG(__u32, timeout_icmp, "ICMP echo") = 60;

/* Read as volatile: the value is known at load time, not when this is compiled. */
inlined union addr config_address(const volatile union addr *address)
{
	union addr copy = { .d = { address->d[0], address->d[1] } };

	return copy;
}
