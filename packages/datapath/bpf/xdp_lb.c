// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* XDP of an edge node's network devices: services for clients outside by DSR, for backends on other nodes, before the
 * kernel makes anything of the packet. It chooses as `external` does and shares its conntrack, so that either goes on
 * with what the other began; whatever it is not sure of, a drop above all, it leaves to that. */
#include "lib/conntrack.h"
#include "lib/devices.h"
#include "lib/endpoints.h"
#include "lib/ipcache.h"
#include "lib/service_path.h"
#include "lib/way.h"
#include "lib/xdp_packet.h"

/* Begins the connection {client, virtual address} as external_begin does. False: leave it. */
noinline_subprogram bool edge_begin(struct packet *p, const struct service *service, struct flow *flow, __u32 *backend)
{
	struct affinity_key client = { .client = p->tuple.saddr, .kind = AFFINITY_ADDRESS };
	struct ct_entry chosen = {
		.flags = CT_SERVICE | CT_EXTERNAL | CT_DSR,
		.service = service->id,
		.egress_rule = now_ticks(),
	};

	if ((service->flags & SERVICE_SOURCE_RANGES) && !source_allowed(service, &p->tuple.saddr))
		return false;
	if (endpoint_lookup(&p->tuple.saddr))
		return false;
	*backend = chosen.backend = backend_select(service, &client, tuple_hash(&p->tuple), false);
	if (!chosen.backend)
		return false;
	metric_add(client.pad[0] ? COUNT_SERVICE_AFFINITY : COUNT_SERVICE_SELECTED, DIR_TRANSIT, p->length);
	if (p->tuple.protocol == IPPROTO_TCP) {
		if (p->tcp_flags & (TCP_FIN | TCP_RST))
			return true;
		if (!(p->tcp_flags & TCP_SYN))
			chosen.flags |= CT_MIDSTREAM;
	}
	if (flow->from_b)
		chosen.flags |= CT_ORIGIN_B;
	chosen.expires = now_ticks() + ct_timeout(p->tuple.protocol, chosen.flags);
	return !bpf_map_update_elem(&conntrack, &flow->key, &chosen, BPF_ANY);
}

/* The backend, and whether the packet has to say which socket was called. False: leave it. */
noinline_subprogram bool edge_target(struct packet *p, struct socket *to, bool *opens)
{
	const struct service *service = service_lookup(&p->tuple.daddr, p->tuple.dport, p->tuple.protocol);
	const __u32 wanted = SERVICE_EXTERNAL | SERVICE_DSR;
	const struct backend *backend;
	struct flow flow;
	__u32 id, began;

	if (!service || (service->flags & (wanted | SERVICE_LOCAL_EXTERNAL)) != wanted)
		return false;
	ct_find(&flow, &p->tuple, p->tcp_flags);
	if (flow.entry && (flow.entry->flags & CT_EXTERNAL) && !service_renews(p, flow.entry)) {
		if (!(flow.entry->flags & CT_DSR))
			return false;
		id = flow.entry->backend;
		began = flow.entry->egress_rule;
		service_advance(p, &flow);
	} else {
		began = now_ticks();
		if (!edge_begin(p, service, &flow, &id))
			return false;
	}
	backend = backend_lookup(id);
	if (!backend || endpoint_lookup(&backend->address))
		return false;
	to->address = backend->address;
	to->port = backend->port;
	*opens = dsr_opens(p, began);
	return true;
}

/* The way there for a packet of `size` bytes of IP. False: no way, no neighbour yet, a tunnel, or too large. */
noinline_subprogram bool edge_route(struct xdp_md *ctx, const struct packet *p, const struct socket *to, __u32 size,
				    struct bpf_fib_lookup *fib)
{
	if (overlay_ifindex) {
		const struct ipcache_entry *peer = ipcache_lookup(&to->address);

		if (peer && !addr_is_zero(&peer->tunnel_endpoint))
			return false;
	}
	__builtin_memset(fib, 0, sizeof(*fib));
	fib->ifindex = ctx->ingress_ifindex;
	fib->l4_protocol = p->tuple.protocol;
	fib->sport = p->tuple.sport;
	fib->dport = to->port;
	fib->tot_len = (__u16)size;
	if (p->ipv6) {
		fib->family = AF_INET6;
		__builtin_memcpy(fib->ipv6_src, &p->tuple.saddr, 16);
		__builtin_memcpy(fib->ipv6_dst, &to->address, 16);
	} else {
		fib->family = AF_INET;
		fib->ipv4_src = p->tuple.saddr.w[3];
		fib->ipv4_dst = to->address.w[3];
	}
	return bpf_fib_lookup(ctx, fib, sizeof(*fib), 0) == BPF_FIB_LKUP_RET_SUCCESS;
}

/* Whether the frame is for this device: what a switch floods is another's, who gets it too. */
inlined bool edge_addressed(const struct xdp_md *ctx, const struct xdp_frame *frame)
{
	const struct device *device = device_lookup(ctx->ingress_ifindex);
	const __u16 *to = frame->data, *own;

	if (!device || frame->data + ETH_ALEN > frame->end)
		return false;
	own = (const __u16 *)device->mac;
	return to[0] == own[0] && to[1] == own[1] && to[2] == own[2];
}

SEC("xdp")
int xdp_lb(struct xdp_md *ctx)
{
	struct xdp_frame frame = xdp_open(ctx);
	struct packet p = { .direction = DIR_TRANSIT };
	struct scratch *room = scratch_room();
	struct bpf_fib_lookup *fib;
	struct socket to = {};
	bool opens = false;
	struct ethhdr *eth;

	if (!room)
		return XDP_PASS;
	fib = &room->way.fib;
	if (!edge_addressed(ctx, &frame))
		return XDP_PASS;
	if (!xdp_parse(&frame, &p) || !edge_target(&p, &to, &opens) ||
	    !edge_route(ctx, &p, &to, p.length + (opens ? dsr_size(p.ipv6) : 0), fib))
		return XDP_PASS;
	frame = xdp_open(ctx);
	if (!xdp_redirect(&frame, &p, &to))
		return XDP_PASS;
	/* From here on the packet is no longer what it was. */
	if (opens && !(p.ipv6 ? xdp_dsr_ipv6(ctx, &p) : xdp_dsr_ipv4(ctx, &p))) {
		metric_add(DROP_WRITE_FAILED, DIR_TRANSIT, p.length);
		return XDP_DROP;
	}
	frame = xdp_open(ctx);
	eth = frame.data;
	if ((void *)(eth + 1) > frame.end)
		return XDP_DROP;
	__builtin_memcpy(eth->h_dest, fib->dmac, ETH_ALEN);
	__builtin_memcpy(eth->h_source, fib->smac, ETH_ALEN);
	metric_add(COUNT_EDGE_XDP, DIR_TRANSIT, p.length + ETH_HLEN);
	if (fib->ifindex == ctx->ingress_ifindex)
		return XDP_TX;
	return (int)bpf_redirect(fib->ifindex, 0);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
