/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* From bytes to a struct packet, in two steps: parse_l3 finds addresses (enough to know whether the
 * packet concerns a pod), parse_l4 ports. Both return 0 or a drop reason. The L3 header is read in place
 * through a cursor; L4 by bpf_skb_load_bytes, whose bounds hold for any offset and non-linear data. */
#pragma once

#include <linux/icmpv6.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>
#include <linux/udp.h>

#include "config.h"
#include "fragments.h"
#include "icmp.h"
#include "drop_reasons.h"

#define IPV4_MORE_FRAGMENTS 0x2000
#define IPV4_DONT_FRAGMENT 0x4000
#define IPV4_FRAGMENT_OFFSET 0x1fff

#define EXTENSION_HOP_BY_HOP 0
#define EXTENSION_ROUTING 43
#define EXTENSION_FRAGMENT 44
#define EXTENSION_AUTHENTICATION 51
#define EXTENSION_DESTINATION 60
#define EXTENSION_MOBILITY 135
#define EXTENSION_HEADERS_MAX 6

#ifndef IPPROTO_SCTP
#define IPPROTO_SCTP 132
#endif

/* A place in the linear part of the frame. */
struct cursor {
	void *pos;
	void *end;
};

inlined void cursor_open(struct cursor *c, const struct __sk_buff *ctx)
{
	/* By hand: the compiler may keep the address of a context field in a register, which the verifier
	 * refuses to read from. */
	asm volatile("%0 = *(u32 *)(%1 + %2)" : "=r"(c->pos) : "r"(ctx), "i"(offsetof(struct __sk_buff, data)));
	asm volatile("%0 = *(u32 *)(%1 + %2)" : "=r"(c->end) : "r"(ctx), "i"(offsetof(struct __sk_buff, data_end)));
}

/* The next `size` bytes, or NULL. */
inlined void *cursor_take(struct cursor *c, __u32 size)
{
	void *here = c->pos;

	if (here + size > c->end)
		return NULL;
	c->pos = here + size;
	return here;
}

/* As cursor_take from the frame's start, pulling bytes into the linear part when they are not there. */
inlined void *frame_start(struct cursor *c, struct __sk_buff *ctx, __u32 size)
{
	cursor_open(c, ctx);
	if (unlikely(c->pos + size > c->end)) {
		if (bpf_skb_pull_data(ctx, size))
			return NULL;
		cursor_open(c, ctx);
	}
	return cursor_take(c, size);
}

inlined int parse_ipv4(struct __sk_buff *ctx, struct packet *p)
{
	struct cursor c;
	const struct iphdr *ip = frame_start(&c, ctx, ETH_HLEN + sizeof(*ip));
	__u32 header, total, fragment;

	if (!ip)
		return DROP_MALFORMED;
	ip = (void *)ip + ETH_HLEN;
	header = ip->ihl * 4;
	total = bpf_ntohs(ip->tot_len);
	/* A length of zero is a segment of more than 64 KiB that the kernel has yet to cut (BIG TCP). */
	if (ip->version != 4 || header < sizeof(*ip) || ETH_HLEN + header > ctx->len ||
	    (total < header && !(total == 0 && ctx->gso_size)) || ETH_HLEN + total > ctx->len)
		return DROP_MALFORMED;
	p->tuple.saddr.d[0] = p->tuple.daddr.d[0] = hide(0);
	p->tuple.saddr.w[2] = p->tuple.daddr.w[2] = (__be32)hide(ADDR_V4_PREFIX);
	p->tuple.saddr.w[3] = ip->saddr;
	p->tuple.daddr.w[3] = ip->daddr;
	p->tuple.protocol = ip->protocol;
	p->ttl = ip->ttl;
	p->l4 = ETH_HLEN + header;
	fragment = bpf_ntohs(ip->frag_off);
	if (fragment & IPV4_DONT_FRAGMENT)
		p->flags |= PACKET_DONT_FRAGMENT;
	if (unlikely(fragment & (IPV4_MORE_FRAGMENTS | IPV4_FRAGMENT_OFFSET))) {
		p->flags |= PACKET_FRAGMENT;
		if (fragment & IPV4_FRAGMENT_OFFSET)
			p->flags |= PACKET_LATER_FRAGMENT;
		p->fragment_id = ip->id;
	}
	return 0;
}

/* Walks a bounded number of extension headers (RFC 8200, 4.1). */
noinline_subprogram int parse_extensions(struct __sk_buff *ctx, struct packet *p, __u32 next)
{
	__u32 offset = ETH_HLEN + IP6_HLEN;
	__u8 header[8];

	for (int i = 0; i < EXTENSION_HEADERS_MAX; i++) {
		switch (next) {
		case EXTENSION_HOP_BY_HOP:
		case EXTENSION_ROUTING:
		case EXTENSION_DESTINATION:
		case EXTENSION_MOBILITY:
		case EXTENSION_AUTHENTICATION:
		case EXTENSION_FRAGMENT:
			break;
		default:
			p->tuple.protocol = (__u8)next;
			p->l4 = offset;
			return 0;
		}
		if (bpf_skb_load_bytes(ctx, offset, header, sizeof(header)))
			return DROP_MALFORMED;
		if (next == EXTENSION_FRAGMENT) {
			p->flags |= PACKET_FRAGMENT;
			p->fragment_id = *(__be32 *)&header[4];
			offset += 8;
			if (header[2] | (header[3] & 0xf8)) {
				/* Its bytes belong to the middle of a packet: nothing more to read. */
				p->flags |= PACKET_LATER_FRAGMENT;
				p->tuple.protocol = header[0];
				p->l4 = offset;
				return 0;
			}
			/* An "atomic" fragment (RFC 6946) is whole. */
			if (!(header[3] & 1))
				p->flags &= (__u8)~PACKET_FRAGMENT;
		} else if (next == EXTENSION_AUTHENTICATION) {
			offset += (header[1] + 2) * 4;
		} else {
			offset += (header[1] + 1) * 8;
		}
		next = header[0];
	}
	return DROP_EXTENSION_HEADERS;
}

inlined bool is_extension(__u32 next)
{
	return next == EXTENSION_HOP_BY_HOP || next == EXTENSION_ROUTING || next == EXTENSION_FRAGMENT ||
	       next == EXTENSION_AUTHENTICATION || next == EXTENSION_DESTINATION || next == EXTENSION_MOBILITY;
}

inlined int parse_ipv6(struct __sk_buff *ctx, struct packet *p)
{
	struct cursor c;
	const struct ipv6hdr *ip = frame_start(&c, ctx, ETH_HLEN + sizeof(*ip));
	__u32 payload, next;

	if (!ip)
		return DROP_MALFORMED;
	ip = (void *)ip + ETH_HLEN;
	payload = bpf_ntohs(ip->payload_len);
	if (ip->version != 6 || ETH_HLEN + IP6_HLEN + payload > ctx->len)
		return DROP_MALFORMED;
	__builtin_memcpy(&p->tuple.saddr, &ip->saddr, sizeof(p->tuple.saddr));
	__builtin_memcpy(&p->tuple.daddr, &ip->daddr, sizeof(p->tuple.daddr));
	/* A v4-mapped address on the wire would pass for an IPv4 one in our tables. */
	if (addr_is_v4(&p->tuple.saddr) || addr_is_v4(&p->tuple.daddr))
		return DROP_MALFORMED;
	next = ip->nexthdr;
	p->ttl = ip->hop_limit;
	p->ipv6 = 1;
	p->l4 = ETH_HLEN + IP6_HLEN;
	p->tuple.protocol = (__u8)next;
	if (unlikely(is_extension(next)))
		return parse_extensions(ctx, p, next);
	return 0;
}

inlined int parse_l3(struct __sk_buff *ctx, struct packet *p)
{
	p->length = ctx->len;
	if (ctx->protocol == bpf_htons(ETH_P_IP))
		return ipv4_enabled ? parse_ipv4(ctx, p) : DROP_FAMILY_DISABLED;
	if (ctx->protocol == bpf_htons(ETH_P_IPV6))
		return ipv6_enabled ? parse_ipv6(ctx, p) : DROP_FAMILY_DISABLED;
	return DROP_UNSUPPORTED_PROTOCOL;
}

inlined bool icmp_is_error(bool ipv6, __u32 type)
{
	if (ipv6)
		return type < 128; /* RFC 4443, 2.1 */
	return type == ICMP_DEST_UNREACH || type == ICMP_SOURCE_QUENCH || type == ICMP_TIME_EXCEEDED ||
	       type == ICMP_PARAMETERPROB;
}

inlined bool icmp_is_echo(bool ipv6, __u32 type)
{
	if (ipv6)
		return type == ICMPV6_ECHO_REQUEST || type == ICMPV6_ECHO_REPLY;
	return type == ICMP_ECHO || type == ICMP_ECHOREPLY;
}

inlined int parse_icmp(struct __sk_buff *ctx, struct packet *p)
{
	struct icmphdr icmp;

	if (bpf_skb_load_bytes(ctx, p->l4, &icmp, sizeof(icmp)))
		return DROP_MALFORMED;
	p->icmp_type = icmp.type;
	if (icmp_is_error(p->ipv6, icmp.type)) {
		p->flags |= PACKET_ICMP_ERROR;
	} else if (icmp_is_echo(p->ipv6, icmp.type)) {
		p->flags |= PACKET_ECHO;
		p->tuple.sport = p->tuple.dport = icmp.un.echo.id;
	}
	return 0;
}

inlined int parse_ports(struct __sk_buff *ctx, struct packet *p)
{
	union {
		struct {
			__be16 source;
			__be16 dest;
			__be16 length;
			__be16 check;
		} udp;
		struct {
			__be16 source;
			__be16 dest;
			__be32 words[2];
			__u8 offset;
			__u8 flags;
			__be16 window;
			__be32 last;
		} tcp;
	} header;

	if (p->tuple.protocol == IPPROTO_TCP) {
		if (bpf_skb_load_bytes(ctx, p->l4, &header.tcp, sizeof(header.tcp)) || header.tcp.offset < 0x50)
			return DROP_MALFORMED;
		p->tcp_flags = header.tcp.flags;
		p->l4_length = header.tcp.offset >> 4 << 2;
		p->flags |= PACKET_HAS_PORTS;
	} else {
		if (bpf_skb_load_bytes(ctx, p->l4, &header.udp, sizeof(header.udp)))
			return DROP_MALFORMED;
		p->l4_length = sizeof(header.udp);
		if (p->tuple.protocol == IPPROTO_UDP)
			p->flags |= PACKET_HAS_PORTS;
	}
	p->tuple.sport = header.udp.source;
	p->tuple.dport = header.udp.dest;
	return 0;
}

inlined bool protocol_has_ports(__u32 protocol)
{
	return protocol == IPPROTO_TCP || protocol == IPPROTO_UDP || protocol == IPPROTO_SCTP;
}

inlined bool protocol_is_icmp(const struct packet *p)
{
	return p->tuple.protocol == (p->ipv6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP);
}

inlined int parse_l4_header(struct __sk_buff *ctx, struct packet *p)
{
	int reason = 0;

	if (unlikely(p->flags & PACKET_LATER_FRAGMENT)) {
		if (!protocol_has_ports(p->tuple.protocol) && !protocol_is_icmp(p))
			return 0;
		if (!fragment_recall(p))
			return DROP_FRAGMENT_UNKNOWN;
		if (protocol_is_icmp(p))
			p->flags |= PACKET_ECHO;
		else if (p->tuple.protocol != IPPROTO_SCTP)
			p->flags |= PACKET_HAS_PORTS;
		return 0;
	}
	if (protocol_has_ports(p->tuple.protocol))
		reason = parse_ports(ctx, p);
	else if (protocol_is_icmp(p))
		reason = parse_icmp(ctx, p);
	if (unlikely(p->flags & PACKET_FRAGMENT) && !reason)
		fragment_remember(p);
	return reason;
}

inlined int parse_l4(struct __sk_buff *ctx, struct packet *p)
{
	int reason = parse_l4_header(ctx, p);
	__u64 ports = hide((__u64)p->tuple.sport | (__u64)p->tuple.dport << 16 | (__u64)p->tcp_flags << 32 |
			   (__u64)p->icmp_type << 40 | (__u64)p->flags << 48 | (__u64)p->tuple.protocol << 56);
	__u64 rest = hide(p->l4 | (__u64)p->l4_length << 32 | (__u64)p->ttl << 40 | (__u64)p->ipv6 << 48);

	p->tuple.sport = (__be16)ports;
	p->tuple.dport = (__be16)(ports >> 16);
	p->tcp_flags = (__u8)(ports >> 32);
	p->icmp_type = (__u8)(ports >> 40);
	p->flags = (__u8)(ports >> 48);
	p->tuple.protocol = (__u8)(ports >> 56);
	p->l4 = (__u32)rest;
	p->l4_length = (__u8)(rest >> 32);
	p->ttl = (__u8)(rest >> 40);
	p->ipv6 = (__u8)(rest >> 48);
	return reason;
}
