// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* tcx egress of the device that holds the node's gateway addresses: the node's routes to pods lead here.
 * From here to the pod's device (to_pod decides), or into the tunnel. */
#include "lib/ipcache.h"
#include "lib/neighbour.h"
#include "lib/route.h"

/* The device needs no neighbours; should the kernel ask for one, it hears the device's own address. */
inlined enum verdict answer_neighbour(struct __sk_buff *ctx, struct packet *p)
{
	__u64 mac = host_device_mac;
	int reason;

	if (ctx->protocol == bpf_htons(ETH_P_ARP))
		reason = arp_answer(ctx, (const __u8 *)&mac, 0, p);
	else if (p->icmp_type == NDP_SOLICIT)
		reason = ndp_answer(ctx, p, (const __u8 *)&mac);
	else
		reason = DROP_NEIGHBOUR_QUIET;
	if (reason)
		return drop(ctx, p, (__u32)reason);
	forwarded(ctx, p, COUNT_ANSWERED);
	return (enum verdict)bpf_redirect(ctx->ifindex, BPF_F_INGRESS);
}

/* Who speaks: this node, or somebody for whom it forwards. */
inlined __u32 speaker(const struct __sk_buff *ctx, const struct packet *p)
{
	const struct endpoint *ep;

	if (!ctx->ingress_ifindex)
		return IDENTITY_HOST;
	ep = endpoint_lookup(&p->tuple.saddr);
	if (ep)
		return ep->flags & ENDPOINT_HOST ? IDENTITY_HOST : ep->identity;
	return ipcache_identity(ipcache_lookup(&p->tuple.saddr), p->ipv6);
}

SEC("tc")
int from_host(struct __sk_buff *ctx)
{
	struct packet p = { .hook = HOOK_FROM_HOST, .direction = DIR_TRANSIT };
	const struct ipcache_entry *peer;
	const struct endpoint *ep;
	__u32 identity;
	int reason;

	if (ctx->protocol == bpf_htons(ETH_P_ARP)) {
		p.length = ctx->len;
		addr_set_v4(&p.tuple.saddr, 0);
		addr_set_v4(&p.tuple.daddr, 0);
		return answer_neighbour(ctx, &p);
	}
	reason = parse_link(ctx, &p);
	if (unlikely(reason > 0))
		return drop(ctx, &p, (__u32)reason);
	if (unlikely(reason))
		return answer_neighbour(ctx, &p);
	identity = speaker(ctx, &p);
	p.source_identity = identity;
	ep = endpoint_lookup(&p.tuple.daddr);
	if (ep && !(ep->flags & ENDPOINT_HOST)) {
		if (address_frame(ctx, ep->host_mac, ep->mac))
			return drop(ctx, &p, DROP_WRITE_FAILED);
		if (identity == IDENTITY_HOST)
			ctx->mark = MARK_HOST;
		return (int)bpf_redirect(ep->ifindex, 0);
	}
	if (ep)
		return VERDICT_PASS;
	if (addr_is_multicast(&p.tuple.daddr))
		return drop(ctx, &p, DROP_MULTICAST);
	if (!overlay_ifindex)
		return drop(ctx, &p, DROP_NO_ENDPOINT);
	peer = ipcache_lookup(&p.tuple.daddr);
	p.destination_identity = ipcache_identity(peer, p.ipv6);
	if (!peer || addr_is_zero(&peer->tunnel_endpoint))
		return drop(ctx, &p, DROP_NO_ENDPOINT);
	/* To the other node, this one is a remote one. */
	return to_tunnel(ctx, &p, &peer->tunnel_endpoint,
			 identity == IDENTITY_HOST ? (__u32)IDENTITY_REMOTE_NODE : identity, overlay_ifindex);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
