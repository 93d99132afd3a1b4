/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Services per packet: for pods whose sockets did not pass the connect() hook (another cgroup tree, raw
 * and kernel sockets, other runtimes). The connection {client, virtual address} remembers its backend;
 * the connection {client, backend} remembers its service, so that answers get the virtual address back. */
#pragma once

#include "conntrack.h"
#include "endpoints.h"
#include "icmp_inner.h"
#include "services.h"

inlined bool backend_of(__u32 id, struct socket *to)
{
	const struct backend *backend = backend_lookup(id);

	if (!backend)
		return false;
	to->address = backend->address;
	to->port = backend->port;
	return true;
}

/* The socket that a connection's client called. False: nobody knows any more. */
inlined bool virtual_of(const struct ct_key *key, __u32 service, struct socket *virtual)
{
	const struct socket *frontend = bpf_map_lookup_elem(&rev_nat, &service);

	if (!frontend)
		return false;
	*virtual = *frontend;
	if (unlikely(addr_is_unspecified(&frontend->address))) {
		const struct called *at = bpf_map_lookup_elem(&virtuals, key);

		if (!at)
			return false;
		virtual->address = at->address;
	}
	return true;
}

/* Keeps the address that the packet was for, for the connection that it goes on as. 0 or a drop reason. */
noinline_subprogram int virtual_remember(const struct packet *p, const union addr *address)
{
	struct called at = { .address = *address };
	struct ct_key key;

	ct_key_of(&key, &p->tuple);
	return bpf_map_update_elem(&virtuals, &key, &at, BPF_ANY) ? DROP_CONNTRACK_FULL : 0;
}

/* The flow of a client's connection to a virtual address goes on. It sees no answers: that the client acknowledges
 * says that there are some. */
inlined void service_advance(const struct packet *p, struct flow *flow)
{
	if (p->tuple.protocol == IPPROTO_TCP && (p->tcp_flags & (TCP_SYN | TCP_ACK)) == TCP_ACK &&
	    !(flow->entry->flags & CT_SEEN_REPLY))
		flow->entry->flags |= CT_SEEN_REPLY;
	ct_advance(p, flow);
}

/* A client that begins anew with the ports of an earlier connection: the choice is anew too, for its backend may
 * have begun to drain. The same SYN again is no beginning. */
inlined bool service_renews(const struct packet *p, const struct ct_entry *entry)
{
	return (p->tcp_flags & (TCP_SYN | TCP_ACK)) == TCP_SYN &&
	       entry->flags & (CT_SEEN_REPLY | CT_FIN_FORWARD | CT_RESET);
}

/* The service behind the packet's destination, a port of this node's own addresses among them; NULL: none. */
noinline_subprogram struct service *service_called(struct packet *p)
{
	struct service *service = service_lookup(&p->tuple.daddr, p->tuple.dport, p->tuple.protocol);
	const struct endpoint *ep;

	if (service || likely(!runtime_uses(USE_NODE_PORTS)))
		return service;
	ep = endpoint_lookup(&p->tuple.daddr);
	return ep && ep->flags & ENDPOINT_HOST ?
		       node_port_lookup(&p->tuple.daddr, p->tuple.dport, p->tuple.protocol) :
		       NULL;
}

/* Begins the connection {client, virtual address}. 0 or a drop reason; p->service stays 0 when there is no service,
 * unless there was one. */
noinline_subprogram int service_begin(struct __sk_buff *ctx, struct packet *p, struct flow *flow, struct socket *to,
				      struct ct_entry *seed)
{
	const struct service *service = service_called(p);
	struct affinity_key client = { .client = p->tuple.saddr, .kind = AFFINITY_ADDRESS };
	struct ct_entry chosen = { .flags = CT_SERVICE };
	int reason;

	if (!service) {
		reason = p->service ? DROP_NO_BACKEND : 0;
		p->service = 0;
		return reason;
	}
	p->service = service->id;
	chosen.service = service->id;
	if (service->flags & SERVICE_NODE_PORT)
		seed->flags |= CT_VIRTUAL;
	chosen.backend = backend_select(service, &client, tuple_hash(&p->tuple), false);
	if (!chosen.backend || !backend_of(chosen.backend, to))
		return DROP_NO_BACKEND;
	reason = ct_create(ctx, p, flow, &chosen);
	if (!reason)
		decided(ctx, p, client.pad[0] ? COUNT_SERVICE_AFFINITY : COUNT_SERVICE_SELECTED);
	return reason;
}

/* Translates a packet to a virtual address; p->service stays 0 when it is none. `flow` is that of the
 * packet as it came, afterwards that of the packet as it goes on. 0 or a drop reason. */
noinline_subprogram int service_forward(struct __sk_buff *ctx, struct packet *p, struct flow *flow,
					struct ct_entry *seed)
{
	union addr called = p->tuple.daddr;
	struct socket to = {};
	int reason;

	if (flow->entry) {
		p->service = flow->entry->service;
		/* The backend is gone for good: choose again. TCP ends by the new one's reset. */
		if (!service_renews(p, flow->entry) && backend_of(flow->entry->backend, &to))
			service_advance(p, flow);
		else
			flow->entry = NULL;
	}
	if (!flow->entry) {
		reason = service_begin(ctx, p, flow, &to, seed);
		if (reason || !p->service)
			return reason;
	}
	seed->service = p->service;
	if (addr_equal(&to.address, &p->tuple.saddr)) {
		/* The pod would see its own address as the source and answer past us. */
		union addr self = config_address(p->ipv6 ? &hairpin_ipv6 : &hairpin_ipv4);

		reason = rewrite(ctx, p, SIDE_SOURCE, &self, p->tuple.sport);
		if (reason)
			return reason;
		seed->flags |= CT_HAIRPIN;
	}
	reason = rewrite(ctx, p, SIDE_DESTINATION, &to.address, to.port);
	if (reason)
		return reason;
	ct_find(flow, &p->tuple, p->tcp_flags);
	if (unlikely(!flow->entry && (seed->flags & CT_VIRTUAL))) {
		reason = virtual_remember(p, &called);
		if (reason)
			return reason;
	}
	if (flow->entry && flow->entry->service != seed->service)
		flow->entry->service = seed->service;
	return 0;
}

/* Puts the virtual address back into an answer. 0 or a drop reason. */
noinline_subprogram int service_reply(struct __sk_buff *ctx, struct packet *p, const struct flow *flow)
{
	__u32 id = flow->entry->service, flags = flow->entry->flags;
	union addr self = p->tuple.saddr;
	struct socket virtual;
	int reason;

	p->service = id;
	if (!virtual_of(&flow->key, id, &virtual))
		return 0; /* the service is gone: its client will not know the answer, which is what it asked for */
	reason = rewrite(ctx, p, SIDE_SOURCE, &virtual.address, virtual.port);
	if (!reason && (flags & CT_HAIRPIN))
		reason = rewrite(ctx, p, SIDE_DESTINATION, &self, p->tuple.dport);
	return reason;
}

/* An ICMP error that quotes a packet of a known connection belongs to that connection: no policy is asked,
 * and what services translated is translated in the quote too. Sets flow->entry. 1: related, 0: unknown,
 * negative: a drop reason. */
noinline_subprogram int related(struct __sk_buff *ctx, struct packet *p, struct flow *flow)
{
	struct socket quoted;
	struct inner inner;
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
		quoted.address = backend->address;
		quoted.port = backend->port;
		reason = inner_rewrite(ctx, p, &inner, SIDE_SOURCE, &quoted);
		if (!reason && addr_equal(&p->tuple.daddr, &inner.tuple.saddr))
			reason = rewrite(ctx, p, SIDE_DESTINATION, &quoted.address, 0);
		return reason ? -reason : 1;
	}
	if (flow->state != CT_STATE_FORWARD || !virtual_of(&flow->key, id, &quoted))
		return 1;
	/* Somebody on the way, or the backend itself, complains of the client's packet. */
	reason = inner_rewrite(ctx, p, &inner, SIDE_DESTINATION, &quoted);
	if (!reason && addr_equal(&p->tuple.saddr, &inner.tuple.daddr))
		reason = rewrite(ctx, p, SIDE_SOURCE, &quoted.address, 0);
	if (!reason && (flags & CT_HAIRPIN)) {
		quoted.address = inner.tuple.daddr;
		quoted.port = inner.tuple.sport;
		reason = inner_rewrite(ctx, p, &inner, SIDE_SOURCE, &quoted);
		if (!reason)
			reason = rewrite(ctx, p, SIDE_DESTINATION, &quoted.address, 0);
	}
	return reason ? -reason : 1;
}
