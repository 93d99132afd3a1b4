// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* tcx egress of the node's network devices: gives what leaves the address that it shall leave with. Pods' packets bear
 * a mark that says which; what the node's own sockets answer as backends of a service gets the virtual address. All
 * else leaves after one comparison. */
#include "lib/egress_gateway.h"
#include "lib/nat.h"
#include "lib/service_path.h"

/* Under which address a marked packet leaves. Zero: none is known. */
inlined union addr own_address(const struct __sk_buff *ctx, const struct packet *p)
{
	const struct device *device;
	union addr none = {};

	if (ctx->mark == MARK_EGRESS) {
		const struct egress_route *route = egress_lookup(&p->tuple.saddr, &p->tuple.daddr);

		return route ? route->address : none;
	}
	device = device_lookup(ctx->ifindex);
	return !device ? none : p->ipv6 ? device->ipv6 : device->ipv4;
}

inlined enum verdict leave(struct __sk_buff *ctx, struct packet *p)
{
	union addr address;
	int reason = parse_l3(ctx, p);

	if (!reason)
		reason = parse_l4(ctx, p);
	if (reason)
		return drop(ctx, p, (__u32)reason);
	address = own_address(ctx, p);
	if (addr_is_zero(&address))
		return drop(ctx, p, DROP_NAT_NO_ADDRESS);
	reason = masquerade(ctx, p, &address);
	if (reason)
		return drop(ctx, p, (__u32)reason);
	ctx->mark = MARK_ROUTED;
	forwarded(ctx, p, COUNT_MASQUERADED);
	return VERDICT_PASS;
}

/* What a socket of the node sends: an answer to a service's client, or none of our business. */
inlined enum verdict answer(struct __sk_buff *ctx, struct packet *p)
{
	const struct endpoint *ep;
	struct flow flow;
	int reason;

	if (parse_l3(ctx, p))
		return VERDICT_PASS;
	ep = endpoint_lookup(&p->tuple.saddr);
	if (!ep || !(ep->flags & ENDPOINT_HOST) || parse_l4(ctx, p))
		return VERDICT_PASS;
	if (p->flags & PACKET_ICMP_ERROR) {
		reason = related(ctx, p, &flow);
		return reason < 0 ? drop(ctx, p, (__u32)-reason) : VERDICT_PASS;
	}
	ct_find(&flow, &p->tuple, p->tcp_flags);
	if (flow.state != CT_STATE_REPLY || !flow.entry->service)
		return VERDICT_PASS;
	ct_advance(p, &flow);
	reason = service_reply(ctx, p, &flow);
	return reason ? drop(ctx, p, (__u32)reason) : VERDICT_PASS;
}

SEC("tc")
int to_network(struct __sk_buff *ctx)
{
	struct packet p = { .hook = HOOK_TO_NETWORK, .direction = DIR_EGRESS };

	if (likely(ctx->mark == MARK_ROUTED))
		return VERDICT_PASS;
	if (ctx->mark == MARK_MASQUERADE || ctx->mark == MARK_EGRESS)
		return leave(ctx, &p);
	return unlikely(runtime_uses(USE_EXTERNAL)) ? answer(ctx, &p) : VERDICT_PASS;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
