/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Who lives on this node: a row for every address of a local pod, and for every address of the node. */
#pragma once

#include "types.h"

struct endpoint_key {
	union addr address;
};

enum endpoint_flag {
	ENDPOINT_INGRESS_ENFORCED = 1, /* what no rule allows is dropped */
	ENDPOINT_EGRESS_ENFORCED = 2,
	ENDPOINT_AUDIT_INGRESS = 4, /* what would be dropped passes, counted */
	ENDPOINT_AUDIT_EGRESS = 8,
	ENDPOINT_HOST = 16, /* an address of the node itself */
	ENDPOINT_PROTECTED = 32, /* look into `protected` before a pod reaches it */
};

struct endpoint {
	__u32 ifindex; /* host side of the pod's veth */
	__u32 id;
	__u32 identity;
	__u32 policy_id; /* 0: no policy at all */
	__u32 policy_revision; /* from 1; a verdict kept under another revision is taken anew */
	__u8 mac[ETH_ALEN];
	__u8 host_mac[ETH_ALEN];
	__u32 flags;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, struct endpoint_key);
	__type(value, struct endpoint);
	__uint(max_entries, 16384);
	__uint(map_flags, BPF_F_NO_PREALLOC);
} endpoints SEC(".maps");

inlined struct endpoint *endpoint_lookup(const union addr *address)
{
	return bpf_map_lookup_elem(&endpoints, address);
}
