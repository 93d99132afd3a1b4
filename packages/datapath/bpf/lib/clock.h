/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Time for expiry: ticks of 2^30 ns of CLOCK_MONOTONIC, cheap to read and to compare. */
#pragma once

#include "config.h"

inlined __u64 now_ns(void)
{
	return coarse_clock ? bpf_ktime_get_coarse_ns() : bpf_ktime_get_ns();
}

inlined __u32 now_ticks(void)
{
	return (__u32)(now_ns() >> 30);
}
