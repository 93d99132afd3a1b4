/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* The answer to a ping, made in place: source and destination change places, which no checksum notices, and the
 * type changes. */
#pragma once

#include "rewrite.h"

inlined bool is_echo_request(const struct packet *p)
{
	return (p->flags & (PACKET_ECHO | PACKET_FRAGMENT)) == PACKET_ECHO &&
	       p->icmp_type == (p->ipv6 ? ICMPV6_ECHO_REQUEST : ICMP_ECHO);
}

/* 0 or a drop reason; MAC addresses are the caller's. */
noinline_subprogram int echo_turn(struct __sk_buff *ctx, const struct packet *p)
{
	__u32 check = p->l4 + offsetof(struct icmphdr, checksum);
	__u8 type = p->ipv6 ? ICMPV6_ECHO_REPLY : ICMP_ECHOREPLY;
	__be16 from = bpf_htons((__u16)(p->icmp_type << 8)), to = bpf_htons((__u16)(type << 8));

	if (bpf_l4_csum_replace(ctx, check, from, to, 2) || bpf_skb_store_bytes(ctx, p->l4, &type, 1, 0) ||
	    store_address(ctx, p->ipv6, l3_address_offset(p->ipv6, SIDE_SOURCE), &p->tuple.daddr) ||
	    store_address(ctx, p->ipv6, l3_address_offset(p->ipv6, SIDE_DESTINATION), &p->tuple.saddr))
		return DROP_WRITE_FAILED;
	return 0;
}
