/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Services per packet: for pods whose sockets did not pass the connect() hook (another cgroup tree, raw
 * and kernel sockets, other runtimes). The connection {client, virtual address} remembers its backend;
 * the connection {client, backend} remembers its service, so that answers get the virtual address back. */
#pragma once

#include "conntrack.h"
#include "icmp_inner.h"
#include "services.h"

inlined bool backend_of(__u32 id, struct tuple *to)
{
	const struct backend *backend = backend_lookup(id);

	if (!backend)
		return false;
	to->daddr = backend->address;
	to->dport = backend->port;
	return true;
}

/* Translates a packet to a virtual address; p->service stays 0 when it is none. `flow` is that of the
 * packet as it came, afterwards that of the packet as it goes on. 0 or a drop reason. */
noinline_subprogram int service_forward(struct __sk_buff *ctx, struct packet *p, struct flow *flow,
					struct ct_entry *seed)
{
	struct tuple to = {};
	int reason;

	if (flow->entry) {
		p->service = flow->entry->service;
		/* The backend is gone for good: choose again. TCP ends by the new one's reset. */
		if (backend_of(flow->entry->backend, &to))
			ct_advance(p, flow);
		else
			flow->entry = NULL;
	}
	if (!flow->entry) {
		const struct service *service =
			service_lookup(&p->tuple.daddr, p->tuple.dport, p->tuple.protocol);
		struct affinity_key client = { .client = p->tuple.saddr, .kind = AFFINITY_ADDRESS };
		struct ct_entry chosen = { .flags = CT_SERVICE };

		if (!service) {
			reason = p->service ? DROP_NO_BACKEND : 0;
			p->service = 0;
			return reason;
		}
		p->service = service->id;
		chosen.service = service->id;
		chosen.backend = backend_select(service, &client, tuple_hash(&p->tuple));
		if (!chosen.backend || !backend_of(chosen.backend, &to))
			return DROP_NO_BACKEND;
		reason = ct_create(ctx, p, flow, &chosen);
		if (reason)
			return reason;
		decided(ctx, p, COUNT_SERVICE_SELECTED);
	}
	seed->service = p->service;
	if (addr_equal(&to.daddr, &p->tuple.saddr)) {
		/* The pod would see its own address as the source and answer past us. */
		to.saddr = config_address(p->ipv6 ? &hairpin_ipv6 : &hairpin_ipv4);
		reason = rewrite(ctx, p, SIDE_SOURCE, &to.saddr, p->tuple.sport);
		if (reason)
			return reason;
		seed->flags |= CT_HAIRPIN;
	}
	reason = rewrite(ctx, p, SIDE_DESTINATION, &to.daddr, to.dport);
	if (reason)
		return reason;
	ct_find(flow, &p->tuple, p->tcp_flags);
	if (flow->entry && flow->entry->service != seed->service)
		flow->entry->service = seed->service;
	return 0;
}

/* Puts the virtual address back into an answer. 0 or a drop reason. */
noinline_subprogram int service_reply(struct __sk_buff *ctx, struct packet *p, const struct flow *flow)
{
	__u32 id = flow->entry->service, flags = flow->entry->flags;
	const struct frontend *frontend = bpf_map_lookup_elem(&rev_nat, &id);
	union addr address, self = p->tuple.saddr;
	__be16 port;
	int reason;

	p->service = id;
	if (!frontend)
		return 0; /* the service is gone: its client will not know the answer, which is what it asked for */
	address = frontend->address;
	port = frontend->port;
	reason = rewrite(ctx, p, SIDE_SOURCE, &address, port);
	if (!reason && (flags & CT_HAIRPIN))
		reason = rewrite(ctx, p, SIDE_DESTINATION, &self, p->tuple.dport);
	return reason;
}

/* An ICMP error that quotes a packet of a known connection belongs to that connection: no policy is asked,
 * and what services translated is translated in the quote too. Sets flow->entry. 1: related, 0: unknown,
 * negative: a drop reason. */
noinline_subprogram int related(struct __sk_buff *ctx, struct packet *p, struct flow *flow)
{
	const struct frontend *frontend;
	struct inner inner;
	struct tuple quoted;
	__u32 id, flags;
	int reason = 0;

	flow->entry = NULL;
	flow->state = CT_STATE_NEW;
	if (!inner_parse(ctx, p, &inner))
		return 0;
	ct_find(flow, &inner.tuple, 0);
	if (!flow->entry)
		return 0;
	id = flow->entry->service;
	flags = flow->entry->flags;
	if (!id)
		return 1;
	p->service = id;
	if (flags & CT_SERVICE) {
		/* The client complains of an answer that it saw come from the virtual address. */
		if (flow->state != CT_STATE_REPLY)
			return 0;
		const struct backend *backend = backend_lookup(flow->entry->backend);

		if (!backend)
			return 0;
		quoted.saddr = backend->address;
		quoted.sport = backend->port;
		reason = inner_rewrite(ctx, p, &inner, SIDE_SOURCE, &quoted);
		if (!reason && addr_equal(&p->tuple.daddr, &inner.tuple.saddr))
			reason = rewrite(ctx, p, SIDE_DESTINATION, &quoted.saddr, 0);
		return reason ? -reason : 1;
	}
	if (flow->state != CT_STATE_FORWARD)
		return 1;
	frontend = bpf_map_lookup_elem(&rev_nat, &id);
	if (!frontend)
		return 1;
	/* Somebody on the way, or the backend itself, complains of the client's packet. */
	quoted.daddr = frontend->address;
	quoted.dport = frontend->port;
	reason = inner_rewrite(ctx, p, &inner, SIDE_DESTINATION, &quoted);
	if (!reason && (flags & CT_HAIRPIN)) {
		quoted.saddr = inner.tuple.daddr;
		quoted.sport = inner.tuple.sport;
		reason = inner_rewrite(ctx, p, &inner, SIDE_SOURCE, &quoted);
		if (!reason)
			reason = rewrite(ctx, p, SIDE_DESTINATION, &quoted.saddr, 0);
	}
	if (!reason && addr_equal(&p->tuple.saddr, &inner.tuple.daddr))
		reason = rewrite(ctx, p, SIDE_SOURCE, &quoted.daddr, 0);
	return reason ? -reason : 1;
}
