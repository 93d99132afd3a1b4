/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Virtual addresses and the backends behind them. A service row names a table of slots {service,
 * generation} that holds backend ids: as many as there are backends for a random choice, a prime number
 * for Maglev. User space writes the next generation's slots, then the service row, then removes the old
 * slots: a reader sees one or the other whole. Cost: one look-up for "is it a service", two for a choice. */
#pragma once

#include "clock.h"
#include "packet.h"

struct service_key {
	union addr address;
	__be16 port;
	__u8 protocol;
	__u8 pad[5];
};

enum service_algorithm {
	SERVICE_RANDOM = 0,
	SERVICE_MAGLEV = 1,
};

enum service_flag {
	SERVICE_AFFINITY = 1,
	SERVICE_EXTERNAL = 2, /* clients outside of the cluster may enter it */
	SERVICE_NODE_PORT = 4, /* key with the unspecified address: for every address of the node */
	SERVICE_LOCAL_EXTERNAL = 8, /* clients outside choose from the local slots */
	SERVICE_LOCAL_INTERNAL = 16, /* for people: all slots are of this node */
	SERVICE_SOURCE_RANGES = 32, /* clients outside must stand in `source_ranges` */
	SERVICE_DSR = 64, /* backends elsewhere answer clients outside directly */
	SERVICE_ADDRESS = 128, /* key with port and protocol 0: an address that has external services */
};

struct service {
	__u32 id; /* from 1 */
	__u16 generation;
	__u8 algorithm;
	__u8 flags;
	__u32 slots; /* 0: no backend */
	__u32 affinity_ticks;
	__u32 backends; /* for people */
	__u32 local_slots; /* of the table {id | SLOTS_LOCAL}: backends of this node */
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, struct service_key);
	__type(value, struct service);
	__uint(max_entries, 65536);
	__uint(map_flags, BPF_F_NO_PREALLOC);
} services SEC(".maps");

#define SLOTS_PER_CHUNK 64
#define SLOTS_LOCAL 0x80000000U

struct slots_key {
	__u32 service;
	__u16 generation;
	__u16 chunk;
};

struct slots {
	__u32 backend[SLOTS_PER_CHUNK];
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, struct slots_key);
	__type(value, struct slots);
	__uint(max_entries, 131072);
	__uint(map_flags, BPF_F_NO_PREALLOC);
} lb_slots SEC(".maps");

enum backend_state {
	BACKEND_ACTIVE = 0,
	BACKEND_TERMINATING = 1, /* chosen for nothing new, unless all terminate: user space sees to that */
};

struct backend {
	union addr address;
	__be16 port;
	__u8 protocol;
	__u8 state;
	__u32 pad;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, __u32);
	__type(value, struct backend);
	__uint(max_entries, 262144);
	__uint(map_flags, BPF_F_NO_PREALLOC);
} backends SEC(".maps");

/* The virtual address of a service, to put it back into answers. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, __u32); /* service id */
	__type(value, struct socket);
	__uint(max_entries, 65536);
	__uint(map_flags, BPF_F_NO_PREALLOC);
} rev_nat SEC(".maps");

/* Sources that may enter a service from outside. */
struct source_range {
	__u32 length; /* 32 for the service, and 96 + length for IPv4, length for IPv6 */
	__u32 service;
	__u8 address[16];
};

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__type(key, struct source_range);
	__type(value, __u32);
	__uint(max_entries, 65536);
	__uint(map_flags, BPF_F_NO_PREALLOC);
} source_ranges SEC(".maps");

enum affinity_kind {
	AFFINITY_ADDRESS = 0,
	AFFINITY_NETNS = 1, /* client: network namespace cookie */
	AFFINITY_SOCKET = 2, /* client: socket cookie; keeps an unconnected UDP socket with one backend */
};

struct affinity_key {
	union addr client;
	__u32 service;
	__u8 kind;
	__u8 pad[3];
};

struct affinity {
	__u32 backend;
	__u32 last_used; /* ticks */
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__type(key, struct affinity_key);
	__type(value, struct affinity);
	__uint(max_entries, 65536);
} affinity SEC(".maps");

inlined struct service *service_lookup(const union addr *address, __be16 port, __u32 protocol)
{
	struct service_key key = { .address = *address, .port = port, .protocol = (__u8)protocol };

	return bpf_map_lookup_elem(&services, &key);
}

/* The row of all of this node's addresses, at a port. */
inlined struct service *node_port_lookup(const union addr *address, __be16 port, __u32 protocol)
{
	struct service_key key = { .port = port, .protocol = (__u8)protocol };

	if (addr_is_v4(address))
		key.address.w[2] = ADDR_V4_PREFIX;
	return bpf_map_lookup_elem(&services, &key);
}

/* Whether the service takes clients outside from this address. */
inlined bool source_allowed(const struct service *service, const union addr *source)
{
	struct source_range range = { .length = 160, .service = service->id };
	const __u32 *allowed;

	__builtin_memcpy(range.address, source, sizeof(range.address));
	allowed = bpf_map_lookup_elem(&source_ranges, &range);
	return allowed && *allowed;
}

inlined struct backend *backend_lookup(__u32 id)
{
	return bpf_map_lookup_elem(&backends, &id);
}

/* Takes `b` into the hash `a` so that every bit of either reaches every bit of the result. */
inlined __u32 mix(__u32 a, __u32 b)
{
	a ^= b;
	a = (a ^ a >> 16) * 0x7feb352d;
	a = (a ^ a >> 15) * 0x846ca68b;
	return a ^ a >> 16;
}

inlined __u32 addr_hash(const union addr *a)
{
	return mix(mix(a->w[0] ^ a->w[1], a->w[2]), a->w[3]);
}

/* Every node hashes a connection alike, so that Maglev keeps it with its backend wherever it arrives. */
inlined __u32 tuple_hash(const struct tuple *t)
{
	return mix(mix(addr_hash(&t->saddr), addr_hash(&t->daddr)),
		   ((__u32)t->sport << 16 | t->dport) ^ t->protocol);
}

inlined __u32 slot_read(const struct service *service, __u32 slot, bool local)
{
	struct slots_key key = {
		.service = local ? service->id | SLOTS_LOCAL : service->id,
		.generation = service->generation,
		.chunk = (__u16)(slot / SLOTS_PER_CHUNK),
	};
	struct slots *slots = bpf_map_lookup_elem(&lb_slots, &key);

	return slots ? slots->backend[slot % SLOTS_PER_CHUNK] : 0;
}

/* A backend for a new connection; 0: none. `client` is the affinity key made ready but for the service; its `pad`
 * says afterwards whether affinity chose. `local`: one of this node. */
noinline_subprogram __u32 backend_select(const struct service *service, struct affinity_key *client, __u32 hash,
					 bool local)
{
	bool kept_it = false;
	__u32 id = 0, tick = now_ticks(), limit = 0, slots = local ? service->local_slots : service->slots;

	client->service = service->id;
	if (service->flags & SERVICE_AFFINITY)
		limit = service->affinity_ticks;
	else if (client->kind == AFFINITY_SOCKET)
		limit = timeout_udp_reply;
	if (limit) {
		const struct affinity *kept = bpf_map_lookup_elem(&affinity, client);

		if (kept && tick - kept->last_used <= limit)
			id = kept->backend;
		if (id) {
			const struct backend *backend = backend_lookup(id);

			kept_it = backend && backend->state == BACKEND_ACTIVE;
			if (!kept_it)
				id = 0;
		}
	}
	if (!id) {
		if (!slots)
			return 0;
		if (service->algorithm == SERVICE_RANDOM)
			hash = bpf_get_prandom_u32();
		id = slot_read(service, hash % slots, local);
		if (!id)
			return 0;
	}
	if (limit) {
		struct affinity now = { .backend = id, .last_used = tick };

		bpf_map_update_elem(&affinity, client, &now, BPF_ANY);
	}
	client->pad[0] = kept_it;
	return id;
}
