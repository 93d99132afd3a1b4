/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* A packet before the kernel makes an skb of it: read and rewritten in place, through bounds that the verifier checks.
 * Whatever is not plain (options, extension headers, fragments, the last hop) is left to the programs behind. */
#pragma once

#include "dsr.h"

struct xdp_frame {
	void *data;
	void *end;
};

inlined struct xdp_frame xdp_open(const struct xdp_md *ctx)
{
	struct xdp_frame frame = { .data = (void *)(long)ctx->data, .end = (void *)(long)ctx->data_end };

	return frame;
}

/* Bytes of the Ethernet and IP headers. */
inlined __u32 xdp_headers(bool ipv6)
{
	return ETH_HLEN + (ipv6 ? IP6_HLEN : sizeof(struct iphdr));
}

inlined bool xdp_parse_ipv4(const struct xdp_frame *frame, struct packet *p)
{
	const struct iphdr *ip = frame->data + ETH_HLEN;

	if ((void *)(ip + 1) > frame->end || ip->version != 4 || ip->ihl != 5 || ip->ttl <= 1 ||
	    ip->frag_off & bpf_htons(IPV4_MORE_FRAGMENTS | IPV4_FRAGMENT_OFFSET))
		return false;
	addr_set_v4(&p->tuple.saddr, ip->saddr);
	addr_set_v4(&p->tuple.daddr, ip->daddr);
	p->tuple.protocol = ip->protocol;
	p->length = bpf_ntohs(ip->tot_len);
	return true;
}

inlined bool xdp_parse_ipv6(const struct xdp_frame *frame, struct packet *p)
{
	const struct ipv6hdr *ip = frame->data + ETH_HLEN;

	if ((void *)(ip + 1) > frame->end || ip->version != 6 || ip->hop_limit <= 1)
		return false;
	__builtin_memcpy(&p->tuple.saddr, &ip->saddr, 16);
	__builtin_memcpy(&p->tuple.daddr, &ip->daddr, 16);
	if (addr_is_v4(&p->tuple.saddr) || addr_is_v4(&p->tuple.daddr))
		return false;
	p->tuple.protocol = ip->nexthdr;
	p->length = IP6_HLEN + bpf_ntohs(ip->payload_len);
	p->ipv6 = 1;
	return true;
}

/* False for what is not plain TCP or UDP. p->length is that of the IP packet. */
inlined bool xdp_parse(const struct xdp_frame *frame, struct packet *p)
{
	const struct ethhdr *eth = frame->data;
	const __be16 *ports;

	if ((void *)(eth + 1) > frame->end)
		return false;
	if (eth->h_proto == bpf_htons(ETH_P_IP) && ipv4_enabled) {
		if (!xdp_parse_ipv4(frame, p))
			return false;
	} else if (eth->h_proto == bpf_htons(ETH_P_IPV6) && ipv6_enabled) {
		if (!xdp_parse_ipv6(frame, p))
			return false;
	} else {
		return false;
	}
	ports = frame->data + xdp_headers(p->ipv6);
	if (p->tuple.protocol == IPPROTO_TCP) {
		const struct tcphdr *tcp = (const void *)ports;

		if ((void *)(tcp + 1) > frame->end)
			return false;
		p->tcp_flags = ((const __u8 *)tcp)[13];
	} else if (p->tuple.protocol == IPPROTO_UDP) {
		if ((void *)ports + sizeof(struct udphdr) > frame->end)
			return false;
	} else {
		return false;
	}
	p->tuple.sport = ports[0];
	p->tuple.dport = ports[1];
	return true;
}

/* The checksum field of L4 after the destination changed. A UDP packet without one stays so. */
inlined __u16 xdp_checksum(__u16 check, __s64 difference, bool udp)
{
	__u16 sum;

	if (udp && !check)
		return 0;
	sum = fold_checksum(difference + (__u16)~check);
	return udp && !sum ? 0xffff : sum;
}

/* Another destination, and one hop less. False: out of bounds. */
inlined bool xdp_redirect(const struct xdp_frame *frame, const struct packet *p, const struct socket *to)
{
	__be16 *ports = frame->data + xdp_headers(p->ipv6);
	bool udp = p->tuple.protocol == IPPROTO_UDP;
	__u16 *check = (void *)ports + (udp ? offsetof(struct udphdr, check) : offsetof(struct tcphdr, check));
	__s64 difference;

	if ((void *)(ports + 2) > frame->end || (void *)(check + 1) > frame->end)
		return false;
	if (p->ipv6) {
		struct ipv6hdr *ip = frame->data + ETH_HLEN;

		if ((void *)(ip + 1) > frame->end)
			return false;
		difference = bpf_csum_diff((__be32 *)&p->tuple.daddr, 16, (__be32 *)&to->address, 16, 0);
		__builtin_memcpy(&ip->daddr, &to->address, 16);
		ip->hop_limit--;
	} else {
		struct iphdr *ip = frame->data + ETH_HLEN;

		if ((void *)(ip + 1) > frame->end)
			return false;
		difference = bpf_csum_diff((__be32 *)&p->tuple.daddr.w[3], 4, (__be32 *)&to->address.w[3], 4, 0);
		ip->daddr = to->address.w[3];
		ip->ttl--;
		/* RFC 1624: the hop's byte is the upper one of its word. */
		ip->check = fold_checksum(difference + (__u16)~ip->check + (__u16)~bpf_htons(0x0100));
	}
	*check = xdp_checksum(*check, difference + (__u16)~p->tuple.dport + to->port, udp);
	ports[1] = to->port;
	return true;
}

/* Puts `option` behind headers that are given anew: what was before them moves down, the rest stays where it is. False:
 * no room, or out of bounds. */
inlined bool xdp_insert(struct xdp_md *ctx, const void *headers, __u32 size, const void *option, __u32 length)
{
	struct xdp_frame frame;

	if (bpf_xdp_adjust_head(ctx, -(int)length))
		return false;
	frame = xdp_open(ctx);
	if (frame.data + size + length > frame.end)
		return false;
	__builtin_memcpy(frame.data, headers, size);
	__builtin_memcpy(frame.data + size, option, length);
	return true;
}

/* Ethernet and IP headers on the stack, the latter aligned. */
#define XDP_HEADERS(ip_header) \
	struct { \
		__u8 pad[2]; \
		struct ethhdr eth; \
		ip_header ip; \
	}

noinline_subprogram bool xdp_dsr_ipv4(struct xdp_md *ctx, const struct packet *p)
{
	const __u32 size = ETH_HLEN + sizeof(struct iphdr);
	XDP_HEADERS(struct iphdr) headers;
	struct dsr_ipv4 option = {
		.type = DSR_IPV4_OPTION,
		.length = sizeof(option),
		.port = p->tuple.dport,
		.address = p->tuple.daddr.w[3],
	};
	struct xdp_frame frame = xdp_open(ctx);

	if (frame.data + size > frame.end)
		return false;
	__builtin_memcpy(&headers.eth, frame.data, size);
	headers.ip = dsr_header(&headers.ip, sizeof(option), bpf_csum_diff(NULL, 0, (__be32 *)&option, sizeof(option), 0));
	return xdp_insert(ctx, &headers.eth, size, &option, sizeof(option));
}

noinline_subprogram bool xdp_dsr_ipv6(struct xdp_md *ctx, const struct packet *p)
{
	const __u32 size = ETH_HLEN + IP6_HLEN;
	XDP_HEADERS(struct ipv6hdr) headers;
	struct dsr_ipv6 option = {
		.next = p->tuple.protocol,
		.words = sizeof(option) / 8 - 1,
		.type = DSR_IPV6_OPTION,
		.length = sizeof(option) - 4,
		.port = p->tuple.dport,
		.address = p->tuple.daddr,
	};
	struct xdp_frame frame = xdp_open(ctx);

	if (frame.data + size > frame.end)
		return false;
	__builtin_memcpy(&headers.eth, frame.data, size);
	headers.ip.nexthdr = EXTENSION_DESTINATION;
	headers.ip.payload_len = bpf_htons((__u16)(bpf_ntohs(headers.ip.payload_len) + sizeof(option)));
	return xdp_insert(ctx, &headers.eth, size, &option, sizeof(option));
}
