/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Answers that come back to this node, for those on whose behalf it spoke. */
#pragma once

#include "ingress.h"
#include "nat.h"
#include "way.h"

/* Whether this is for a pod elsewhere, whose egress gateway this node is or was. */
inlined bool return_to_pod(const struct packet *p)
{
	const struct ipcache_entry *peer = runtime_uses(USE_EGRESS) ? ipcache_lookup(&p->tuple.daddr) : NULL;

	return peer && identity_is_workload(peer->identity);
}

/* An answer that has its receiver's address back, who is not of this node: on to the client of a service, in the name
 * of the virtual address, or to a pod that left the cluster here. */
noinline_subprogram enum verdict return_onwards(struct __sk_buff *ctx, struct packet *p)
{
	struct scratch *room = scratch_room();
	struct way *way;
	struct flow flow;
	int reason = 0;

	if (!room)
		return VERDICT_DROP;
	way = &room->way;

	if (p->flags & PACKET_ICMP_ERROR) {
		reason = related(ctx, p, &flow);
		reason = reason > 0 || (!reason && return_to_pod(p)) ? 0 : reason ? -reason : DROP_NO_ENDPOINT;
	} else {
		ct_find(&flow, &p->tuple, p->tcp_flags);
		if (flow.state == CT_STATE_REPLY && flow.entry->service) {
			ct_advance(p, &flow);
			reason = service_reply(ctx, p, &flow);
		} else if (!return_to_pod(p)) {
			reason = DROP_NO_ENDPOINT;
		}
	}
	if (!reason && p->ttl <= 1)
		reason = DROP_TTL_EXCEEDED;
	if (reason)
		return drop(ctx, p, (__u32)reason);
	way_find(ctx, p, &p->tuple.daddr, wire_size(ctx, p), way);
	forwarded(ctx, p, addr_is_zero(&way->tunnel) ? COUNT_NATIVE : COUNT_TUNNEL);
	return way_take(ctx, p, way, world_identity(p->ipv6));
}
