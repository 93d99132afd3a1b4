/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* The far end of direct server return: on the backend's node. */
#pragma once

#include "dsr.h"
#include "ipcache.h"
#include "service_path.h"

/* A packet for a pod, or a socket of this node, that another node sent here by DSR: takes the option off and notes
 * which service the answers belong to. 0 or a drop reason. What names no service of ours is a stranger's and stays. */
noinline_subprogram int dsr_accept(struct __sk_buff *ctx, struct packet *p)
{
	const struct service *service;
	struct socket virtual = {};
	int reason;

	if (!(p->flags & PACKET_HAS_PORTS) || !dsr_read(ctx, p, &virtual))
		return 0;
	service = service_lookup(&virtual.address, virtual.port, p->tuple.protocol);
	/* Of a node only: nobody shall choose the address that a pod of ours speaks with. */
	if (!service && runtime_uses(USE_NODE_PORTS) && ipcache_is_node(&virtual.address))
		service = node_port_lookup(&virtual.address, virtual.port, p->tuple.protocol);
	if (!service || !(service->flags & SERVICE_EXTERNAL))
		return 0;
	reason = dsr_strip(ctx, p);
	if (reason)
		return reason;
	p->service = service->id;
	decided(ctx, p, COUNT_DSR_ACCEPTED);
	return service->flags & SERVICE_NODE_PORT ? virtual_remember(p, &virtual.address) : 0;
}
