// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* tcx ingress of the node's network devices. What is for a pod is decided here and goes straight into it; everything
 * else costs one look-up and goes on: to `external` where there are services to look for, to the stack otherwise. */
#include "lib/dsr.h"
#include "lib/ingress.h"
#include "lib/nat.h"
#include "lib/route.h"
#include "lib/stages.h"

inlined enum verdict to_stack(struct __sk_buff *ctx, struct packet *p)
{
	forwarded(ctx, p, COUNT_TO_STACK);
	return VERDICT_PASS;
}

SEC("tc")
int from_network(struct __sk_buff *ctx)
{
	struct packet p = { .hook = HOOK_FROM_NETWORK, .direction = DIR_TRANSIT };
	struct endpoint *ep;
	bool parsed = false;
	int reason;

	/* What a switch floods is another's; the stack drops it, or has use for what is for all. */
	if (unlikely(ctx->pkt_type != PACKET_HOST))
		return VERDICT_PASS;
	/* Not IP, or broken: the stack may judge, no pod is concerned. */
	if (parse_l3(ctx, &p))
		return VERDICT_PASS;
	ep = endpoint_lookup(&p.tuple.daddr);
	if ((!ep || (ep->flags & ENDPOINT_HOST)) && runtime_uses(USE_EXTERNAL | USE_EGRESS))
		bpf_tail_call(ctx, &stages, STAGE_EXTERNAL);
	if (!ep)
		return to_stack(ctx, &p);
	if (ep->flags & ENDPOINT_HOST) {
		int translated;

		if (!(p.ipv6 ? masquerade_ipv6 : masquerade_ipv4))
			return to_stack(ctx, &p);
		/* A fragment whose first part is unknown may still be the node's own. */
		if (parse_l4(ctx, &p))
			return to_stack(ctx, &p);
		parsed = true;
		translated = unmasquerade(ctx, &p);
		if (translated < 0)
			return drop(ctx, &p, (__u32)-translated);
		if (!translated)
			return to_stack(ctx, &p);
		ep = endpoint_lookup(&p.tuple.daddr);
		if (!ep || (ep->flags & ENDPOINT_HOST))
			return drop(ctx, &p, DROP_NO_ENDPOINT);
	}
	reason = parsed ? 0 : parse_l4(ctx, &p);
	if (!reason && unlikely(dsr_possible(&p)) && runtime_uses(USE_EXTERNAL))
		bpf_tail_call(ctx, &stages, STAGE_ACCEPT);
	if (!reason)
		reason = pod_ingress(ctx, &p, ep, 0, true);
	if (reason)
		return drop(ctx, &p, (__u32)reason);
	/* Too many hops: the stack's own forwarding knows to say so. */
	if (p.ttl <= 1)
		return to_stack(ctx, &p);
	return to_local_pod(ctx, &p, ep);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
