// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* cgroup hooks: a socket that connects or sends to a service's virtual address gets a backend's address
 * before there is a packet, so that packets cost nothing extra. IPv4 sockets, IPv6 sockets, and IPv6
 * sockets that speak IPv4 (::ffff:a.b.c.d) go the same way. What the application asks for later (from
 * whom came this datagram, who is the peer) is answered with the virtual address. */
#include "lib/endpoints.h"
#include "lib/ipcache.h"
#include "lib/metrics.h"
#include "lib/runtime.h"
#include "lib/services.h"

#define SOCKET_ALLOW 1
#define SOCKET_REFUSE 0
#define SOCK_STREAM 1
#define ECONNREFUSED 111

struct sock_key {
	__u64 cookie; /* of the socket */
	union addr backend;
	__be16 port;
	__u8 pad[6];
};

struct sock_value {
	union addr address; /* the virtual one */
	__be16 port;
	__u16 pad;
	__u32 service;
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__type(key, struct sock_key);
	__type(value, struct sock_value);
	__uint(max_entries, 65536);
} sock_rev_nat SEC(".maps");

inlined void read_v4(const struct bpf_sock_addr *ctx, union addr *address)
{
	addr_set_v4(address, ctx->user_ip4);
}

inlined void read_v6(const struct bpf_sock_addr *ctx, union addr *address)
{
	address->w[0] = ctx->user_ip6[0];
	address->w[1] = ctx->user_ip6[1];
	address->w[2] = ctx->user_ip6[2];
	address->w[3] = ctx->user_ip6[3];
}

inlined void write_v6(struct bpf_sock_addr *ctx, const union addr *address)
{
	ctx->user_ip6[0] = address->w[0];
	ctx->user_ip6[1] = address->w[1];
	ctx->user_ip6[2] = address->w[2];
	ctx->user_ip6[3] = address->w[3];
}

inlined int refuse(void)
{
	metric_add(COUNT_SOCKET_REFUSED, DIR_EGRESS, 0);
	if (set_retval)
		bpf_set_retval(-ECONNREFUSED);
	return SOCKET_REFUSE;
}

/* A port of any node of the cluster: its backends are known here as well as there. */
noinline_subprogram struct service *node_port_called(const union addr *address, __be16 port, __u32 protocol)
{
	const struct endpoint *ep = endpoint_lookup(address);

	if (ep)
		return ep->flags & ENDPOINT_HOST ? node_port_lookup(address, port, protocol) : NULL;
	return ipcache_is_node(address) ? node_port_lookup(address, port, protocol) : NULL;
}

enum translation {
	TRANSLATION_NONE = 0,
	TRANSLATION_DONE = 1,
	TRANSLATION_REFUSED = 2,
};

/* Chooses for the virtual address in `t` and puts the backend in its place. `keep` keeps this socket with
 * its backend: for unconnected sockets, which are asked at every datagram. */
inlined enum translation translate(struct bpf_sock_addr *ctx, struct sock_value *to, bool keep)
{
	__u32 protocol = ctx->type == SOCK_STREAM ? IPPROTO_TCP : IPPROTO_UDP;
	struct affinity_key client = {};
	const struct service *service;
	const struct backend *backend;
	struct sock_key key = {};
	__u32 id;

	if (ctx->protocol != protocol)
		return TRANSLATION_NONE;
	service = service_lookup(&to->address, to->port, protocol);
	if (!service && runtime_uses(USE_NODE_PORTS))
		service = node_port_called(&to->address, to->port, protocol);
	if (!service)
		return TRANSLATION_NONE;
	key.cookie = bpf_get_socket_cookie(ctx);
	if (service->flags & SERVICE_AFFINITY) {
		client.kind = AFFINITY_NETNS;
		client.client.d[0] = netns_cookie ? bpf_get_netns_cookie(ctx) : 0;
	} else {
		client.kind = keep ? AFFINITY_SOCKET : AFFINITY_NETNS;
		client.client.d[0] = key.cookie;
	}
	to->service = service->id;
	/* The socket has no source port yet: Maglev's choice is by socket. */
	id = backend_select(service, &client, mix((__u32)key.cookie, (__u32)(key.cookie >> 32)), false);
	backend = id ? backend_lookup(id) : NULL;
	if (!backend)
		return TRANSLATION_REFUSED;
	key.backend = backend->address;
	key.port = backend->port;
	if (bpf_map_update_elem(&sock_rev_nat, &key, to, BPF_ANY))
		return TRANSLATION_NONE; /* per packet translation still has it */
	to->address = backend->address;
	to->port = backend->port;
	metric_add(COUNT_SOCKET_TRANSLATED, DIR_EGRESS, 0);
	return TRANSLATION_DONE;
}

/* Puts the virtual address in the place of a backend's. */
inlined bool untranslate(struct bpf_sock_addr *ctx, struct sock_value *at)
{
	struct sock_key key = { .backend = at->address, .port = at->port };
	const struct sock_value *virtual;

	key.cookie = bpf_get_socket_cookie(ctx);
	virtual = bpf_map_lookup_elem(&sock_rev_nat, &key);
	if (!virtual)
		return false;
	at->address = virtual->address;
	at->port = virtual->port;
	return true;
}

noinline_subprogram int forward_v4(struct bpf_sock_addr *ctx, bool keep)
{
	struct sock_value at = {};

	read_v4(ctx, &at.address);
	at.port = (__be16)ctx->user_port;
	switch (translate(ctx, &at, keep)) {
	case TRANSLATION_REFUSED:
		return refuse();
	case TRANSLATION_DONE:
		/* A socket of IPv4 cannot go to a backend of IPv6. */
		if (!addr_is_v4(&at.address))
			return refuse();
		ctx->user_ip4 = at.address.w[3];
		ctx->user_port = at.port;
		break;
	case TRANSLATION_NONE:
		break;
	}
	return SOCKET_ALLOW;
}

noinline_subprogram int forward_v6(struct bpf_sock_addr *ctx, bool keep)
{
	struct sock_value at = {};

	read_v6(ctx, &at.address);
	at.port = (__be16)ctx->user_port;
	switch (translate(ctx, &at, keep)) {
	case TRANSLATION_REFUSED:
		return refuse();
	case TRANSLATION_DONE:
		write_v6(ctx, &at.address);
		ctx->user_port = at.port;
		break;
	case TRANSLATION_NONE:
		break;
	}
	return SOCKET_ALLOW;
}

inlined int backward_v4(struct bpf_sock_addr *ctx)
{
	struct sock_value at = {};

	read_v4(ctx, &at.address);
	at.port = (__be16)ctx->user_port;
	if (untranslate(ctx, &at) && addr_is_v4(&at.address)) {
		ctx->user_ip4 = at.address.w[3];
		ctx->user_port = at.port;
	}
	return SOCKET_ALLOW;
}

inlined int backward_v6(struct bpf_sock_addr *ctx)
{
	struct sock_value at = {};

	read_v6(ctx, &at.address);
	at.port = (__be16)ctx->user_port;
	if (untranslate(ctx, &at)) {
		write_v6(ctx, &at.address);
		ctx->user_port = at.port;
	}
	return SOCKET_ALLOW;
}

SEC("cgroup/connect4")
int sock_connect4(struct bpf_sock_addr *ctx)
{
	return forward_v4(ctx, false);
}

SEC("cgroup/connect6")
int sock_connect6(struct bpf_sock_addr *ctx)
{
	return forward_v6(ctx, false);
}

SEC("cgroup/sendmsg4")
int sock_sendmsg4(struct bpf_sock_addr *ctx)
{
	return forward_v4(ctx, true);
}

SEC("cgroup/sendmsg6")
int sock_sendmsg6(struct bpf_sock_addr *ctx)
{
	return forward_v6(ctx, true);
}

SEC("cgroup/recvmsg4")
int sock_recvmsg4(struct bpf_sock_addr *ctx)
{
	return backward_v4(ctx);
}

SEC("cgroup/recvmsg6")
int sock_recvmsg6(struct bpf_sock_addr *ctx)
{
	return backward_v6(ctx);
}

SEC("cgroup/getpeername4")
int sock_getpeername4(struct bpf_sock_addr *ctx)
{
	return backward_v4(ctx);
}

SEC("cgroup/getpeername6")
int sock_getpeername6(struct bpf_sock_addr *ctx)
{
	return backward_v6(ctx);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
