/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* The packet that an ICMP error quotes: whose connection it belongs to, and its translation, so that the
 * socket that sent it knows it again. The quoted L4 checksum stays as it is: receivers do not look at it,
 * and it may be cut off. */
#pragma once

#include "rewrite.h"

struct inner {
	struct tuple tuple;
	__u32 l3; /* offset of the quoted IP header */
	__u32 l4;
};

/* False when what is quoted is too short or not of use. */
noinline_subprogram bool inner_parse(struct __sk_buff *ctx, const struct packet *p, struct inner *inner)
{
	union {
		struct iphdr v4;
		struct ipv6hdr v6;
		__be16 ports[2];
		struct icmphdr icmp;
	} header;
	__u32 protocol;

	__builtin_memset(inner, 0, sizeof(*inner));
	inner->l3 = p->l4 + sizeof(struct icmphdr);
	if (p->ipv6) {
		if (bpf_skb_load_bytes(ctx, inner->l3, &header.v6, sizeof(header.v6)))
			return false;
		__builtin_memcpy(&inner->tuple.saddr, &header.v6.saddr, 16);
		__builtin_memcpy(&inner->tuple.daddr, &header.v6.daddr, 16);
		protocol = header.v6.nexthdr;
		inner->l4 = inner->l3 + IP6_HLEN;
		if (protocol == EXTENSION_FRAGMENT) {
			__u8 extension[8];

			if (bpf_skb_load_bytes(ctx, inner->l4, extension, sizeof(extension)) || extension[2] ||
			    (extension[3] & 0xf8))
				return false;
			protocol = extension[0];
			inner->l4 += sizeof(extension);
		}
	} else {
		if (bpf_skb_load_bytes(ctx, inner->l3, &header.v4, sizeof(header.v4)) || header.v4.ihl < 5 ||
		    (header.v4.frag_off & bpf_htons(IPV4_FRAGMENT_OFFSET)))
			return false;
		addr_set_v4(&inner->tuple.saddr, header.v4.saddr);
		addr_set_v4(&inner->tuple.daddr, header.v4.daddr);
		protocol = header.v4.protocol;
		inner->l4 = inner->l3 + header.v4.ihl * 4;
	}
	inner->tuple.protocol = (__u8)protocol;
	if (protocol_has_ports(protocol)) {
		if (bpf_skb_load_bytes(ctx, inner->l4, header.ports, sizeof(header.ports)))
			return false;
		inner->tuple.sport = header.ports[0];
		inner->tuple.dport = header.ports[1];
	} else if (protocol == (p->ipv6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP)) {
		if (bpf_skb_load_bytes(ctx, inner->l4, &header.icmp, sizeof(header.icmp)))
			return false;
		if (!icmp_is_echo(p->ipv6, header.icmp.type))
			return false; /* no error answers an error (RFC 1122, 3.2.2) */
		inner->tuple.sport = inner->tuple.dport = header.icmp.un.echo.id;
	}
	return true;
}

/* Rewrites one side of the quoted packet; the ICMP checksum follows. 0 or a drop reason. */
noinline_subprogram int inner_rewrite(struct __sk_buff *ctx, const struct packet *p, struct inner *inner,
				      enum side side, const struct socket *to)
{
	const union addr *from = side == SIDE_SOURCE ? &inner->tuple.saddr : &inner->tuple.daddr;
	__be16 old_port = side == SIDE_SOURCE ? inner->tuple.sport : inner->tuple.dport, new_port = to->port;
	__u32 check = p->l4 + offsetof(struct icmphdr, checksum);
	__u32 protocol = inner->tuple.protocol, at;
	__s64 difference = address_difference(p->ipv6, from, &to->address);

	if (store_address(ctx, p->ipv6, l3_address_offset(p->ipv6, side) - ETH_HLEN + inner->l3, &to->address))
		return DROP_WRITE_FAILED;
	if (p->ipv6) {
		if (bpf_l4_csum_replace(ctx, check, 0, (__u64)difference, 0))
			return DROP_WRITE_FAILED;
	} else if (bpf_l3_csum_replace(ctx, inner->l3 + offsetof(struct iphdr, check), 0, (__u64)difference, 0)) {
		/* The quoted header's own checksum balances the address: that of ICMP stands. */
		return DROP_WRITE_FAILED;
	}
	if (old_port == new_port || protocol == IPPROTO_SCTP)
		return 0;
	if (protocol == IPPROTO_TCP || protocol == IPPROTO_UDP)
		at = inner->l4 + (side == SIDE_SOURCE ? 0 : 2);
	else if (protocol == IPPROTO_ICMP || protocol == IPPROTO_ICMPV6)
		at = inner->l4 + offsetof(struct icmphdr, un.echo.id);
	else
		return 0;
	if (bpf_l4_csum_replace(ctx, check, old_port, new_port, 2) ||
	    bpf_skb_store_bytes(ctx, at, &new_port, sizeof(new_port), 0))
		return DROP_WRITE_FAILED;
	return 0;
}
