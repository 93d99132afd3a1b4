/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* The RST with which a host refuses a segment that no socket wants (RFC 9293, 3.10.7.1), made by the node in the
 * name of the service that the pod called. A port-unreachable error would not do: a socket that is still
 * connecting takes that for a passing fault (RFC 1122, 4.2.3.9) and goes on trying. */
#pragma once

#include "icmp_error.h"

/* Only of a segment whose TCP header follows the plain IP header: then the answer fits in its place. */
inlined bool tcp_can_reset(const struct packet *p)
{
	return p->tuple.protocol == IPPROTO_TCP && !(p->flags & PACKET_FRAGMENT) &&
	       p->l4 == ETH_HLEN + (p->ipv6 ? IP6_HLEN : sizeof(struct iphdr));
}

/* The segment's payload in bytes, by the IP header: a frame may be padded. */
inlined __u32 tcp_payload(struct __sk_buff *ctx, const struct packet *p)
{
	__u32 headers = p->l4 + p->l4_length - ETH_HLEN - (p->ipv6 ? IP6_HLEN : 0), size;
	__be16 length = 0;

	if (bpf_skb_load_bytes(ctx, ETH_HLEN + (p->ipv6 ? 4 : 2), &length, sizeof(length)))
		return 0;
	size = bpf_ntohs(length);
	return size > headers ? size - headers : 0;
}

/* Number, acknowledgement and flags of the answer. `payload` in bytes. */
inlined void tcp_reset_fill(struct tcphdr *reset, const struct tcphdr *segment, __u32 payload)
{
	*reset = (struct tcphdr){
		.source = segment->dest,
		.dest = segment->source,
		.doff = sizeof(*reset) / 4,
		.rst = 1,
	};
	if (segment->ack) {
		reset->seq = segment->ack_seq;
		return;
	}
	reset->ack = 1;
	reset->ack_seq = bpf_htonl(bpf_ntohl(segment->seq) + payload + segment->syn + segment->fin);
}

inlined int tcp_reset_write(struct __sk_buff *ctx, const struct packet *p, struct tcphdr *reset)
{
	union {
		struct iphdr v4;
		struct ipv6hdr v6;
	} ip = {};
	__be32 pseudo[2] = { bpf_htonl(sizeof(*reset)), bpf_htonl(IPPROTO_TCP) };
	__s64 sum = bpf_csum_diff(NULL, 0, pseudo, sizeof(pseudo), 0);
	__u32 size = p->ipv6 ? sizeof(ip.v6) : sizeof(ip.v4);

	if (p->ipv6) {
		ip.v6.version = 6;
		ip.v6.payload_len = bpf_htons(sizeof(*reset));
		ip.v6.nexthdr = IPPROTO_TCP;
		ip.v6.hop_limit = 64;
		__builtin_memcpy(&ip.v6.saddr, &p->tuple.daddr, 16);
		__builtin_memcpy(&ip.v6.daddr, &p->tuple.saddr, 16);
		sum = bpf_csum_diff(NULL, 0, (__be32 *)&ip.v6.saddr, 32, (__wsum)sum);
	} else {
		ip.v4.version = 4;
		ip.v4.ihl = 5;
		ip.v4.tot_len = bpf_htons(sizeof(ip.v4) + sizeof(*reset));
		ip.v4.ttl = 64;
		ip.v4.protocol = IPPROTO_TCP;
		ip.v4.saddr = p->tuple.daddr.w[3];
		ip.v4.daddr = p->tuple.saddr.w[3];
		ip.v4.check = fold_checksum(bpf_csum_diff(NULL, 0, (__be32 *)&ip.v4, sizeof(ip.v4), 0));
		sum = bpf_csum_diff(NULL, 0, (__be32 *)&ip.v4.saddr, 8, (__wsum)sum);
	}
	reset->check = fold_checksum(bpf_csum_diff(NULL, 0, (__be32 *)reset, sizeof(*reset), (__wsum)sum));
	if (bpf_skb_change_tail(ctx, ETH_HLEN + size + sizeof(*reset), 0) ||
	    (p->ipv6 ? bpf_skb_store_bytes(ctx, ETH_HLEN, &ip.v6, sizeof(ip.v6), BPF_F_RECOMPUTE_CSUM) :
		       bpf_skb_store_bytes(ctx, ETH_HLEN, &ip.v4, sizeof(ip.v4), BPF_F_RECOMPUTE_CSUM)))
		return DROP_WRITE_FAILED;
	return bpf_skb_store_bytes(ctx, ETH_HLEN + size, reset, sizeof(*reset), BPF_F_RECOMPUTE_CSUM) ?
		       DROP_WRITE_FAILED :
		       0;
}

/* Makes the segment its refusal. It counts as dropped either way. A RST is never answered with one. */
noinline_subprogram bool tcp_reset_make(struct __sk_buff *ctx, const struct packet *p)
{
	struct tcphdr segment, reset;

	drop(ctx, p, error_reason(p->error));
	if (p->tcp_flags & TCP_RST || bpf_skb_load_bytes(ctx, p->l4, &segment, sizeof(segment)))
		return false;
	tcp_reset_fill(&reset, &segment, tcp_payload(ctx, p));
	if (tcp_reset_write(ctx, p, &reset))
		return false;
	metric_add(COUNT_ANSWERED, p->direction & (DIR_COUNT - 1), p->l4 + sizeof(reset));
	return true;
}

/* Answers the pod behind `ep` in place of its segment. */
inlined enum verdict tcp_reset_reply(struct __sk_buff *ctx, const struct packet *p, const struct endpoint *ep)
{
	if (!tcp_reset_make(ctx, p) || address_frame(ctx, ep->host_mac, ep->mac))
		return VERDICT_DROP;
	return (enum verdict)bpf_redirect_peer(ctx->ifindex, 0);
}
