/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* What programs must know of the device they run on. */
#pragma once

#include "types.h"

enum device_flag {
	DEVICE_POD = 1, /* host side of a pod's veth */
	DEVICE_NETWORK = 2,
};

struct device {
	union addr ipv4; /* address to masquerade with; zero: none */
	union addr ipv6;
	__u8 mac[ETH_ALEN];
	__u16 pad;
	__u32 flags;
	__u32 pad2;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, __u32); /* ifindex */
	__type(value, struct device);
	__uint(max_entries, 16384);
	__uint(map_flags, BPF_F_NO_PREALLOC);
} devices SEC(".maps");

inlined struct device *device_lookup(__u32 ifindex)
{
	return bpf_map_lookup_elem(&devices, &ifindex);
}
