/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* A packet for a pod of this node from anywhere but another pod of it: connection, source, policy. */
#pragma once

#include "ipcache.h"
#include "policy.h"
#include "service_path.h"

/* 0 or a drop reason. p->service: the service that the packet was translated for; answers get its virtual address
 * back. `identity` of the source when the caller knows it, else 0: by address. `outside`: the
 * packet came over the wire, where no address of this node can be a source. */
noinline_subprogram int pod_ingress(struct __sk_buff *ctx, struct packet *p, struct endpoint *ep, __u32 identity,
				    bool outside)
{
	const struct runtime *rt = runtime_get();
	struct ct_entry seed = {};
	struct flow flow;
	int reason;

	p->direction = DIR_INGRESS;
	p->source_identity = identity;
	p->destination_identity = ep->identity;
	if (!rt)
		return DROP_CONNTRACK_FULL;
	if (unlikely(p->flags & PACKET_ICMP_ERROR)) {
		reason = related(ctx, p, &flow);
		if (reason)
			return reason < 0 ? -reason : 0;
	} else {
		ct_find(&flow, &p->tuple, p->tcp_flags);
	}
	if (flow.entry) {
		if (outside && (flow.entry->flags & CT_LOCAL))
			return DROP_SPOOFED_SOURCE;
		ct_advance(p, &flow);
		if (unlikely(p->service && flow.entry->service != p->service))
			flow.entry->service = p->service;
		if (flow.state == CT_STATE_REPLY)
			return flow.entry->service ? service_reply(ctx, p, &flow) : 0;
		if (flow.entry->epoch == rt->epoch && flow.entry->ingress_revision == ep->policy_revision)
			return 0;
	} else if (outside && endpoint_lookup(&p->tuple.saddr)) {
		return DROP_SPOOFED_SOURCE;
	}
	if (!identity)
		p->source_identity = ipcache_identity(ipcache_lookup(&p->tuple.saddr), p->ipv6);
	if (!(allow_localhost && p->source_identity == IDENTITY_HOST)) {
		reason = policy_check(ctx, p, ep, DIR_INGRESS, p->source_identity);
		if (reason)
			return reason;
	}
	if (flow.entry) {
		flow.entry->epoch = rt->epoch;
		flow.entry->ingress_revision = ep->policy_revision;
		flow.entry->ingress_rule = p->rule;
		return 0;
	}
	if (p->flags & PACKET_ICMP_ERROR)
		return 0;
	seed.service = p->service;
	seed.epoch = rt->epoch;
	seed.ingress_revision = ep->policy_revision;
	seed.ingress_rule = p->rule;
	return ct_create(ctx, p, &flow, &seed);
}
