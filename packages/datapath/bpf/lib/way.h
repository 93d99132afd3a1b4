/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* The way from this node to another for packets that are no pod's of this node: found before the packet is rewritten,
 * so that what does not fit can be said of the packet as it came. */
#pragma once

#include "ipcache.h"
#include "route.h"

/* Where a connection goes, and how. */
struct target {
	struct socket backend;
	__u32 flags; /* CT_DSR, CT_VIRTUAL */
	__u16 opens; /* the packet is of the connection's beginning */
	__u16 chosen; /* for this packet */
};

/* How a packet leaves this node for another. */
struct way {
	struct bpf_fib_lookup fib;
	union addr tunnel; /* zero: none */
	__u32 mtu;
	int found; /* BPF_FIB_LKUP_RET_* */
};

/* Too large for the stack beneath what is called with it. Nothing interrupts a packet program by another. */
struct scratch {
	struct way way;
	struct target target;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32);
	__type(value, struct scratch);
	__uint(max_entries, 1);
} scratch SEC(".maps");

inlined struct scratch *scratch_room(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&scratch, &zero);
}

/* The way to `backend` for a packet of `size` bytes of IP. */
noinline_subprogram void way_find(struct __sk_buff *ctx, const struct packet *p, const union addr *backend, __u32 size,
				  struct way *way)
{
	const struct ipcache_entry *peer = overlay_ifindex ? ipcache_lookup(backend) : NULL;

	__builtin_memset(way, 0, sizeof(*way));
	if (peer && !addr_is_zero(&peer->tunnel_endpoint)) {
		way->tunnel = peer->tunnel_endpoint;
		way->mtu = overlay_mtu;
		way->found = size > overlay_mtu ? BPF_FIB_LKUP_RET_FRAG_NEEDED : BPF_FIB_LKUP_RET_SUCCESS;
		return;
	}
	fib_ask(&way->fib, ctx, p);
	way->fib.tot_len = (__u16)size;
	if (p->ipv6)
		__builtin_memcpy(way->fib.ipv6_dst, backend, 16);
	else
		way->fib.ipv4_dst = backend->w[3];
	way->found = (int)bpf_fib_lookup(ctx, &way->fib, sizeof(way->fib), fib_flags);
	way->mtu = way->fib.mtu_result;
}

inlined bool way_open(const struct way *way)
{
	return way->found == BPF_FIB_LKUP_RET_SUCCESS || way->found == BPF_FIB_LKUP_RET_NO_NEIGH;
}

/* Sends the packet, which is all rewritten, along the way. `vni`: who speaks, in a tunnel. */
noinline_subprogram enum verdict way_take(struct __sk_buff *ctx, struct packet *p, const struct way *way, __u32 vni)
{
	struct bpf_redir_neigh next = {};

	ctx->mark = MARK_ROUTED;
	if (!way_open(way))
		return VERDICT_PASS; /* the stack cuts it up, or knows a way that the look-up does not */
	if (route_frame(ctx, p, NULL, NULL))
		return drop(ctx, p, DROP_WRITE_FAILED);
	if (!addr_is_zero(&way->tunnel)) {
		bpf_skb_change_type(ctx, PACKET_HOST);
		return to_tunnel(ctx, p, &way->tunnel, vni, overlay_ifindex);
	}
	next.nh_family = way->fib.family;
	if (p->ipv6)
		__builtin_memcpy(next.ipv6_nh, way->fib.ipv6_dst, 16);
	else
		next.ipv4_nh = way->fib.ipv4_dst;
	return (enum verdict)bpf_redirect_neigh(way->fib.ifindex, &next, sizeof(next), 0);
}
