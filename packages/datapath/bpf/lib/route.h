/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* The ways out: a pod of this node, the node itself, a tunnel, the native network. Each counts itself. */
#pragma once

#include <linux/if_packet.h>

#include "endpoints.h"
#include "events.h"
#include "icmp_error.h"
#include "rewrite.h"

#define AF_INET 2
#define AF_INET6 10

/* Straight into the pod's namespace: no queue, no second pass through the host's stack. */
noinline_subprogram enum verdict to_local_pod(struct __sk_buff *ctx, struct packet *p, const struct endpoint *ep)
{
	if (route_frame(ctx, p, ep->host_mac, ep->mac))
		return drop(ctx, p, DROP_WRITE_FAILED);
	forwarded(ctx, p, COUNT_TO_POD);
	return (enum verdict)bpf_redirect_peer(ep->ifindex, 0);
}

/* As if it had come in by the device that holds the gateway addresses, so that reverse path filters see
 * the route they expect. */
noinline_subprogram enum verdict to_this_node(struct __sk_buff *ctx, struct packet *p)
{
	__u64 mac = host_device_mac;

	if (address_frame(ctx, (const __u8 *)&mac, (const __u8 *)&mac))
		return drop(ctx, p, DROP_WRITE_FAILED);
	forwarded(ctx, p, COUNT_TO_HOST);
	return (enum verdict)bpf_redirect(host_ifindex, BPF_F_INGRESS);
}

/* Size of the largest IP packet that this frame becomes on the wire: of one segment, where the device or
 * the stack will cut it. */
inlined __u32 wire_size(const struct __sk_buff *ctx, const struct packet *p)
{
	if (ctx->gso_size)
		return p->l4 - ETH_HLEN + p->l4_length + ctx->gso_size;
	return p->length - ETH_HLEN;
}

noinline_subprogram enum verdict to_tunnel(struct __sk_buff *ctx, struct packet *p, const union addr *remote, __u32 vni,
					   __u32 ifindex)
{
	/* What only this node's numbers say is for the receiver to tell by the address. */
	struct bpf_tunnel_key key = {
		.tunnel_id = vni < IDENTITY_OUTSIDE_FIRST ? vni : (__u32)IDENTITY_UNKNOWN,
		.tunnel_ttl = 64,
	};
	__u64 flags;

	if (addr_is_v4(remote)) {
		key.remote_ipv4 = bpf_ntohl(remote->w[3]); /* the helper wants host byte order */
		flags = BPF_F_ZERO_CSUM_TX;
	} else {
		__builtin_memcpy(key.remote_ipv6, remote, 16);
		flags = BPF_F_TUNINFO_IPV6;
	}
	/* The size without the local address: what kernels before 5.19 know. */
	if (bpf_skb_set_tunnel_key(ctx, &key, offsetof(struct bpf_tunnel_key, local_ipv4), flags))
		return drop(ctx, p, DROP_TUNNEL_KEY);
	forwarded(ctx, p, COUNT_TUNNEL);
	return (enum verdict)bpf_redirect(ifindex, 0);
}

inlined void fib_ask(struct bpf_fib_lookup *fib, const struct __sk_buff *ctx, const struct packet *p)
{
	__builtin_memset(fib, 0, sizeof(*fib));
	fib->ifindex = ctx->ifindex;
	fib->l4_protocol = p->tuple.protocol;
	fib->sport = p->tuple.sport;
	fib->dport = p->tuple.dport;
	fib->tot_len = (__u16)wire_size(ctx, p);
	if (p->ipv6) {
		fib->family = AF_INET6;
		__builtin_memcpy(fib->ipv6_src, &p->tuple.saddr, 16);
		__builtin_memcpy(fib->ipv6_dst, &p->tuple.daddr, 16);
	} else {
		fib->family = AF_INET;
		fib->ipv4_src = p->tuple.saddr.w[3];
		fib->ipv4_dst = p->tuple.daddr.w[3];
	}
}

/* By the node's routing table, out of the device at once; the kernel resolves the neighbour. What the
 * table cannot forward goes up the stack, which knows what to answer. */
noinline_subprogram enum verdict to_network_device(struct __sk_buff *ctx, struct packet *p)
{
	struct bpf_fib_lookup fib;
	struct bpf_redir_neigh next;

	fib_ask(&fib, ctx, p);
	switch (bpf_fib_lookup(ctx, &fib, sizeof(fib), fib_flags)) {
	case BPF_FIB_LKUP_RET_SUCCESS:
	case BPF_FIB_LKUP_RET_NO_NEIGH:
		break;
	case BPF_FIB_LKUP_RET_FRAG_NEEDED:
		if (p->ipv6 || (p->flags & PACKET_DONT_FRAGMENT))
			return error_to_sender(p, ERROR_TOO_BIG, fib.mtu_result);
		/* fallthrough: the stack cuts it up */
	default:
		forwarded(ctx, p, COUNT_TO_STACK);
		return VERDICT_PASS;
	}
	if (route_frame(ctx, p, NULL, NULL))
		return drop(ctx, p, DROP_WRITE_FAILED);
	__builtin_memset(&next, 0, sizeof(next));
	next.nh_family = fib.family;
	if (fib.family == AF_INET6)
		__builtin_memcpy(next.ipv6_nh, fib.ipv6_dst, 16);
	else
		next.ipv4_nh = fib.ipv4_dst;
	forwarded(ctx, p, COUNT_NATIVE);
	return (enum verdict)bpf_redirect_neigh(fib.ifindex, &next, sizeof(next), 0);
}
