/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Packets and bytes by reason and direction. An array per CPU: no lock, no hash. */
#pragma once

#include "types.h"
#include "drop_reasons.h"

struct metric {
	__u64 packets;
	__u64 bytes;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32); /* reason * DIR_COUNT + direction */
	__type(value, struct metric);
	__uint(max_entries, REASON_MAX * DIR_COUNT);
} metrics SEC(".maps");

inlined void metric_add(__u32 reason, __u32 direction, __u32 bytes)
{
	__u32 index = reason * DIR_COUNT + direction;
	struct metric *metric = bpf_map_lookup_elem(&metrics, &index);

	if (!metric)
		return;
	metric->packets++;
	metric->bytes += bytes;
}
