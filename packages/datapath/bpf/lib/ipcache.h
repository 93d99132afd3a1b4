/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Who is behind an address anywhere: identity, and the tunnel that leads there. Single addresses stand
 * in a hash (one look-up in the common case), prefixes in a trie that is asked on a miss. */
#pragma once

#include "config.h"

struct ipcache_key {
	union addr address;
};

struct ipcache_prefix {
	__u32 length; /* IPv4 prefixes: 96 + length */
	__u8 address[16];
};

enum ipcache_flag {
	IPCACHE_PROTECTED = 1, /* look into `protected` before a pod reaches it */
	IPCACHE_NO_MASQUERADE = 2,
	IPCACHE_NODE = 4, /* a node's own address, whatever its identity */
};

struct ipcache_entry {
	__u32 identity;
	__u32 flags;
	union addr tunnel_endpoint; /* zero: no tunnel */
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, struct ipcache_key);
	__type(value, struct ipcache_entry);
	__uint(max_entries, 512000);
	__uint(map_flags, BPF_F_NO_PREALLOC);
} ipcache SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__type(key, struct ipcache_prefix);
	__type(value, struct ipcache_entry);
	__uint(max_entries, 65536);
	__uint(map_flags, BPF_F_NO_PREALLOC);
} ipcache_cidr SEC(".maps");

inlined struct ipcache_entry *ipcache_lookup(const union addr *address)
{
	struct ipcache_entry *exact = bpf_map_lookup_elem(&ipcache, address);
	struct ipcache_prefix prefix = { .length = 128 };

	if (exact)
		return exact;
	__builtin_memcpy(prefix.address, address, sizeof(prefix.address));
	return bpf_map_lookup_elem(&ipcache_cidr, &prefix);
}

/* Whether the address is another node's; one that is an endpoint itself has a number like any workload. */
inlined bool ipcache_is_node(const union addr *address)
{
	const struct ipcache_entry *entry = ipcache_lookup(address);

	return entry && entry->flags & IPCACHE_NODE;
}

inlined __u32 world_identity(bool ipv6)
{
	if (!world_by_family)
		return IDENTITY_WORLD;
	return ipv6 ? IDENTITY_WORLD_IPV6 : IDENTITY_WORLD_IPV4;
}

inlined __u32 ipcache_identity(const struct ipcache_entry *entry, bool ipv6)
{
	return entry && entry->identity ? entry->identity : world_identity(ipv6);
}
