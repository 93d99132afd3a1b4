/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Settings that change under traffic: one row, read by one inlined look-up. */
#pragma once

#include "types.h"

enum runtime_flag {
	MONITOR_DROP = 1,
	MONITOR_VERDICT = 2,
	MONITOR_TRACE = 4,
	MONITOR_AUDIT = 8, /* what passes on trial; rate limited as drops are */
	/* What there is to look for; stays when it has gone. */
	USE_EXTERNAL = 256, /* services that clients outside may enter */
	USE_NODE_PORTS = 512,
	USE_EGRESS = 1024, /* egress gateways */
	NODES_FLAGGED = 65536, /* user space's alone: it has given nodes in the ipcache their flag */
};

struct runtime {
	__u32 flags; /* enum runtime_flag, or-ed */
	__u32 drop_events_per_second; /* and CPU */
	/* Moves when an address changed its identity or a protected socket came: verdicts kept in
	 * conntrack are taken anew once. */
	__u32 epoch;
	__u32 layout; /* version of all maps, by user space */
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct runtime);
	__uint(max_entries, 1);
} runtime SEC(".maps");

inlined struct runtime *runtime_get(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&runtime, &zero);
}

/* Whether there is any of these: enum runtime_flag, or-ed. */
inlined bool runtime_uses(__u32 flags)
{
	const struct runtime *rt = runtime_get();

	return rt && (rt->flags & flags);
}
