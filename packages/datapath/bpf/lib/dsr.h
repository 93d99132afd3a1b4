/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Direct server return: the packet that opens a connection carries the socket that its client called to the
 * backend's node, which from then on answers in that name. An IP option is what carries it: IPv4 option 158, IPv6
 * destination option 0x1e, both of those that RFC 4727 leaves to experiments. An option needs no tunnel device, costs
 * the path no room after the first packet, and leaves addresses and ports where the fabric's hashes look for them.
 * It is taken off again before the pod sees the packet. */
#pragma once

#include "events.h"
#include "rewrite.h"

#define DSR_IPV4_OPTION 158 /* copied into fragments; class 0, number 30 */
#define DSR_IPV6_OPTION 0x1e /* who does not know it passes it over; does not change on its way */

struct dsr_ipv4 {
	__u8 type;
	__u8 length;
	__be16 port;
	__be32 address;
};

struct dsr_ipv6 {
	__u8 next; /* RFC 8200, 4.6 */
	__u8 words; /* of 8 bytes, after the first */
	__u8 type;
	__u8 length;
	__be16 port;
	__u16 pad;
	union addr address;
};

/* Whether the packet is one of those that carry the socket which the client called, of a connection that began at
 * this tick. Datagrams have no SYN: all of the first seconds do, as the first may be lost. */
inlined bool dsr_opens(const struct packet *p, __u32 began)
{
	return p->tuple.protocol == IPPROTO_TCP ? p->tcp_flags & TCP_SYN : now_ticks() - began < 4;
}

inlined __u32 dsr_size(bool ipv6)
{
	return ipv6 ? sizeof(struct dsr_ipv6) : sizeof(struct dsr_ipv4);
}

/* An IPv4 header as it is with `change` bytes of options more; `bytes` is the sum over those. */
inlined struct iphdr dsr_header(const struct iphdr *old, int change, __s64 bytes)
{
	struct iphdr ip = *old;

	ip.ihl += change / 4;
	ip.tot_len = bpf_htons((__u16)(bpf_ntohs(ip.tot_len) + change));
	/* The field itself is in both and takes no part. */
	ip.check = fold_checksum(bpf_csum_diff((__be32 *)old, sizeof(*old), (__be32 *)&ip, sizeof(ip), (__wsum)bytes) +
				 (__u16)~old->check);
	return ip;
}

inlined int dsr_write_ipv4(struct __sk_buff *ctx, const struct socket *virtual)
{
	struct dsr_ipv4 option = {
		.type = DSR_IPV4_OPTION,
		.length = sizeof(option),
		.port = virtual->port,
		.address = virtual->address.w[3],
	};
	struct iphdr ip;

	if (bpf_skb_load_bytes(ctx, ETH_HLEN, &ip, sizeof(ip)) || ip.ihl > 13)
		return DROP_WRITE_FAILED;
	ip = dsr_header(&ip, sizeof(option), bpf_csum_diff(NULL, 0, (__be32 *)&option, sizeof(option), 0));
	if (bpf_skb_adjust_room(ctx, sizeof(option), BPF_ADJ_ROOM_NET, 0) ||
	    bpf_skb_store_bytes(ctx, ETH_HLEN, &ip, sizeof(ip), BPF_F_RECOMPUTE_CSUM) ||
	    bpf_skb_store_bytes(ctx, ETH_HLEN + sizeof(ip), &option, sizeof(option), BPF_F_RECOMPUTE_CSUM))
		return DROP_WRITE_FAILED;
	return 0;
}

/* Payload length and next header of an IPv6 packet. */
inlined int dsr_relink(struct __sk_buff *ctx, __be16 length, __u8 next)
{
	return bpf_skb_store_bytes(ctx, ETH_HLEN + offsetof(struct ipv6hdr, payload_len), &length, sizeof(length),
				   BPF_F_RECOMPUTE_CSUM) ||
	       bpf_skb_store_bytes(ctx, ETH_HLEN + offsetof(struct ipv6hdr, nexthdr), &next, sizeof(next),
				   BPF_F_RECOMPUTE_CSUM);
}

inlined int dsr_write_ipv6(struct __sk_buff *ctx, const struct socket *virtual)
{
	struct dsr_ipv6 option = {
		.words = sizeof(option) / 8 - 1,
		.type = DSR_IPV6_OPTION,
		.length = sizeof(option) - 4,
		.port = virtual->port,
		.address = virtual->address,
	};
	struct ipv6hdr ip;
	__be16 length;

	if (bpf_skb_load_bytes(ctx, ETH_HLEN, &ip, sizeof(ip)))
		return DROP_WRITE_FAILED;
	option.next = ip.nexthdr;
	length = bpf_htons((__u16)(bpf_ntohs(ip.payload_len) + sizeof(option)));
	if (bpf_skb_adjust_room(ctx, sizeof(option), BPF_ADJ_ROOM_NET, 0) ||
	    dsr_relink(ctx, length, EXTENSION_DESTINATION) ||
	    bpf_skb_store_bytes(ctx, ETH_HLEN + IP6_HLEN, &option, sizeof(option), BPF_F_RECOMPUTE_CSUM))
		return DROP_WRITE_FAILED;
	return 0;
}

/* Puts the option in. 0 or a drop reason. */
noinline_subprogram int dsr_write(struct __sk_buff *ctx, struct packet *p, const struct socket *virtual)
{
	int reason = p->ipv6 ? dsr_write_ipv6(ctx, virtual) : dsr_write_ipv4(ctx, virtual);

	p->l4 += dsr_size(p->ipv6);
	p->length += dsr_size(p->ipv6);
	return reason;
}

/* Whether there is room for an option before the L4 header: without a look at the packet. */
inlined bool dsr_possible(const struct packet *p)
{
	return p->l4 >= ETH_HLEN + (p->ipv6 ? IP6_HLEN : sizeof(struct iphdr)) + dsr_size(p->ipv6);
}

/* Takes a socket out of the option that is the first of the packet. False: there is none. */
noinline_subprogram bool dsr_read(struct __sk_buff *ctx, const struct packet *p, struct socket *virtual)
{
	union {
		struct dsr_ipv4 v4;
		struct dsr_ipv6 v6;
	} option;
	__u8 next = 0;

	if (!p->ipv6) {
		if (bpf_skb_load_bytes(ctx, ETH_HLEN + sizeof(struct iphdr), &option.v4, sizeof(option.v4)) ||
		    option.v4.type != DSR_IPV4_OPTION || option.v4.length != sizeof(option.v4))
			return false;
		addr_set_v4(&virtual->address, option.v4.address);
		virtual->port = option.v4.port;
		return true;
	}
	if (bpf_skb_load_bytes(ctx, ETH_HLEN + offsetof(struct ipv6hdr, nexthdr), &next, 1) ||
	    next != EXTENSION_DESTINATION ||
	    bpf_skb_load_bytes(ctx, ETH_HLEN + IP6_HLEN, &option.v6, sizeof(option.v6)) ||
	    option.v6.words != sizeof(option.v6) / 8 - 1 || option.v6.type != DSR_IPV6_OPTION ||
	    option.v6.length != sizeof(option.v6) - 4)
		return false;
	virtual->address = option.v6.address;
	virtual->port = option.v6.port;
	/* Such an address on the wire would pass for one of IPv4 in our tables. */
	return !addr_is_v4(&virtual->address);
}

/* Takes out the option that dsr_read found. 0 or a drop reason. */
noinline_subprogram int dsr_strip(struct __sk_buff *ctx, struct packet *p)
{
	__u32 size = dsr_size(p->ipv6);

	if (p->ipv6) {
		struct ipv6hdr ip;
		__u8 next = 0;

		if (bpf_skb_load_bytes(ctx, ETH_HLEN, &ip, sizeof(ip)) ||
		    bpf_skb_load_bytes(ctx, ETH_HLEN + IP6_HLEN, &next, 1) ||
		    bpf_skb_adjust_room(ctx, -(__s32)sizeof(struct dsr_ipv6), BPF_ADJ_ROOM_NET, 0) ||
		    dsr_relink(ctx, bpf_htons((__u16)(bpf_ntohs(ip.payload_len) - sizeof(struct dsr_ipv6))), next))
			return DROP_WRITE_FAILED;
	} else {
		struct dsr_ipv4 option;
		struct iphdr ip;

		if (bpf_skb_load_bytes(ctx, ETH_HLEN, &ip, sizeof(ip)) ||
		    bpf_skb_load_bytes(ctx, ETH_HLEN + sizeof(ip), &option, sizeof(option)))
			return DROP_WRITE_FAILED;
		ip = dsr_header(&ip, -(int)sizeof(option), bpf_csum_diff((__be32 *)&option, sizeof(option), NULL, 0, 0));
		if (bpf_skb_adjust_room(ctx, -(__s32)sizeof(option), BPF_ADJ_ROOM_NET, 0) ||
		    bpf_skb_store_bytes(ctx, ETH_HLEN, &ip, sizeof(ip), BPF_F_RECOMPUTE_CSUM))
			return DROP_WRITE_FAILED;
	}
	p->l4 -= size;
	p->length -= size;
	return 0;
}
