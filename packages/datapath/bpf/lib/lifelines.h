/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* What no policy may cut a node off from: its store, its routing, its address. Asked once per connection of the node
 * itself. */
#pragma once

#include "packet.h"

struct lifeline_key {
	union addr peer; /* zero: any */
	__be16 port; /* of whom the connection is made to */
	__u8 protocol;
	__u8 direction; /* enum direction */
	__u8 pad[4];
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, struct lifeline_key);
	__type(value, __u32); /* for the owner's use */
	__uint(max_entries, 4096);
	__uint(map_flags, BPF_F_NO_PREALLOC);
} lifelines SEC(".maps");

noinline_subprogram bool is_lifeline(const struct packet *p, const union addr *peer, __u32 direction)
{
	struct lifeline_key key = {
		.peer = *peer,
		.port = p->tuple.dport,
		.protocol = p->tuple.protocol,
		.direction = (__u8)direction,
	};

	if (bpf_map_lookup_elem(&lifelines, &key))
		return true;
	key.peer.d[0] = key.peer.d[1] = 0;
	return bpf_map_lookup_elem(&lifelines, &key);
}
