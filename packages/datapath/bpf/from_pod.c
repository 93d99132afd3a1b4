// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* tcx ingress of the host side of every pod's veth: all that a pod sends comes by here first. One loaded
 * program serves all pods; which pod it is, the source address says, and the device must agree. */
#include "lib/echo.h"
#include "lib/egress_gateway.h"
#include "lib/ingress.h"
#include "lib/nat.h"
#include "lib/neighbour.h"
#include "lib/protect.h"
#include "lib/route.h"
#include "lib/tcp_reset.h"

/* The pod's own row, or NULL if the address is not one of the pod behind this device. */
inlined struct endpoint *sender(const struct __sk_buff *ctx, const union addr *address)
{
	struct endpoint *ep = endpoint_lookup(address);

	return ep && ep->ifindex == ctx->ifindex && !(ep->flags & ENDPOINT_HOST) ? ep : NULL;
}

inlined enum verdict back_to_pod(struct __sk_buff *ctx, const struct packet *p)
{
	forwarded(ctx, p, COUNT_ANSWERED);
	return (enum verdict)bpf_redirect_peer(ctx->ifindex, 0);
}

inlined enum verdict answer_arp(struct __sk_buff *ctx, struct packet *p)
{
	const struct device *device = device_lookup(ctx->ifindex);
	int reason;

	p->length = ctx->len;
	addr_set_v4(&p->tuple.saddr, 0);
	addr_set_v4(&p->tuple.daddr, 0);
	if (!device)
		return drop(ctx, p, DROP_NO_ENDPOINT);
	/* Answering a spoofed question tells the pod nothing; its packets are checked by themselves. */
	reason = arp_answer(ctx, device->mac, 0, p);
	if (reason)
		return drop(ctx, p, reason);
	bpf_skb_change_type(ctx, PACKET_HOST);
	return back_to_pod(ctx, p);
}

noinline_subprogram enum verdict answer_ndp(struct __sk_buff *ctx, struct packet *p)
{
	const struct device *device = device_lookup(ctx->ifindex);
	int reason;

	if (p->icmp_type != NDP_SOLICIT)
		return drop(ctx, p, DROP_NEIGHBOUR_QUIET);
	if (!device)
		return drop(ctx, p, DROP_NO_ENDPOINT);
	reason = ndp_answer(ctx, p, device->mac);
	if (reason)
		return drop(ctx, p, reason);
	return back_to_pod(ctx, p);
}

inlined bool is_gateway(const struct packet *p)
{
	union addr gateway = config_address(p->ipv6 ? &gateway_ipv6 : &gateway_ipv4);

	return addr_equal(&gateway, &p->tuple.daddr);
}

/* The gateway's own answer to ping. */
noinline_subprogram enum verdict answer_echo(struct __sk_buff *ctx, struct packet *p, const struct endpoint *ep)
{
	if (echo_turn(ctx, p) || address_frame(ctx, ep->host_mac, ep->mac))
		return drop(ctx, p, DROP_WRITE_FAILED);
	return back_to_pod(ctx, p);
}

/* Whether a new connection to the outside leaves with the device's address. */
inlined bool needs_masquerade(const struct packet *p, const struct ipcache_entry *peer)
{
	if (!(p->ipv6 ? masquerade_ipv6 : masquerade_ipv4))
		return false;
	if (peer && ((peer->flags & IPCACHE_NO_MASQUERADE) || (overlay_ifindex && !addr_is_zero(&peer->tunnel_endpoint))))
		return false;
	return !nat_is_exception(&p->tuple.daddr);
}

/* Both ends' verdicts on a connection that is new, or whose kept verdicts are out of date. 0 or a drop
 * reason. `to` is the destination's row when it is of this node. */
noinline_subprogram int decide(struct __sk_buff *ctx, struct packet *p, struct endpoint *from, struct endpoint *to,
			       struct ct_entry *seed)
{
	int reason = policy_check(ctx, p, from, DIR_EGRESS, p->destination_identity);

	if (reason)
		return reason;
	seed->egress_rule = p->rule;
	seed->egress_revision = from->policy_revision;
	if (!to || (to->flags & ENDPOINT_HOST))
		return 0;
	p->direction = DIR_INGRESS;
	reason = policy_check(ctx, p, to, DIR_INGRESS, p->source_identity);
	if (reason)
		return reason;
	p->direction = DIR_EGRESS;
	seed->ingress_rule = p->rule;
	seed->ingress_revision = to->policy_revision;
	return 0;
}

inlined enum verdict encapsulate(struct __sk_buff *ctx, struct packet *p, struct endpoint *ep,
				 const struct ipcache_entry *peer)
{
	if (unlikely(wire_size(ctx, p) > overlay_mtu) && (p->ipv6 || (p->flags & PACKET_DONT_FRAGMENT)))
		return error_to_sender(p, ERROR_TOO_BIG, overlay_mtu);
	if (route_frame(ctx, p, NULL, NULL))
		return drop(ctx, p, DROP_WRITE_FAILED);
	return to_tunnel(ctx, p, &peer->tunnel_endpoint, ep->identity, overlay_ifindex);
}

/* Out of the cluster by a gateway. VERDICT_NONE: no policy speaks any more. */
noinline_subprogram enum verdict by_gateway(struct __sk_buff *ctx, struct packet *p, const struct endpoint *ep)
{
	const struct egress_route *route = egress_lookup(&p->tuple.saddr, &p->tuple.daddr);
	const struct endpoint *self;

	if (!route)
		return VERDICT_NONE;
	if (addr_is_zero(&route->gateway))
		return drop(ctx, p, DROP_NO_EGRESS_GATEWAY);
	self = endpoint_lookup(&route->gateway);
	if (self && self->flags & ENDPOINT_HOST) {
		ctx->mark = MARK_EGRESS;
		return to_network_device(ctx, p);
	}
	if (!egress_overlay_ifindex)
		return drop(ctx, p, DROP_NO_EGRESS_GATEWAY);
	if (wire_size(ctx, p) > egress_overlay_mtu && (p->ipv6 || (p->flags & PACKET_DONT_FRAGMENT)))
		return error_to_sender(p, ERROR_TOO_BIG, egress_overlay_mtu);
	if (route_frame(ctx, p, NULL, NULL))
		return drop(ctx, p, DROP_WRITE_FAILED);
	metric_add(COUNT_EGRESS_GATEWAY, p->direction & (DIR_COUNT - 1), p->length);
	return to_tunnel(ctx, p, &route->gateway, ep->identity, egress_overlay_ifindex);
}

/* The packet's addresses are right; its L4 header is still unread. */
inlined enum verdict from_known_pod(struct __sk_buff *ctx, struct packet *p, struct endpoint *ep)
{
	const struct runtime *rt = runtime_get();
	const struct ipcache_entry *peer = NULL;
	bool known = false, fresh = false, to_pod;
	struct ct_entry seed = {};
	struct endpoint *to;
	struct flow flow;
	__u32 flags;
	int reason;

	if (!rt)
		return VERDICT_DROP;
	reason = parse_l4(ctx, p);
	if (unlikely(reason))
		return drop(ctx, p, (__u32)reason);
	if (is_echo_request(p) && is_gateway(p))
		return answer_echo(ctx, p, ep);
	if (unlikely(addr_is_multicast(&p->tuple.daddr)))
		return drop(ctx, p, DROP_MULTICAST);

	if (unlikely(p->flags & PACKET_ICMP_ERROR)) {
		reason = related(ctx, p, &flow);
		known = reason > 0;
		reason = reason < 0 ? -reason : 0;
	} else {
		ct_find(&flow, &p->tuple, p->tcp_flags);
		if (flow.entry ? flow.entry->flags & CT_SERVICE : packet_services && (p->flags & PACKET_HAS_PORTS)) {
			reason = service_forward(ctx, p, &flow, &seed);
			if (reason == DROP_NO_BACKEND)
				return error_to_sender(p, ERROR_PORT_UNREACHABLE, 0);
		} else if (flow.state == CT_STATE_REPLY) {
			reason = flow.entry->service ? service_reply(ctx, p, &flow) : 0;
		}
		known = flow.state == CT_STATE_REPLY;
	}
	if (unlikely(reason))
		return drop(ctx, p, (__u32)reason);
	/* Direct, answered, translated or not: one way on. */
	known = hide(known);
	flow.state = (__u32)hide(flow.state);
	seed.flags = (__u32)hide(seed.flags);
	seed.service = p->service = (__u32)hide(p->service);

	to = endpoint_lookup(&p->tuple.daddr);
	to_pod = to && !(to->flags & ENDPOINT_HOST);
	if (flow.entry && flow.state == CT_STATE_FORWARD && !known)
		fresh = flow.entry->epoch == rt->epoch && flow.entry->egress_revision == ep->policy_revision &&
			(!to_pod || flow.entry->ingress_revision == to->policy_revision);
	if (!to && (overlay_ifindex || !(known || fresh)))
		peer = ipcache_lookup(&p->tuple.daddr);

	if (unlikely(!known && !fresh)) {
		p->destination_identity = !to ? ipcache_identity(peer, p->ipv6) :
						to_pod ? to->identity : IDENTITY_HOST;
		if (((to && (to->flags & ENDPOINT_PROTECTED)) || (peer && (peer->flags & IPCACHE_PROTECTED))) &&
		    is_protected(&p->tuple))
			return drop(ctx, p, DROP_PROTECTED);
		/* A pod may always reach itself. */
		if (!((flow.entry ? flow.entry->flags : seed.flags) & CT_HAIRPIN)) {
			reason = decide(ctx, p, ep, to, &seed);
			if (reason)
				return drop(ctx, p, (__u32)reason);
		} else {
			seed.egress_revision = seed.ingress_revision = ep->policy_revision;
		}
		if (flow.entry) {
			flow.entry->epoch = rt->epoch;
			flow.entry->egress_revision = seed.egress_revision;
			flow.entry->ingress_revision = seed.ingress_revision;
			flow.entry->egress_rule = seed.egress_rule;
			flow.entry->ingress_rule = seed.ingress_rule;
		} else {
			if (to_pod)
				seed.flags |= CT_LOCAL;
			else if (!to && (rt->flags & USE_EGRESS) && identity_is_world(p->destination_identity) &&
				 egress_lookup(&p->tuple.saddr, &p->tuple.daddr))
				seed.flags |= CT_EGRESS;
			else if (!to && needs_masquerade(p, peer))
				seed.flags |= CT_MASQUERADE;
			seed.epoch = rt->epoch;
			if (!(p->flags & PACKET_ICMP_ERROR)) {
				reason = ct_create(ctx, p, &flow, &seed);
				if (reason)
					return drop(ctx, p, (__u32)reason);
			}
		}
	}
	flags = seed.flags;
	if (flow.entry) {
		flags = flow.entry->flags;
		if (!(p->flags & PACKET_ICMP_ERROR)) {
			ct_advance(p, &flow);
			/* Only its origin masquerades: answers to those who called in by the pod's own address
			 * go out with it. */
			if (flow.state == CT_STATE_REPLY)
				flags &= ~(__u32)(CT_MASQUERADE | CT_EGRESS);
		}
	}
	ctx->mark = flags & CT_MASQUERADE ? MARK_MASQUERADE : MARK_ROUTED;

	if (to && !to_pod)
		return to_this_node(ctx, p);
	if (unlikely(p->ttl <= 1))
		return error_to_sender(p, ERROR_TIME_EXCEEDED, 0);
	if (to)
		return to_local_pod(ctx, p, to);
	if (unlikely(flags & CT_EGRESS)) {
		enum verdict verdict = by_gateway(ctx, p, ep);

		if (verdict != VERDICT_NONE)
			return verdict;
	}
	if (overlay_ifindex && peer && !addr_is_zero(&peer->tunnel_endpoint))
		return encapsulate(ctx, p, ep, peer);
	return to_network_device(ctx, p);
}

SEC("tc")
int from_pod(struct __sk_buff *ctx)
{
	struct packet p = { .hook = HOOK_FROM_POD, .direction = DIR_EGRESS };
	enum verdict verdict;
	struct endpoint *ep;
	int reason;

	if (ctx->protocol == bpf_htons(ETH_P_ARP))
		return answer_arp(ctx, &p);
	reason = parse_link(ctx, &p);
	if (unlikely(reason > 0))
		return drop(ctx, &p, (__u32)reason);
	if (unlikely(reason))
		return reason == LINK_NEIGHBOUR ? answer_ndp(ctx, &p) : drop(ctx, &p, DROP_NEIGHBOUR_QUIET);
	ep = sender(ctx, &p.tuple.saddr);
	if (unlikely(!ep))
		return drop(ctx, &p, addr_is_link_local_v6(&p.tuple.saddr) ? DROP_LINK_LOCAL : DROP_SPOOFED_SOURCE);
	p.source_identity = ep->identity;
	p.endpoint = ep->id;
	verdict = from_known_pod(ctx, &p, ep);
	if (unlikely(verdict == VERDICT_ERROR))
		return p.error == ERROR_PORT_UNREACHABLE && tcp_can_reset(&p) ? tcp_reset_reply(ctx, &p, ep) :
										icmp_error_reply(ctx, &p, ep);
	return verdict;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
