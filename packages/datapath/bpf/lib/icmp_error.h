/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* ICMP errors that the node itself sends back to a pod, made from the packet that cannot go on:
 * "too big" (RFC 1191, RFC 8201), "time exceeded", "port unreachable". */
#pragma once

#include "endpoints.h"
#include "events.h"
#include "rewrite.h"

/* How much of the packet is quoted, in bytes: room for a header with options and the first of L4, and
 * enough that a TCP checksum left to the device still lies within. */
#define QUOTE_MAX 128
#define QUOTE_STEP 32

struct icmp_error {
	__u8 type;
	__u8 code;
	__u16 mtu;
	__u32 pad;
	union addr from;
};

/* Sum over `size` bytes at `offset`; size is a multiple of four up to QUOTE_MAX. Negative: out of bounds. A
 * global function, so that the verifier walks its loops once. */
__attribute__((noinline)) __s64 sum_bytes(struct __sk_buff *ctx, __u32 offset, __u32 size)
{
	__be32 chunk[QUOTE_STEP / 4];
	__s64 sum = 0;

	for (__u32 done = 0; done < QUOTE_MAX; done += QUOTE_STEP) {
		if (done + QUOTE_STEP <= size) {
			if (bpf_skb_load_bytes(ctx, offset + done, chunk, QUOTE_STEP))
				return -1;
			sum = bpf_csum_diff(NULL, 0, chunk, QUOTE_STEP, (__wsum)sum);
			continue;
		}
		for (__u32 rest = done; rest < done + QUOTE_STEP && rest < size; rest += 4) {
			if (bpf_skb_load_bytes(ctx, offset + rest, chunk, 4))
				return -1;
			sum = bpf_csum_diff(NULL, 0, chunk, 4, (__wsum)sum);
		}
		break;
	}
	return sum;
}

inlined int icmp_error_ipv4(struct __sk_buff *ctx, const struct packet *p, const struct icmp_error *e, __u32 quote)
{
	struct {
		struct iphdr ip;
		struct icmphdr icmp;
	} header = {
		.ip = {
			.version = 4,
			.ihl = 5,
			.tos = 0xc0, /* internetwork control (RFC 1812, 4.3.2.5) */
			.tot_len = bpf_htons((__u16)(sizeof(header) + quote)),
			.ttl = 64,
			.protocol = IPPROTO_ICMP,
			.saddr = e->from.w[3],
			.daddr = p->tuple.saddr.w[3],
		},
		.icmp = { .type = e->type, .code = e->code, .un.frag.mtu = bpf_htons(e->mtu) },
	};
	__s64 sum = sum_bytes(ctx, ETH_HLEN, quote);

	if (sum < 0)
		return DROP_WRITE_FAILED;
	header.icmp.checksum = fold_checksum(bpf_csum_diff(NULL, 0, (__be32 *)&header.icmp, sizeof(header.icmp), (__wsum)sum));
	header.ip.check = fold_checksum(bpf_csum_diff(NULL, 0, (__be32 *)&header.ip, sizeof(header.ip), 0));
	if (bpf_skb_adjust_room(ctx, sizeof(header), BPF_ADJ_ROOM_MAC, 0) ||
	    bpf_skb_store_bytes(ctx, ETH_HLEN, &header, sizeof(header), BPF_F_RECOMPUTE_CSUM))
		return DROP_WRITE_FAILED;
	return 0;
}

inlined int icmp_error_ipv6(struct __sk_buff *ctx, const struct packet *p, const struct icmp_error *e, __u32 quote)
{
	struct {
		struct ipv6hdr ip;
		struct icmp6hdr icmp;
	} header = {
		.ip = {
			.version = 6,
			.payload_len = bpf_htons((__u16)(sizeof(struct icmp6hdr) + quote)),
			.nexthdr = IPPROTO_ICMPV6,
			.hop_limit = 64,
		},
		.icmp = { .icmp6_type = e->type, .icmp6_code = e->code },
	};
	/* RFC 8200, 8.1: addresses, length and next header take part. */
	__be32 pseudo[2] = { bpf_htonl(sizeof(struct icmp6hdr) + quote), bpf_htonl(IPPROTO_ICMPV6) };
	__s64 sum = sum_bytes(ctx, ETH_HLEN, quote);

	if (sum < 0)
		return DROP_WRITE_FAILED;
	if (e->type == ICMPV6_PKT_TOOBIG)
		header.icmp.icmp6_mtu = bpf_htonl(e->mtu);
	__builtin_memcpy(&header.ip.saddr, &e->from, 16);
	__builtin_memcpy(&header.ip.daddr, &p->tuple.saddr, 16);
	sum = bpf_csum_diff(NULL, 0, pseudo, sizeof(pseudo), (__wsum)sum);
	sum = bpf_csum_diff(NULL, 0, (__be32 *)&header.ip.saddr, 32, (__wsum)sum);
	header.icmp.icmp6_cksum = fold_checksum(bpf_csum_diff(NULL, 0, (__be32 *)&header.icmp, sizeof(header.icmp), (__wsum)sum));
	if (bpf_skb_adjust_room(ctx, sizeof(header), BPF_ADJ_ROOM_MAC, 0) ||
	    bpf_skb_store_bytes(ctx, ETH_HLEN, &header, sizeof(header), BPF_F_RECOMPUTE_CSUM))
		return DROP_WRITE_FAILED;
	return 0;
}

inlined void icmp_error_fill(struct icmp_error *e, const struct packet *p, const union addr *router)
{
	e->code = 0;
	e->mtu = p->error_mtu;
	e->pad = 0;
	e->from = router ? *router : config_address(p->ipv6 ? &gateway_ipv6 : &gateway_ipv4);
	switch (p->error) {
	case ERROR_TOO_BIG:
		e->type = p->ipv6 ? ICMPV6_PKT_TOOBIG : ICMP_DEST_UNREACH;
		e->code = p->ipv6 ? 0 : ICMP_FRAG_NEEDED;
		break;
	case ERROR_TIME_EXCEEDED:
		e->type = p->ipv6 ? ICMPV6_TIME_EXCEED : ICMP_TIME_EXCEEDED;
		break;
	default:
		/* In the name of the address that was asked for, as a host does that has no listener there. */
		e->type = p->ipv6 ? ICMPV6_DEST_UNREACH : ICMP_DEST_UNREACH;
		e->code = p->ipv6 ? ICMPV6_PORT_UNREACH : ICMP_PORT_UNREACH;
		e->from = p->tuple.daddr;
	}
}

inlined enum reason error_reason(__u32 error)
{
	switch (error) {
	case ERROR_TOO_BIG:
		return DROP_TOO_BIG;
	case ERROR_TIME_EXCEEDED:
		return DROP_TTL_EXCEEDED;
	case ERROR_NO_SUCH_PORT:
		return DROP_NO_SUCH_PORT;
	default:
		return DROP_NO_BACKEND;
	}
}

/* Asks the caller to answer the sender. */
inlined enum verdict error_to_sender(struct packet *p, enum packet_error error, __u32 mtu)
{
	p->error = (__u16)error;
	p->error_mtu = (__u16)mtu;
	return VERDICT_ERROR;
}

/* Makes the error p->error of the packet, which counts as dropped either way; `router` (NULL: the gateway)
 * speaks where the virtual address does not. False where nothing may be answered: an ICMP error, a later fragment (RFC 1122, 3.2.2). */
noinline_subprogram bool icmp_error_make(struct __sk_buff *ctx, const struct packet *p, const union addr *router)
{
	__u32 quote = p->length - ETH_HLEN;
	struct icmp_error e;

	drop(ctx, p, error_reason(p->error));
	icmp_error_fill(&e, p, router);
	if (p->flags & (PACKET_ICMP_ERROR | PACKET_LATER_FRAGMENT) || p->length < ETH_HLEN + sizeof(struct iphdr) ||
	    addr_is_zero(&e.from))
		return false;
	if (quote > QUOTE_MAX)
		quote = QUOTE_MAX;
	quote &= ~3U;
	if (bpf_skb_change_tail(ctx, ETH_HLEN + quote, 0) ||
	    (p->ipv6 ? icmp_error_ipv6(ctx, p, &e, quote) : icmp_error_ipv4(ctx, p, &e, quote)))
		return false;
	metric_add(COUNT_ANSWERED, p->direction & (DIR_COUNT - 1), ETH_HLEN + quote);
	return true;
}

/* Answers the pod behind `ep` in place of its packet. */
inlined enum verdict icmp_error_reply(struct __sk_buff *ctx, const struct packet *p, const struct endpoint *ep)
{
	if (!icmp_error_make(ctx, p, NULL) || address_frame(ctx, ep->host_mac, ep->mac))
		return VERDICT_DROP;
	return (enum verdict)bpf_redirect_peer(ctx->ifindex, 0);
}
