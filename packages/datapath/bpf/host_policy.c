// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* The node itself as an endpoint: after all other programs of a device, what its own sockets are sent and send. What the
 * node sends its own pods the pods' policies alone decide on: `from_host` takes it to them before this is asked.
 *
 * What began is not cut, whatever the rules say later, and nothing that began before these programs came: of TCP only
 * the opening segments are judged; everything else is entered into conntrack when it was allowed once. What the
 * network itself needs (neighbours, routers, listeners, errors) is never judged, nor is multicast. */
#include "lib/conntrack.h"
#include "lib/ipcache.h"
#include "lib/lifelines.h"
#include "lib/policy.h"

/* The node's row if it is an endpoint, for one of its addresses. */
inlined struct endpoint *this_node(const union addr *address)
{
	struct endpoint *self = endpoint_lookup(address);

	return self && (self->flags & ENDPOINT_HOST) && self->id ? self : NULL;
}

#define ICMPV6_LISTENER_FIRST 130
#define ICMPV6_REDIRECT 137
#define ICMPV6_LISTENER_V2 143

inlined bool keeps_network_alive(const struct packet *p)
{
	if (p->flags & PACKET_ICMP_ERROR)
		return true;
	return p->tuple.protocol == IPPROTO_ICMPV6 &&
	       ((p->icmp_type >= ICMPV6_LISTENER_FIRST && p->icmp_type <= ICMPV6_REDIRECT) ||
		p->icmp_type == ICMPV6_LISTENER_V2);
}

/* `pod` is the identity of a pod of this node that speaks, or 0. */
noinline_subprogram enum verdict judge(struct __sk_buff *ctx, struct packet *p, struct endpoint *self, __u32 direction,
				       __u32 pod)
{
	const union addr *peer = direction == DIR_EGRESS ? &p->tuple.daddr : &p->tuple.saddr;
	bool tcp = p->tuple.protocol == IPPROTO_TCP;
	struct ct_entry seed = {};
	struct flow flow = {};
	__u32 identity;
	int reason;

	reason = parse_l4(ctx, p);
	/* A later fragment is nothing without its first. */
	if (reason)
		return reason == DROP_FRAGMENT_UNKNOWN ? VERDICT_PASS : drop(ctx, p, (__u32)reason);
	if (keeps_network_alive(p))
		return VERDICT_PASS;
	if (tcp) {
		if ((p->tcp_flags & (TCP_SYN | TCP_ACK)) != TCP_SYN)
			return VERDICT_PASS;
	} else {
		/* What answers the node it asked for, out of this program's sight. */
		if (pod) {
			ct_find(&flow, &p->tuple, 0);
			if (flow.state == CT_STATE_REPLY)
				return VERDICT_PASS;
		}
		ct_find_in(&flow, &p->tuple, 0, CT_SCOPE_HOST);
		if (flow.entry) {
			ct_advance(p, &flow);
			return VERDICT_PASS;
		}
	}
	identity = pod ? pod : ipcache_identity(ipcache_lookup(peer), p->ipv6);
	p->source_identity = direction == DIR_EGRESS ? self->identity : identity;
	p->destination_identity = direction == DIR_EGRESS ? identity : self->identity;
	reason = is_lifeline(p, peer, direction) ? 0 : policy_check(ctx, p, self, direction, identity);
	if (!reason && !tcp)
		reason = ct_create(ctx, p, &flow, &seed);
	return reason ? drop(ctx, p, (__u32)reason) : VERDICT_PASS;
}

/* The stack refuses what is no packet; more extension headers than we read it might take, with what is behind them. */
inlined bool unreadable(int reason)
{
	return reason && reason != DROP_EXTENSION_HEADERS;
}

SEC("tc")
int host_ingress(struct __sk_buff *ctx)
{
	struct packet p = { .hook = HOOK_HOST_POLICY, .direction = DIR_INGRESS };
	struct endpoint *self, *from;
	__u32 pod = 0;
	int reason;

	reason = parse_l3(ctx, &p);
	if (unreadable(reason))
		return VERDICT_PASS;
	self = this_node(&p.tuple.daddr);
	if (!self)
		return VERDICT_PASS;
	/* Pods of this node come by its own device, and the node itself by none of these: from a wire it is made up. */
	from = endpoint_lookup(&p.tuple.saddr);
	if (from) {
		if (ctx->ifindex != host_ifindex)
			return drop(ctx, &p, DROP_SPOOFED_SOURCE);
		if (from->flags & ENDPOINT_HOST)
			return VERDICT_PASS;
		pod = from->identity;
	}
	return reason ? drop(ctx, &p, (__u32)reason) : judge(ctx, &p, self, DIR_INGRESS, pod);
}

SEC("tc")
int host_egress(struct __sk_buff *ctx)
{
	struct packet p = { .hook = HOOK_HOST_POLICY, .direction = DIR_EGRESS };
	struct endpoint *self;
	int reason;

	/* Of a pod, of a client outside, or of somebody for whom this node forwards. */
	if (ctx->mark == MARK_ROUTED || ctx->ingress_ifindex)
		return VERDICT_PASS;
	reason = parse_l3(ctx, &p);
	if (unreadable(reason))
		return VERDICT_PASS;
	self = this_node(&p.tuple.saddr);
	if (!self || endpoint_lookup(&p.tuple.daddr) || addr_is_multicast(&p.tuple.daddr))
		return VERDICT_PASS;
	return reason ? drop(ctx, &p, (__u32)reason) : judge(ctx, &p, self, DIR_EGRESS, 0);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
