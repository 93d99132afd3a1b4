/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Changing a packet in place, with every checksum right whatever state it is in: complete in the packet,
 * left to the device (CHECKSUM_PARTIAL: the helpers see to the pseudo header alone), or summed by the
 * device on arrival (CHECKSUM_COMPLETE: skb->csum must follow what changes in the packet). */
#pragma once

#include "parse.h"

enum side {
	SIDE_SOURCE = 0,
	SIDE_DESTINATION = 1,
};

inlined __u32 l3_address_offset(bool ipv6, enum side side)
{
	if (ipv6)
		return ETH_HLEN + (side == SIDE_SOURCE ? offsetof(struct ipv6hdr, saddr) : offsetof(struct ipv6hdr, daddr));
	return ETH_HLEN + (side == SIDE_SOURCE ? offsetof(struct iphdr, saddr) : offsetof(struct iphdr, daddr));
}

/* Difference of two addresses as checksums see it. */
inlined __s64 address_difference(bool ipv6, const union addr *from, const union addr *to)
{
	if (ipv6)
		return bpf_csum_diff((__be32 *)from->w, 16, (__be32 *)to->w, 16, 0);
	return bpf_csum_diff((__be32 *)&from->w[3], 4, (__be32 *)&to->w[3], 4, 0);
}

inlined int store_address(struct __sk_buff *ctx, bool ipv6, __u32 offset, const union addr *to)
{
	if (ipv6)
		return (int)bpf_skb_store_bytes(ctx, offset, to, 16, 0);
	return (int)bpf_skb_store_bytes(ctx, offset, &to->w[3], 4, 0);
}

/* The L4 header's share of a changed address and port. `id` marks ICMP echo, whose identifier is its port. */
inlined int rewrite_l4(struct __sk_buff *ctx, const struct packet *p, enum side side, __s64 difference, __be16 from,
		       __be16 to)
{
	__u32 check, port = p->l4 + (side == SIDE_SOURCE ? 0 : 2);
	__u64 flags = 0;
	bool pseudo = true;

	switch (p->tuple.protocol) {
	case IPPROTO_TCP:
		check = p->l4 + offsetof(struct tcphdr, check);
		break;
	case IPPROTO_UDP:
		check = p->l4 + offsetof(struct udphdr, check);
		flags = BPF_F_MARK_MANGLED_0; /* zero stays "no checksum" (RFC 768) */
		break;
	case IPPROTO_ICMPV6:
		check = p->l4 + offsetof(struct icmp6hdr, icmp6_cksum);
		port = p->l4 + offsetof(struct icmp6hdr, icmp6_identifier);
		break;
	case IPPROTO_ICMP:
		check = p->l4 + offsetof(struct icmphdr, checksum);
		port = p->l4 + offsetof(struct icmphdr, un.echo.id);
		pseudo = false; /* RFC 792: its checksum covers no address */
		break;
	default:
		return 0; /* SCTP and others: nothing in L4 depends on addresses */
	}
	if (from != to) {
		if (bpf_l4_csum_replace(ctx, check, from, to, flags | 2) ||
		    bpf_skb_store_bytes(ctx, port, &to, sizeof(to), 0))
			return DROP_WRITE_FAILED;
	}
	if (pseudo) {
		if (bpf_l4_csum_replace(ctx, check, 0, (__u64)difference, flags | BPF_F_PSEUDO_HDR))
			return DROP_WRITE_FAILED;
		/* The helper lets skb->csum follow the checksum field, as is right where an IP header checksum
		 * balances the address. IPv6 has none: take that back. */
		if (p->ipv6)
			bpf_csum_update(ctx, (__wsum)difference);
	}
	return 0;
}

/* Gives the packet another source or destination. 0 or a drop reason. Only echo, TCP and UDP change ports. */
noinline_subprogram int rewrite(struct __sk_buff *ctx, struct packet *p, enum side side, const union addr *to,
				__be16 port)
{
	union addr *at = side == SIDE_SOURCE ? &p->tuple.saddr : &p->tuple.daddr;
	__be16 *port_at = side == SIDE_SOURCE ? &p->tuple.sport : &p->tuple.dport;
	__s64 difference = address_difference(p->ipv6, at, to);

	if (!(p->flags & PACKET_LATER_FRAGMENT)) {
		bool ported = p->flags & (PACKET_HAS_PORTS | PACKET_ECHO);
		int reason = rewrite_l4(ctx, p, side, difference, ported ? *port_at : 0, ported ? port : 0);

		if (reason)
			return reason;
	}
	if (store_address(ctx, p->ipv6, l3_address_offset(p->ipv6, side), to))
		return DROP_WRITE_FAILED;
	if (!p->ipv6 &&
	    bpf_l3_csum_replace(ctx, ETH_HLEN + offsetof(struct iphdr, check), 0, (__u64)difference, 0))
		return DROP_WRITE_FAILED;
	*at = *to;
	if (p->flags & (PACKET_HAS_PORTS | PACKET_ECHO)) {
		*port_at = port;
		if (p->flags & PACKET_ECHO)
			p->tuple.sport = p->tuple.dport = port;
	}
	return 0;
}

/* One hop less, and the MAC addresses of the last hop: source, destination. TTL must be over 1. */
inlined int route_frame(struct __sk_buff *ctx, const struct packet *p, const __u8 *source, const __u8 *destination)
{
	struct cursor c;
	struct ethhdr *eth;

	if (p->ipv6) {
		struct ipv6hdr *ip;
		__u32 before;

		eth = frame_start(&c, ctx, sizeof(*eth) + sizeof(*ip));
		if (!eth)
			return DROP_WRITE_FAILED;
		ip = (void *)(eth + 1);
		before = *(__be16 *)&ip->nexthdr;
		ip->hop_limit--;
		/* Only where the device summed the packet: says so by an error otherwise. */
		bpf_csum_update(ctx, (__wsum)((~before & 0xffff) + *(__be16 *)&ip->nexthdr));
	} else {
		struct iphdr *ip;
		__u32 sum;

		eth = frame_start(&c, ctx, sizeof(*eth) + sizeof(*ip));
		if (!eth)
			return DROP_WRITE_FAILED;
		ip = (void *)(eth + 1);
		ip->ttl--;
		sum = (__u32)ip->check + bpf_htons(0x0100); /* RFC 1624 for a decrement by one */
		ip->check = (__be16)(sum + (sum >= 0xffff));
	}
	if (source)
		__builtin_memcpy(eth->h_source, source, ETH_ALEN);
	if (destination)
		__builtin_memcpy(eth->h_dest, destination, ETH_ALEN);
	return 0;
}

/* What a header's checksum field holds, from the sum over what it covers. */
inlined __u16 fold_checksum(__s64 sum)
{
	__u32 s = (__u32)sum;

	s = (s & 0xffff) + (s >> 16);
	s = (s & 0xffff) + (s >> 16);
	return (__u16)~s;
}

/* MAC addresses alone, for packets that end or begin on this node. */
inlined int address_frame(struct __sk_buff *ctx, const __u8 *source, const __u8 *destination)
{
	struct cursor c;
	struct ethhdr *eth = frame_start(&c, ctx, sizeof(*eth));

	if (!eth)
		return DROP_WRITE_FAILED;
	__builtin_memcpy(eth->h_source, source, ETH_ALEN);
	__builtin_memcpy(eth->h_dest, destination, ETH_ALEN);
	return 0;
}
