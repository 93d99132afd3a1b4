/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Services for clients outside of the cluster, on the node that their packets reach. The connection {client, virtual
 * address} keeps its backend, chosen by Maglev: a node that has never seen the connection chooses alike. A backend of
 * this node gets the packet as it came but for its destination. One on another node gets it by DSR (dsr.h: it answers
 * the client itself, and sees its address), or by SNAT: under this node's address, so that the answer comes back
 * here. What a client shall hear of a packet that cannot go on leaves by the device that the packet came by. */
#pragma once

#include "dsr.h"
#include "ingress.h"
#include "nat.h"
#include "tcp_reset.h"
#include "way.h"

/* Back to the sender, out of the device that the packet came by. */
inlined enum verdict reflect(struct __sk_buff *ctx)
{
	__u8 macs[2 * ETH_ALEN];

	if (bpf_skb_load_bytes(ctx, 0, macs, sizeof(macs)) || address_frame(ctx, macs, macs + ETH_ALEN))
		return VERDICT_DROP;
	ctx->mark = MARK_ROUTED;
	return (enum verdict)bpf_redirect(ctx->ifindex, 0);
}

/* Tells the client p->error in place of its packet. This node speaks with the device's address, as a router does. */
noinline_subprogram enum verdict external_refuse(struct __sk_buff *ctx, struct packet *p, enum packet_error error,
						 __u32 mtu)
{
	const struct device *device = device_lookup(ctx->ifindex);
	union addr router = p->tuple.daddr;
	bool made;

	error_to_sender(p, error, mtu);
	if (device && !addr_is_zero(p->ipv6 ? &device->ipv6 : &device->ipv4))
		router = p->ipv6 ? device->ipv6 : device->ipv4;
	if ((error == ERROR_PORT_UNREACHABLE || error == ERROR_NO_SUCH_PORT) && tcp_can_reset(p))
		made = tcp_reset_make(ctx, p);
	else
		made = icmp_error_make(ctx, p, &router);
	return made ? reflect(ctx) : VERDICT_DROP;
}

/* Begins the connection {client, virtual address}. 0 or a drop reason. */
noinline_subprogram int external_begin(struct __sk_buff *ctx, struct packet *p, const struct service *service,
				       struct flow *flow, __u32 *backend)
{
	struct affinity_key client = { .client = p->tuple.saddr, .kind = AFFINITY_ADDRESS };
	struct ct_entry chosen = { .flags = CT_SERVICE | CT_EXTERNAL, .service = service->id };
	bool local = service->flags & SERVICE_LOCAL_EXTERNAL;

	if ((service->flags & SERVICE_SOURCE_RANGES) && !source_allowed(service, &p->tuple.saddr))
		return DROP_SOURCE_RANGE;
	/* No address of this node comes over a wire. */
	if (endpoint_lookup(&p->tuple.saddr))
		return DROP_SPOOFED_SOURCE;
	*backend = chosen.backend = backend_select(service, &client, tuple_hash(&p->tuple), local);
	if (!chosen.backend)
		return local ? DROP_NO_LOCAL_BACKEND : DROP_NO_BACKEND;
	if (service->flags & SERVICE_DSR)
		chosen.flags |= CT_DSR;
	if (service->flags & SERVICE_NODE_PORT)
		chosen.flags |= CT_VIRTUAL;
	chosen.egress_rule = now_ticks(); /* when it began: see dsr_opens */
	decided(ctx, p, client.pad[0] ? COUNT_SERVICE_AFFINITY : COUNT_SERVICE_SELECTED);
	return ct_create(ctx, p, flow, &chosen);
}

/* Where the packet goes that is for `service`. 0 or a drop reason. */
noinline_subprogram int external_target(struct __sk_buff *ctx, struct packet *p, const struct service *service,
					struct target *to)
{
	const struct backend *backend = NULL;
	struct flow flow;
	__u32 id = 0;

	ct_find(&flow, &p->tuple, p->tcp_flags);
	if (flow.entry && (flow.entry->flags & CT_EXTERNAL) && !service_renews(p, flow.entry)) {
		/* A backend that is gone for good: choose again. TCP ends by the new one's reset. */
		backend = backend_lookup(flow.entry->backend);
		if (backend) {
			service_advance(p, &flow);
			to->flags = flow.entry->flags;
			to->opens = dsr_opens(p, flow.entry->egress_rule);
		}
	}
	if (!backend) {
		int reason = external_begin(ctx, p, service, &flow, &id);

		if (reason)
			return reason;
		backend = backend_lookup(id);
		if (!backend)
			return DROP_NO_BACKEND;
		to->flags = (service->flags & SERVICE_DSR ? CT_DSR : 0) |
			    (service->flags & SERVICE_NODE_PORT ? CT_VIRTUAL : 0);
		to->opens = dsr_opens(p, now_ticks());
		to->chosen = 1;
	}
	to->backend.address = backend->address;
	to->backend.port = backend->port;
	return 0;
}

/* The option does not fit: this connection goes by SNAT. */
noinline_subprogram void external_demote(const struct packet *p, struct target *to)
{
	struct ct_entry *entry;
	struct ct_key key;

	ct_key_of(&key, &p->tuple);
	entry = bpf_map_lookup_elem(&conntrack, &key);
	if (entry)
		entry->flags &= ~(__u32)CT_DSR;
	to->flags &= ~(__u32)CT_DSR;
	to->opens = 0;
}

/* The connection {client, backend}, which answers are known by. 0 or a drop reason. */
noinline_subprogram int external_track(struct __sk_buff *ctx, struct packet *p, const struct target *to,
				       const union addr *called)
{
	struct ct_entry seed = { .service = p->service };
	struct flow flow;
	int reason;

	ct_find(&flow, &p->tuple, p->tcp_flags);
	if (likely(flow.entry && flow.entry->service == p->service)) {
		ct_advance(p, &flow);
		return 0;
	}
	if (to->flags & CT_VIRTUAL) {
		reason = virtual_remember(p, called);
		if (reason)
			return reason;
	}
	return ct_create(ctx, p, &flow, &seed);
}

/* The address under which this node sends clients' packets that way: one that the answer finds back to. */
inlined union addr snat_address(const struct __sk_buff *ctx, const struct packet *p, const struct way *way)
{
	const struct device *device;
	union addr none = {};

	if (!addr_is_zero(&way->tunnel))
		return config_address(p->ipv6 ? &gateway_ipv6 : &gateway_ipv4);
	device = device_lookup(way->fib.ifindex);
	if (!device || !(device->flags & DEVICE_NETWORK))
		device = device_lookup(ctx->ifindex);
	return !device ? none : p->ipv6 ? device->ipv6 : device->ipv4;
}

/* To a backend on another node, all but the rest of the way: rewrites the packet. 0 or a drop reason. */
noinline_subprogram int external_translate(struct __sk_buff *ctx, struct packet *p, const struct target *to,
					   const struct way *way)
{
	struct socket called = { .address = p->tuple.daddr, .port = p->tuple.dport };
	struct nat_entry own;
	union addr address;
	int reason;

	reason = rewrite(ctx, p, SIDE_DESTINATION, &to->backend.address, to->backend.port);
	if (reason)
		return reason;
	if (to->flags & CT_DSR)
		return to->opens ? dsr_write(ctx, p, &called) : 0;
	reason = external_track(ctx, p, to, &called.address);
	if (reason)
		return reason;
	address = snat_address(ctx, p, way);
	if (addr_is_zero(&address))
		return DROP_NAT_NO_ADDRESS;
	reason = nat_out(ctx, p, &address, &own);
	return reason ? reason : rewrite(ctx, p, SIDE_SOURCE, &own.address, own.port);
}

noinline_subprogram enum verdict external_forward(struct __sk_buff *ctx, struct packet *p, struct target *to,
						  struct way *way)
{
	__u32 size = wire_size(ctx, p), option;
	int reason;

	if (p->ttl <= 1)
		return external_refuse(ctx, p, ERROR_TIME_EXCEEDED, 0);
	/* Of a fragmented packet the first part carries it. */
	if (p->flags & PACKET_LATER_FRAGMENT)
		to->opens = 0;
	option = (to->flags & CT_DSR) && to->opens ? dsr_size(p->ipv6) : 0;
	if (option && ctx->gso_size) {
		external_demote(p, to);
		option = 0;
	}
	way_find(ctx, p, &to->backend.address, size + option, way);
	if (option && way->found == BPF_FIB_LKUP_RET_FRAG_NEEDED) {
		external_demote(p, to);
		way_find(ctx, p, &to->backend.address, size, way);
	}
	/* The stack could cut up what may be, but takes nothing that bears an address of its own as the source. */
	if (way->found == BPF_FIB_LKUP_RET_FRAG_NEEDED &&
	    (p->ipv6 || (p->flags & PACKET_DONT_FRAGMENT) || !(to->flags & CT_DSR)))
		return external_refuse(ctx, p, ERROR_TOO_BIG, way->mtu);
	if (!way_open(way) && !(to->flags & CT_DSR))
		return drop(ctx, p, DROP_NO_ROUTE);
	reason = external_translate(ctx, p, to, way);
	if (reason)
		return drop(ctx, p, (__u32)reason);
	forwarded(ctx, p, to->flags & CT_DSR ? COUNT_FORWARD_DSR : COUNT_FORWARD_SNAT);
	/* By DSR the client speaks, of whom the other node knows best who it is. */
	return way_take(ctx, p, way, to->flags & CT_DSR ? IDENTITY_UNKNOWN : IDENTITY_REMOTE_NODE);
}

/* To a backend of this node; it sees the client's own address. `ep` is its row. */
noinline_subprogram enum verdict external_deliver(struct __sk_buff *ctx, struct packet *p, const struct target *to,
						  struct endpoint *ep)
{
	union addr called = p->tuple.daddr;
	int reason;

	if (!(ep->flags & ENDPOINT_HOST) && p->ttl <= 1)
		return external_refuse(ctx, p, ERROR_TIME_EXCEEDED, 0);
	reason = rewrite(ctx, p, SIDE_DESTINATION, &to->backend.address, to->backend.port);
	if (!reason && ep->flags & ENDPOINT_HOST) {
		reason = external_track(ctx, p, to, &called);
		if (reason)
			return drop(ctx, p, (__u32)reason);
		forwarded(ctx, p, COUNT_TO_STACK);
		return VERDICT_PASS;
	}
	if (!reason && (to->flags & CT_VIRTUAL) && (to->opens | to->chosen))
		reason = virtual_remember(p, &called);
	if (!reason)
		reason = pod_ingress(ctx, p, ep, 0, true);
	if (reason)
		return drop(ctx, p, (__u32)reason);
	return to_local_pod(ctx, p, ep);
}
