// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* tcx egress of the node's network devices: masquerades what from_pod marked for it. All else leaves after
 * one comparison. */
#include "lib/nat.h"

SEC("tc")
int to_network(struct __sk_buff *ctx)
{
	struct packet p = { .hook = HOOK_TO_NETWORK, .direction = DIR_EGRESS };
	const struct device *device;
	union addr address;
	int reason;

	if (likely(ctx->mark != MARK_MASQUERADE))
		return VERDICT_PASS;
	reason = parse_l3(ctx, &p);
	if (!reason)
		reason = parse_l4(ctx, &p);
	if (reason)
		return drop(ctx, &p, (__u32)reason);
	device = device_lookup(ctx->ifindex);
	if (!device)
		return drop(ctx, &p, DROP_NAT_NO_ADDRESS);
	address = p.ipv6 ? device->ipv6 : device->ipv4;
	if (addr_is_zero(&address))
		return drop(ctx, &p, DROP_NAT_NO_ADDRESS);
	reason = masquerade(ctx, &p, &address);
	if (reason)
		return drop(ctx, &p, (__u32)reason);
	ctx->mark = MARK_ROUTED;
	forwarded(ctx, &p, COUNT_MASQUERADED);
	return VERDICT_PASS;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
