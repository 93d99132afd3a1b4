// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Goes on where from_network found no pod: services for clients outside, and answers to what left under an address of
 * this node. What is neither goes to the stack. And where it found a pod: what another node sent there by DSR. Four
 * programs, each small enough for the verifier of old kernels. */
#include "lib/external.h"
#include "lib/external_aside.h"
#include "lib/return.h"
#include "lib/stages.h"

SEC("tc")
int external(struct __sk_buff *ctx)
{
	struct packet p = { .hook = HOOK_FROM_NETWORK, .direction = DIR_TRANSIT };
	struct scratch *room = scratch_room();
	const struct service *service;
	struct target *to;
	struct endpoint *ep;
	int reason;

	/* Broken, or a fragment whose first part is unknown: the node's own, for all that is known. */
	if (parse_l3(ctx, &p) || parse_l4(ctx, &p) || !room)
		return VERDICT_PASS;
	to = &room->target;
	service = p.flags & PACKET_HAS_PORTS ? service_called(&p) : NULL;
	if (!service) {
		bpf_tail_call(ctx, &stages, STAGE_ASIDE);
		return VERDICT_PASS;
	}
	p.service = service->id;
	if (!(service->flags & SERVICE_EXTERNAL))
		return drop(ctx, &p, DROP_NOT_EXTERNAL);
	__builtin_memset(to, 0, sizeof(*to));
	reason = external_target(ctx, &p, service, to);
	if (reason == DROP_NO_BACKEND)
		return external_refuse(ctx, &p, ERROR_PORT_UNREACHABLE, 0);
	if (reason)
		return drop(ctx, &p, (__u32)reason);
	ep = endpoint_lookup(&to->backend.address);
	return ep ? external_deliver(ctx, &p, to, ep) : external_forward(ctx, &p, to, &room->way);
}

SEC("tc")
int external_aside(struct __sk_buff *ctx)
{
	struct packet p = { .hook = HOOK_FROM_NETWORK, .direction = DIR_TRANSIT };
	enum verdict verdict;

	if (parse_l3(ctx, &p) || parse_l4(ctx, &p))
		return VERDICT_PASS;
	if (p.flags & PACKET_ICMP_ERROR)
		verdict = external_error(ctx, &p);
	else if (dsr_possible(&p) && endpoint_lookup(&p.tuple.daddr))
		verdict = external_own_socket(ctx, &p);
	else
		verdict = external_address(ctx, &p);
	if (verdict == VERDICT_AGAIN)
		bpf_tail_call(ctx, &stages, STAGE_NETWORK);
	if (verdict == VERDICT_NONE)
		bpf_tail_call(ctx, &stages, STAGE_RETURN);
	return verdict >= VERDICT_ERROR ? VERDICT_PASS : verdict;
}

SEC("tc")
int external_return(struct __sk_buff *ctx)
{
	bool tunnelled = overlay_ifindex && ctx->ifindex == overlay_ifindex;
	struct packet p = {
		.hook = tunnelled ? HOOK_FROM_OVERLAY : HOOK_FROM_NETWORK,
		.direction = DIR_TRANSIT,
	};
	struct endpoint *ep;
	int translated, reason;

	if (parse_l3(ctx, &p) || parse_l4(ctx, &p))
		return VERDICT_PASS;
	translated = endpoint_lookup(&p.tuple.daddr) ? unmasquerade(ctx, &p) : 0;
	if (translated < 0)
		return drop(ctx, &p, (__u32)-translated);
	if (!translated) {
		if (tunnelled)
			return to_this_node(ctx, &p);
		forwarded(ctx, &p, COUNT_TO_STACK);
		return VERDICT_PASS;
	}
	ep = endpoint_lookup(&p.tuple.daddr);
	if (!ep || (ep->flags & ENDPOINT_HOST))
		return return_onwards(ctx, &p);
	if (p.ttl <= 1)
		return drop(ctx, &p, DROP_TTL_EXCEEDED);
	reason = pod_ingress(ctx, &p, ep, 0, true);
	if (reason)
		return drop(ctx, &p, (__u32)reason);
	return to_local_pod(ctx, &p, ep);
}

SEC("tc")
int external_accept(struct __sk_buff *ctx)
{
	struct packet p = { .hook = HOOK_FROM_NETWORK, .direction = DIR_TRANSIT };
	struct endpoint *ep;
	int reason;

	if (parse_l3(ctx, &p) || parse_l4(ctx, &p))
		return VERDICT_PASS;
	ep = endpoint_lookup(&p.tuple.daddr);
	if (!ep || (ep->flags & ENDPOINT_HOST))
		return VERDICT_PASS;
	reason = dsr_accept(ctx, &p);
	if (!reason)
		reason = pod_ingress(ctx, &p, ep, 0, true);
	if (reason)
		return drop(ctx, &p, (__u32)reason);
	if (p.ttl <= 1) {
		forwarded(ctx, &p, COUNT_TO_STACK);
		return VERDICT_PASS;
	}
	return to_local_pod(ctx, &p, ep);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
