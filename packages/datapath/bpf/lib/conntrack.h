/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* One entry per connection and node, found from either direction by one look-up: the key holds the two
 * ends in a fixed order, the entry which of them began. An entry keeps the verdicts of both ends' policies
 * with the revisions they were taken under, the service that the connection came through, and what
 * masquerading needs. The entry {client, virtual address} of a service names the backend chosen. */
#pragma once

#include "clock.h"
#include "events.h"
#include "parse.h"

enum ct_scope {
	CT_SCOPE_PODS = 0, /* of pods, and of services for clients outside */
	CT_SCOPE_HOST = 1, /* what the node itself says and hears as an endpoint: known apart from what it forwards */
};

struct ct_key {
	union addr addr_a; /* the smaller end, as a number in this machine's byte order */
	union addr addr_b;
	__be16 port_a;
	__be16 port_b;
	__u8 protocol;
	__u8 scope; /* enum ct_scope */
	__u16 pad;
};

enum ct_flag {
	CT_ORIGIN_B = 1, /* end b sent the first packet */
	CT_SEEN_REPLY = 2,
	CT_FIN_FORWARD = 4,
	CT_FIN_REPLY = 8,
	CT_RESET = 16,
	CT_SERVICE = 32, /* {client, virtual address}: `backend` says where it went */
	CT_HAIRPIN = 64, /* a pod reaches itself: its source was rewritten too */
	CT_MASQUERADE = 128,
	CT_LOCAL = 256, /* both ends are pods of this node */
	CT_MIDSTREAM = 512, /* TCP, taken up without a SYN */
	CT_EXTERNAL = 1024, /* with CT_SERVICE: the client came from outside */
	CT_DSR = 2048, /* with CT_SERVICE: the backend's node answers the client directly */
	CT_VIRTUAL = 4096, /* of a service with many addresses: see `virtuals` */
	CT_EGRESS = 8192, /* leaves by an egress gateway */
};

struct ct_entry {
	__u32 expires; /* ticks */
	__u32 flags;
	__u32 service; /* whose virtual address stands in for the backend in answers; 0: none */
	__u32 backend; /* of a CT_SERVICE entry */
	__u32 source_identity;
	__u32 epoch;
	__u32 egress_revision; /* of the origin's policy; 0: not checked */
	__u32 ingress_revision;
	__u32 egress_rule;
	__u32 ingress_rule;
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__type(key, struct ct_key);
	__type(value, struct ct_entry);
	__uint(max_entries, 262144);
} conntrack SEC(".maps");

/* The address that a client called, where the service has many: it called a port of some node. */
struct called {
	union addr address;
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__type(key, struct ct_key);
	__type(value, struct called);
	__uint(max_entries, 65536);
} virtuals SEC(".maps");

enum ct_state {
	CT_STATE_NEW = 0,
	CT_STATE_FORWARD = 1,
	CT_STATE_REPLY = 2,
};

/* True when the source is end b. */
inlined bool ct_key_in(struct ct_key *key, const struct tuple *t, __u32 scope)
{
	bool swap;

	if (t->saddr.d[1] != t->daddr.d[1])
		swap = t->saddr.d[1] > t->daddr.d[1];
	else if (t->saddr.d[0] != t->daddr.d[0])
		swap = t->saddr.d[0] > t->daddr.d[0];
	else
		swap = t->sport > t->dport;
	if (swap) {
		key->addr_a = t->daddr;
		key->addr_b = t->saddr;
		key->port_a = t->dport;
		key->port_b = t->sport;
	} else {
		key->addr_a = t->saddr;
		key->addr_b = t->daddr;
		key->port_a = t->sport;
		key->port_b = t->dport;
	}
	key->protocol = t->protocol;
	key->scope = (__u8)scope;
	key->pad = 0;
	return swap;
}

inlined bool ct_key_of(struct ct_key *key, const struct tuple *t)
{
	return ct_key_in(key, t, CT_SCOPE_PODS);
}

/* The connection that a packet belongs to. */
struct flow {
	struct ct_key key;
	struct ct_entry *entry; /* NULL: new */
	__u32 state; /* enum ct_state */
	__u32 from_b; /* the packet's source is end b */
};

inlined bool ct_closed(__u32 flags)
{
	return (flags & CT_RESET) || (flags & (CT_FIN_FORWARD | CT_FIN_REPLY)) == (CT_FIN_FORWARD | CT_FIN_REPLY);
}

inlined __u32 ct_timeout(__u32 protocol, __u32 flags)
{
	if (protocol == IPPROTO_TCP) {
		if (ct_closed(flags))
			return timeout_tcp_close;
		/* Of a connection to a virtual address only the client is heard: its FIN is all that there will be. */
		if ((flags & (CT_SERVICE | CT_FIN_FORWARD)) == (CT_SERVICE | CT_FIN_FORWARD))
			return timeout_tcp_syn;
		return flags & (CT_SEEN_REPLY | CT_MIDSTREAM) ? timeout_tcp : timeout_tcp_syn;
	}
	if (protocol == IPPROTO_ICMP || protocol == IPPROTO_ICMPV6)
		return timeout_icmp;
	return flags & CT_SEEN_REPLY ? timeout_udp_reply : timeout_udp;
}

/* Finds the packet's connection without touching it. */
inlined void ct_find_in(struct flow *flow, const struct tuple *t, __u32 tcp_flags, __u32 scope)
{
	struct ct_entry *entry;

	flow->from_b = ct_key_in(&flow->key, t, scope);
	flow->state = CT_STATE_NEW;
	flow->entry = NULL;
	entry = bpf_map_lookup_elem(&conntrack, &flow->key);
	if (!entry || (__s32)(entry->expires - now_ticks()) < 0)
		return;
	/* A client that uses the ports of a closed connection again begins a new one. */
	if ((tcp_flags & (TCP_SYN | TCP_ACK)) == TCP_SYN && ct_closed(entry->flags))
		return;
	flow->entry = entry;
	flow->state = !!(entry->flags & CT_ORIGIN_B) == flow->from_b ? CT_STATE_FORWARD : CT_STATE_REPLY;
}

inlined void ct_find(struct flow *flow, const struct tuple *t, __u32 tcp_flags)
{
	ct_find_in(flow, t, tcp_flags, CT_SCOPE_PODS);
}

/* Moves the connection's state and expiry. Writes only what changed: the entry's cache line stays shared
 * between CPUs for most packets. Not atomic: a lost bit comes again with the next packet. */
inlined void ct_advance(const struct packet *p, struct flow *flow)
{
	struct ct_entry *entry = flow->entry;
	__u32 flags = entry->flags, expires;

	if (flow->state == CT_STATE_REPLY)
		flags |= CT_SEEN_REPLY;
	if (p->tuple.protocol == IPPROTO_TCP) {
		if (p->tcp_flags & TCP_FIN)
			flags |= flow->state == CT_STATE_REPLY ? CT_FIN_REPLY : CT_FIN_FORWARD;
		if (p->tcp_flags & TCP_RST)
			flags |= CT_RESET;
	}
	if (flags != entry->flags)
		entry->flags = flags;
	expires = now_ticks() + ct_timeout(p->tuple.protocol, flags);
	if (expires != entry->expires)
		entry->expires = expires;
}

/* Begins a connection with what `seed` holds of verdicts, service and flags. */
noinline_subprogram int ct_create(struct __sk_buff *ctx, struct packet *p, struct flow *flow, struct ct_entry *seed)
{
	if (p->tuple.protocol == IPPROTO_TCP) {
		/* The end of a connection that nobody knows leaves nothing behind. */
		if (p->tcp_flags & (TCP_FIN | TCP_RST))
			return 0;
		if (!(p->tcp_flags & TCP_SYN) && !(p->flags & PACKET_LATER_FRAGMENT)) {
			seed->flags |= CT_MIDSTREAM;
			decided(ctx, p, COUNT_TCP_MIDSTREAM);
		}
	}
	if (flow->from_b)
		seed->flags |= CT_ORIGIN_B;
	seed->expires = now_ticks() + ct_timeout(p->tuple.protocol, seed->flags);
	seed->source_identity = p->source_identity;
	if (bpf_map_update_elem(&conntrack, &flow->key, seed, BPF_ANY))
		return DROP_CONNTRACK_FULL;
	return 0;
}
