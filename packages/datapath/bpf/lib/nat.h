/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Masquerading: what pods send out of the native ranges leaves with an address of the device and a port
 * of the node's range. Two entries a connection, one for each direction. The port depends on the
 * connection alone (a hash and the steps it takes from there), so that a forward entry that was evicted is found again
 * behind its reverse entry, and a missing reverse entry is made again from the forward one. */
#pragma once

#include "clock.h"
#include "devices.h"
#include "events.h"
#include "icmp_inner.h"
#include "services.h"

enum nat_direction {
	NAT_OUT = 0, /* pod to world: the source is rewritten */
	NAT_IN = 1, /* world to device address: the destination is rewritten */
};

struct nat_key {
	union addr saddr;
	union addr daddr;
	__be16 sport;
	__be16 dport;
	__u8 protocol;
	__u8 direction;
	__u16 pad;
};

struct nat_entry {
	union addr address;
	__be16 port;
	__u16 pad;
	__u32 last_used; /* ticks */
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__type(key, struct nat_key);
	__type(value, struct nat_entry);
	__uint(max_entries, 131072);
} nat SEC(".maps");

/* Destinations that see pods by their own addresses. */
struct nat_prefix {
	__u32 length; /* IPv4: 96 + length */
	__u8 address[16];
};

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__type(key, struct nat_prefix);
	__type(value, __u32); /* 0: no exception after all */
	__uint(max_entries, 131072);
	__uint(map_flags, BPF_F_NO_PREALLOC);
} nat_exceptions SEC(".maps");

#define NAT_TRIES 32

inlined bool nat_is_exception(const union addr *address)
{
	struct nat_prefix prefix = { .length = 128 };
	const __u32 *found;

	__builtin_memcpy(prefix.address, address, sizeof(prefix.address));
	found = bpf_map_lookup_elem(&nat_exceptions, &prefix);
	return found && *found;
}

inlined bool nat_translates_port(__u32 protocol)
{
	return protocol == IPPROTO_TCP || protocol == IPPROTO_UDP || protocol == IPPROTO_ICMP ||
	       protocol == IPPROTO_ICMPV6;
}

inlined void nat_key_of(struct nat_key *key, const struct tuple *t, enum nat_direction direction)
{
	key->saddr = t->saddr;
	key->daddr = t->daddr;
	key->sport = t->sport;
	key->dport = t->dport;
	key->protocol = t->protocol;
	key->direction = (__u8)direction;
	key->pad = 0;
}

/* The key under which the answer to `t`, sent with `port` of `address`, will be sought. Answers to an
 * echo carry its identifier on both sides. */
inlined void nat_reverse_key(struct nat_key *key, const struct tuple *t, const union addr *address, __be16 port)
{
	bool echo = t->protocol == IPPROTO_ICMP || t->protocol == IPPROTO_ICMPV6;

	key->saddr = t->daddr;
	key->daddr = *address;
	key->sport = echo ? port : t->dport;
	key->dport = port;
	key->protocol = t->protocol;
	key->direction = NAT_IN;
	key->pad = 0;
}

/* Claims a port of `address` for the connection `t`, or finds the one that it has. 0: none is free. */
noinline_subprogram int nat_claim(const struct tuple *t, const union addr *address, struct nat_entry *forward)
{
	__u32 range = (__u32)nat_port_max - nat_port_min + 1, tries = NAT_TRIES;
	__u32 start = tuple_hash(t), step = mix(start, start) | 1, tick = now_ticks();
	bool keeps_port = !nat_translates_port(t->protocol);
	struct nat_entry back = { .address = t->saddr, .port = t->sport, .last_used = tick };
	struct nat_key key;

	if (keeps_port)
		tries = 1;
	for (__u32 i = 0; i < NAT_TRIES; i++) {
		__be16 port = keeps_port ? t->sport : bpf_htons((__u16)(nat_port_min + (start + i * step) % range));
		const struct nat_entry *taken;

		if (i >= tries)
			break;
		nat_reverse_key(&key, t, address, port);
		if (bpf_map_update_elem(&nat, &key, &back, BPF_NOEXIST)) {
			taken = bpf_map_lookup_elem(&nat, &key);
			if (!taken || !addr_equal(&taken->address, &t->saddr) || taken->port != t->sport)
				continue;
		}
		forward->address = *address;
		forward->port = port;
		forward->last_used = tick;
		nat_key_of(&key, t, NAT_OUT);
		return bpf_map_update_elem(&nat, &key, forward, BPF_ANY) ? DROP_NAT_NO_PORT : 0;
	}
	return DROP_NAT_NO_PORT;
}

/* The translation of a connection that leaves, made if need be. 0 or a drop reason. */
noinline_subprogram int nat_out(struct __sk_buff *ctx, struct packet *p, const union addr *address,
				struct nat_entry *to)
{
	struct nat_key key;
	struct nat_entry *entry;
	int reason;

	nat_key_of(&key, &p->tuple, NAT_OUT);
	entry = bpf_map_lookup_elem(&nat, &key);
	/* The device may have changed its address since: begin anew then. */
	if (entry && addr_equal(&entry->address, address)) {
		__u32 tick = now_ticks();

		*to = *entry;
		if (entry->last_used != tick)
			entry->last_used = tick;
		nat_reverse_key(&key, &p->tuple, address, to->port);
		entry = bpf_map_lookup_elem(&nat, &key);
		if (likely(entry && addr_equal(&entry->address, &p->tuple.saddr) && entry->port == p->tuple.sport))
			return 0;
		if (!entry) {
			struct nat_entry back = { .address = p->tuple.saddr, .port = p->tuple.sport, .last_used = tick };

			if (!bpf_map_update_elem(&nat, &key, &back, BPF_NOEXIST))
				return 0;
		}
	}
	reason = nat_claim(&p->tuple, address, to);
	if (!reason)
		decided(ctx, p, COUNT_MASQUERADE_NEW);
	return reason;
}

/* An error about something that came in leaves in the name of `address`: the quoted destination is that of the node
 * behind it. 0 or a drop reason. */
noinline_subprogram int masquerade_error(struct __sk_buff *ctx, struct packet *p, const union addr *address)
{
	struct socket quoted;
	struct inner inner;
	struct nat_key key;
	struct nat_entry *entry;
	int reason;

	if (inner_parse(ctx, p, &inner)) {
		key.saddr = inner.tuple.daddr;
		key.daddr = inner.tuple.saddr;
		key.sport = inner.tuple.dport;
		key.dport = inner.tuple.sport;
		key.protocol = inner.tuple.protocol;
		key.direction = NAT_OUT;
		key.pad = 0;
		entry = bpf_map_lookup_elem(&nat, &key);
		if (entry) {
			quoted.address = entry->address;
			quoted.port = entry->port;
			reason = inner_rewrite(ctx, p, &inner, SIDE_DESTINATION, &quoted);
			if (reason)
				return reason;
		}
	}
	return rewrite(ctx, p, SIDE_SOURCE, address, 0);
}

/* Sends the packet out in the name of `address`. 0 or a drop reason. */
inlined int masquerade(struct __sk_buff *ctx, struct packet *p, const union addr *address)
{
	struct nat_entry to;
	int reason;

	if (p->flags & PACKET_ICMP_ERROR)
		return masquerade_error(ctx, p, address);
	reason = nat_out(ctx, p, address, &to);
	return reason ? reason : rewrite(ctx, p, SIDE_SOURCE, &to.address, to.port);
}

inlined bool nat_port_in_range(__be16 port)
{
	__u16 host = bpf_ntohs(port);

	return host >= nat_port_min && host <= nat_port_max;
}

/* An ICMP error about something masqueraded: its source gets its own address back, inside and outside.
 * True when the packet was translated; a negative number is a drop reason. */
noinline_subprogram int unmasquerade_error(struct __sk_buff *ctx, struct packet *p)
{
	struct inner inner;
	struct nat_key key;
	struct nat_entry *entry;
	struct socket quoted;
	int reason;

	if (!inner_parse(ctx, p, &inner))
		return 0;
	/* The key of the answer that will not come. */
	key.saddr = inner.tuple.daddr;
	key.daddr = inner.tuple.saddr;
	key.sport = inner.tuple.dport;
	key.dport = inner.tuple.sport;
	key.protocol = inner.tuple.protocol;
	key.direction = NAT_IN;
	key.pad = 0;
	entry = bpf_map_lookup_elem(&nat, &key);
	if (!entry)
		return 0;
	quoted.address = entry->address;
	quoted.port = entry->port;
	reason = inner_rewrite(ctx, p, &inner, SIDE_SOURCE, &quoted);
	if (!reason)
		reason = rewrite(ctx, p, SIDE_DESTINATION, &quoted.address, 0);
	return reason ? -reason : 1;
}

/* Gives an answer its pod's address back. 1: done, 0: not ours, negative: a drop reason. */
noinline_subprogram int unmasquerade(struct __sk_buff *ctx, struct packet *p)
{
	struct nat_key key;
	struct nat_entry *entry;
	union addr address;
	__be16 port;
	int reason;

	if (p->flags & PACKET_ICMP_ERROR)
		return unmasquerade_error(ctx, p);
	if (nat_translates_port(p->tuple.protocol) && !nat_port_in_range(p->tuple.dport))
		return 0;
	nat_key_of(&key, &p->tuple, NAT_IN);
	entry = bpf_map_lookup_elem(&nat, &key);
	if (!entry)
		return 0;
	address = entry->address;
	port = entry->port;
	reason = rewrite(ctx, p, SIDE_DESTINATION, &address, port);
	return reason ? -reason : 1;
}
