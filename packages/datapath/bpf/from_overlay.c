// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* tcx ingress of the VXLAN device: the tunnel key's network identifier is the sender's identity, if that can be. */
#include "lib/dsr_accept.h"
#include "lib/egress_gateway.h"
#include "lib/ingress.h"
#include "lib/route.h"
#include "lib/stages.h"

/* What the tunnel's header says: who speaks, and which host sent it. */
struct tunnel {
	union addr outer;
	__u32 vni;
	__u32 pad;
};

/* False without a tunnel key. */
inlined bool tunnel_read(struct __sk_buff *ctx, struct tunnel *tunnel)
{
	/* The size without the local address: what kernels before 5.19 know. */
	const __u32 size = offsetof(struct bpf_tunnel_key, local_ipv4);
	struct bpf_tunnel_key key = {};

	if (!bpf_skb_get_tunnel_key(ctx, &key, size, 0))
		addr_set_v4(&tunnel->outer, bpf_htonl(key.remote_ipv4)); /* the helper gives host byte order */
	else if (!bpf_skb_get_tunnel_key(ctx, &key, size, BPF_F_TUNINFO_IPV6))
		__builtin_memcpy(&tunnel->outer, key.remote_ipv6, sizeof(tunnel->outer));
	else
		return false;
	tunnel->vni = key.tunnel_id & 0xffffff;
	return true;
}

/* Whether the header leaves it to the receiver to tell who speaks by the address. */
inlined bool left_to_address(__u32 vni)
{
	return vni == IDENTITY_UNKNOWN || vni == IDENTITY_REMOTE_NODE || vni == IDENTITY_KUBE_APISERVER ||
	       identity_is_world(vni);
}

/* The sender's identity into p->source_identity; 0 or the reason to refuse it. The header is believed about what the
 * sending host holds: the entries that name it and, of a node, its pod CIDR and what nobody else has. Everything else
 * must be what is known of the source anyway: that a host speaks by its own address makes it nobody but who is known
 * there, and only for a node does an address make somebody a workload. */
noinline_subprogram int identify_sender(struct __sk_buff *ctx, struct packet *p)
{
	const struct ipcache_entry *entry;
	struct tunnel tunnel = {};
	__u32 known, vni;
	bool nobody;

	if (!tunnel_read(ctx, &tunnel))
		return DROP_TUNNEL_KEY;
	entry = ipcache_lookup(&p->tuple.saddr);
	known = ipcache_identity(entry, p->ipv6);
	vni = tunnel.vni;

	p->source_identity = vni;
	if (vni == IDENTITY_HOST)
		return DROP_TUNNEL_IDENTITY; /* "this node itself" never comes over a wire */
	if (left_to_address(vni))
		p->source_identity = known;
	nobody = known < IDENTITY_CLUSTER_FIRST || identity_is_world(known);
	if (known == p->source_identity && (vni == known || nobody))
		return 0;
	if (addr_equal(&p->tuple.saddr, &tunnel.outer) &&
	    (left_to_address(vni) || (entry && entry->flags & IPCACHE_NODE)))
		return 0;
	if (entry && addr_equal(&entry->tunnel_endpoint, &tunnel.outer))
		return 0;
	if (!left_to_address(vni) && (!nobody || (entry && !addr_is_zero(&entry->tunnel_endpoint))))
		return DROP_TUNNEL_SOURCE;
	/* An address that nobody has told of yet, or for which the host forwards: by a node alone. */
	return ipcache_is_node(&tunnel.outer) ? 0 : DROP_TUNNEL_SOURCE;
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
	struct endpoint *ep;
	int reason;

	reason = parse_l3(ctx, &p);
	if (!reason)
		reason = identify_sender(ctx, &p);
	if (reason)
		return drop(ctx, &p, (__u32)reason);
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
		reason = pod_ingress(ctx, &p, ep, p.source_identity, true);
	if (reason)
		return drop(ctx, &p, (__u32)reason);
	if (p.ttl <= 1)
		return drop(ctx, &p, DROP_TTL_EXCEEDED);
	return to_local_pod(ctx, &p, ep);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
