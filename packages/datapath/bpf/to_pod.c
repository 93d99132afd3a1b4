// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* tcx egress of the host side of every pod's veth: what comes to a pod through the node's stack. What
 * other programs decided comes by peer redirect and does not pass here. */
#include "lib/ingress.h"
#include "lib/neighbour.h"

/* Whom the packet comes from, as far as this node knows by itself; 0: ask the ipcache. */
inlined __u32 source_identity(const struct __sk_buff *ctx, const struct packet *p)
{
	const struct endpoint *ep;

	if (ctx->mark == MARK_HOST)
		return IDENTITY_HOST;
	ep = endpoint_lookup(&p->tuple.saddr);
	if (!ep)
		return 0;
	return ep->flags & ENDPOINT_HOST ? IDENTITY_HOST : ep->identity;
}

SEC("tc")
int to_pod(struct __sk_buff *ctx)
{
	struct packet p = { .hook = HOOK_TO_POD, .direction = DIR_INGRESS };
	struct endpoint *ep;
	int reason;

	if (ctx->protocol == bpf_htons(ETH_P_ARP))
		return VERDICT_PASS;
	reason = parse_link(ctx, &p);
	if (unlikely(reason > 0))
		return drop(ctx, &p, (__u32)reason);
	if (unlikely(reason))
		return VERDICT_PASS;
	ep = endpoint_lookup(&p.tuple.daddr);
	if (!ep || ep->ifindex != ctx->ifindex)
		return drop(ctx, &p, DROP_NO_ENDPOINT);
	reason = parse_l4(ctx, &p);
	if (!reason)
		reason = pod_ingress(ctx, &p, ep, source_identity(ctx, &p), false);
	if (reason)
		return drop(ctx, &p, (__u32)reason);
	forwarded(ctx, &p, COUNT_TO_POD);
	return VERDICT_PASS;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
