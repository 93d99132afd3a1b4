// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* tcx ingress of the VXLAN device: the tunnel key's network identifier is the sender's identity. */
#include "lib/dsr_accept.h"
#include "lib/egress_gateway.h"
#include "lib/ingress.h"
#include "lib/route.h"
#include "lib/stages.h"

/* The sender's identity; 0: the ipcache knows better; negative: refused. */
inlined int sender_identity(const struct packet *p, __u32 vni)
{
	switch (vni) {
	case IDENTITY_HOST:
		return -1; /* "this node itself" never comes over a wire */
	case IDENTITY_UNKNOWN:
	case IDENTITY_REMOTE_NODE:
	case IDENTITY_KUBE_APISERVER:
		return 0;
	case IDENTITY_WORLD:
		return (int)world_identity(p->ipv6);
	default:
		return (int)vni;
	}
}

/* The tunnel's network identifier, 24 bits; negative without a tunnel key. */
noinline_subprogram int network_identifier(struct __sk_buff *ctx)
{
	struct bpf_tunnel_key key = {};

	/* The size without the local address: what kernels before 5.19 know. */
	if (bpf_skb_get_tunnel_key(ctx, &key, offsetof(struct bpf_tunnel_key, local_ipv4), 0) &&
	    bpf_skb_get_tunnel_key(ctx, &key, offsetof(struct bpf_tunnel_key, local_ipv4), BPF_F_TUNINFO_IPV6))
		return -1;
	return (int)(key.tunnel_id & 0xffffff);
}

/* For an address that lives elsewhere by now: this node was its home, and others have yet to learn of it. */
inlined enum verdict onwards(struct __sk_buff *ctx, struct packet *p)
{
	const struct ipcache_entry *peer = ipcache_lookup(&p->tuple.daddr);

	if (!overlay_ifindex || !peer || addr_is_zero(&peer->tunnel_endpoint))
		return drop(ctx, p, DROP_NO_ENDPOINT);
	/* The hop limit ends what two nodes send to each other. */
	if (p->ttl <= 1)
		return drop(ctx, p, DROP_TTL_EXCEEDED);
	if (route_frame(ctx, p, NULL, NULL))
		return drop(ctx, p, DROP_WRITE_FAILED);
	return to_tunnel(ctx, p, &peer->tunnel_endpoint, p->source_identity, overlay_ifindex);
}

/* For nobody here: from a pod elsewhere to the world, if this node is its egress gateway, or to a pod that moved. */
inlined enum verdict to_others(struct __sk_buff *ctx, struct packet *p)
{
	const struct egress_route *route =
		runtime_uses(USE_EGRESS) ? egress_lookup(&p->tuple.saddr, &p->tuple.daddr) : NULL;
	const struct endpoint *self = route ? endpoint_lookup(&route->gateway) : NULL;
	enum verdict verdict;

	if (endpoint_lookup(&p->tuple.saddr))
		return drop(ctx, p, DROP_SPOOFED_SOURCE);
	if (!self || !(self->flags & ENDPOINT_HOST))
		return onwards(ctx, p);
	if (p->ttl <= 1)
		return drop(ctx, p, DROP_TTL_EXCEEDED);
	metric_add(COUNT_EGRESS_GATEWAY, DIR_TRANSIT, p->length);
	/* to_network gives it the address. */
	ctx->mark = MARK_EGRESS;
	verdict = to_network_device(ctx, p);
	return verdict == VERDICT_ERROR ? drop(ctx, p, DROP_TOO_BIG) : verdict;
}

SEC("tc")
int from_overlay(struct __sk_buff *ctx)
{
	struct packet p = { .hook = HOOK_FROM_OVERLAY, .direction = DIR_TRANSIT };
	int reason, identity, vni = network_identifier(ctx);
	struct endpoint *ep;

	if (vni < 0) {
		p.length = ctx->len;
		return drop(ctx, &p, DROP_TUNNEL_KEY);
	}
	reason = parse_l3(ctx, &p);
	if (reason)
		return drop(ctx, &p, (__u32)reason);
	identity = sender_identity(&p, (__u32)vni);
	p.source_identity = (__u32)vni;
	if (identity < 0)
		return drop(ctx, &p, DROP_TUNNEL_IDENTITY);
	/* The inner frame bears any MAC address: nobody resolved one. */
	bpf_skb_change_type(ctx, PACKET_HOST);
	ep = endpoint_lookup(&p.tuple.daddr);
	if (!ep)
		return to_others(ctx, &p);
	if (ep->flags & ENDPOINT_HOST) {
		if (endpoint_lookup(&p.tuple.saddr))
			return drop(ctx, &p, DROP_SPOOFED_SOURCE);
		if (runtime_uses(USE_EXTERNAL | USE_EGRESS))
			bpf_tail_call(ctx, &stages, STAGE_RETURN);
		return to_this_node(ctx, &p);
	}
	reason = parse_l4(ctx, &p);
	if (!reason && unlikely(dsr_possible(&p)))
		reason = dsr_accept(ctx, &p);
	if (!reason)
		reason = pod_ingress(ctx, &p, ep, (__u32)identity, true);
	if (reason)
		return drop(ctx, &p, (__u32)reason);
	if (p.ttl <= 1)
		return drop(ctx, &p, DROP_TTL_EXCEEDED);
	return to_local_pod(ctx, &p, ep);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
