/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Programs that go on where another leaves off: what only some packets need is verified, and has its stack, apart.
 * A stage begins with the packet as it came. Where it is not there the caller goes on by itself. */
#pragma once

#include "types.h"

enum stage {
	STAGE_EXTERNAL = 0, /* from_network: what is for no pod, where there are services or egress gateways */
	STAGE_ASIDE = 1, /* external: what is about a service but no packet to one */
	STAGE_RETURN = 2, /* the same: what has to do with no service; from_overlay: what is for an address of the node */
	STAGE_NETWORK = 3, /* from_network, with what has become a packet for a pod */
	STAGE_ACCEPT = 4, /* from_network: what another node may have sent to a pod by DSR */
	STAGE_COUNT = 5,
};

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__type(key, __u32);
	__type(value, __u32);
	__uint(max_entries, STAGE_COUNT);
} stages SEC(".maps");
