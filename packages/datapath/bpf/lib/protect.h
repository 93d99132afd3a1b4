/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Sockets of the infrastructure (the agent's, the store's) that no pod may reach, whatever policy says.
 * Asked once per connection, and only for destinations whose row says so. */
#pragma once

#include "packet.h"

struct protected_key {
	union addr address;
	__be16 port;
	__u8 protocol;
	__u8 pad[5];
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, struct protected_key);
	__type(value, __u32); /* for the owner's use */
	__uint(max_entries, 4096);
	__uint(map_flags, BPF_F_NO_PREALLOC);
} protected SEC(".maps");

noinline_subprogram bool is_protected(const struct tuple *t)
{
	struct protected_key key = { .address = t->daddr, .port = t->dport, .protocol = t->protocol };

	return bpf_map_lookup_elem(&protected, &key);
}
