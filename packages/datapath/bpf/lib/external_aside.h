/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* What comes from outside and concerns services without being for one: pings of virtual addresses and ports that they
 * do not have, errors about what bore their name, and connections that other nodes sent to sockets of this one. */
#pragma once

#include "dsr_accept.h"
#include "echo.h"
#include "external.h"

/* For an address that has services, but none at this port; or for no such address: VERDICT_NONE. */
noinline_subprogram enum verdict external_address(struct __sk_buff *ctx, struct packet *p)
{
	const struct service *row = service_lookup(&p->tuple.daddr, 0, 0);

	/* An address of the node has sockets of its own. */
	if (!row || endpoint_lookup(&p->tuple.daddr))
		return VERDICT_NONE;
	if (!is_echo_request(p))
		return external_refuse(ctx, p, ERROR_NO_SUCH_PORT, 0);
	if (echo_turn(ctx, p))
		return drop(ctx, p, DROP_WRITE_FAILED);
	forwarded(ctx, p, COUNT_ANSWERED);
	return reflect(ctx);
}

/* The backend of the connection whose answer an error quotes: the one that it has, or would be given. */
noinline_subprogram const struct backend *external_answerer(const struct service *service, const struct tuple *answer,
							    struct target *to)
{
	struct tuple asked = {
		.saddr = answer->daddr,
		.daddr = answer->saddr,
		.sport = answer->dport,
		.dport = answer->sport,
		.protocol = answer->protocol,
	};
	struct affinity_key client = { .client = answer->daddr, .kind = AFFINITY_ADDRESS };
	bool local = service->flags & SERVICE_LOCAL_EXTERNAL;
	struct flow flow;

	ct_find(&flow, &asked, 0);
	if (flow.entry && (flow.entry->flags & CT_EXTERNAL)) {
		to->flags = flow.entry->flags;
		return backend_lookup(flow.entry->backend);
	}
	to->flags = service->flags & SERVICE_DSR ? CT_DSR : 0;
	return backend_lookup(backend_select(service, &client, tuple_hash(&asked), local));
}

/* An ICMP error about an answer that bore a virtual address: a router on the client's side, or the client. It goes to
 * the backend, which sees its own address in it. The node that it reaches need not be the one of the connection. */
noinline_subprogram enum verdict external_error(struct __sk_buff *ctx, struct packet *p)
{
	const struct backend *backend;
	const struct service *service;
	struct scratch *room = scratch_room();
	struct target *to;
	struct way *way;
	struct socket quoted;
	struct endpoint *ep;
	struct inner inner;

	if (!room || !inner_parse(ctx, p, &inner))
		return VERDICT_NONE;
	to = &room->target;
	way = &room->way;
	service = service_lookup(&inner.tuple.saddr, inner.tuple.sport, inner.tuple.protocol);
	if (!service) {
		ep = runtime_uses(USE_NODE_PORTS) ? endpoint_lookup(&inner.tuple.saddr) : NULL;
		if (ep && ep->flags & ENDPOINT_HOST)
			service = node_port_lookup(&inner.tuple.saddr, inner.tuple.sport, inner.tuple.protocol);
	}
	if (!service || !(service->flags & SERVICE_EXTERNAL))
		return VERDICT_NONE;
	p->service = service->id;
	backend = external_answerer(service, &inner.tuple, to);
	if (!backend)
		return drop(ctx, p, DROP_NO_BACKEND);
	quoted.address = backend->address;
	quoted.port = backend->port;
	if (inner_rewrite(ctx, p, &inner, SIDE_SOURCE, &quoted) ||
	    rewrite(ctx, p, SIDE_DESTINATION, &quoted.address, 0))
		return drop(ctx, p, DROP_WRITE_FAILED);
	ep = endpoint_lookup(&quoted.address);
	if (ep && ep->flags & ENDPOINT_HOST)
		return VERDICT_PASS;
	if (ep)
		return VERDICT_AGAIN;
	if (p->ttl <= 1)
		return drop(ctx, p, DROP_TTL_EXCEEDED);
	way_find(ctx, p, &quoted.address, wire_size(ctx, p), way);
	if (!(to->flags & CT_DSR)) {
		union addr address = snat_address(ctx, p, way);

		if (addr_is_zero(&address) || masquerade_error(ctx, p, &address))
			return drop(ctx, p, DROP_NAT_NO_ADDRESS);
	}
	forwarded(ctx, p, to->flags & CT_DSR ? COUNT_FORWARD_DSR : COUNT_FORWARD_SNAT);
	return way_take(ctx, p, way, IDENTITY_UNKNOWN);
}

/* For an address of this node, by DSR: one of its own sockets is the backend. */
inlined enum verdict external_own_socket(struct __sk_buff *ctx, struct packet *p)
{
	struct target to = {};
	int reason = dsr_accept(ctx, p);

	if (reason)
		return drop(ctx, p, (__u32)reason);
	if (!p->service)
		return VERDICT_NONE;
	/* virtual_remember has been called where it is due. */
	reason = external_track(ctx, p, &to, NULL);
	if (reason)
		return drop(ctx, p, (__u32)reason);
	forwarded(ctx, p, COUNT_TO_STACK);
	return VERDICT_PASS;
}
