/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Pods that leave the cluster by a node of choice and with an address of choice. One trie holds what policies say
 * of {pod, destination}: the pod as a whole, the destination as a prefix, the longest decides. The pod's node sends
 * to the gateway through the tunnel, in every mode; the gateway finds the same row and knows itself in it. */
#pragma once

#include "config.h"

struct egress_key {
	__u32 length; /* 128 for the pod, and 96 + length for IPv4, length for IPv6 */
	__u8 pod[16];
	__u8 destination[16];
};

enum egress_flag {
	EGRESS_EXCLUDED = 1, /* leaves as if there were no policy */
};

struct egress_route {
	union addr gateway; /* a node; zero: none is alive */
	union addr address; /* that the world sees */
	__u32 flags;
	__u32 pad;
};

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__type(key, struct egress_key);
	__type(value, struct egress_route);
	__uint(max_entries, 65536);
	__uint(map_flags, BPF_F_NO_PREALLOC);
} egress_routes SEC(".maps");

/* NULL where no policy speaks. */
inlined struct egress_route *egress_lookup(const union addr *pod, const union addr *destination)
{
	struct egress_key key = { .length = 256 };
	struct egress_route *route;

	__builtin_memcpy(key.pod, pod, sizeof(key.pod));
	__builtin_memcpy(key.destination, destination, sizeof(key.destination));
	route = bpf_map_lookup_elem(&egress_routes, &key);
	return route && !(route->flags & EGRESS_EXCLUDED) ? route : NULL;
}
