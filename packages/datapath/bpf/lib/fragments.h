/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Ports of a fragmented packet: the first fragment leaves them here for the others. */
#pragma once

#include "packet.h"

struct fragment_key {
	union addr saddr;
	union addr daddr;
	__be32 id; /* IPv4: the 16 bit identification */
	__u8 protocol;
	__u8 pad[3];
};

struct fragment_ports {
	__be16 sport;
	__be16 dport;
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__type(key, struct fragment_key);
	__type(value, struct fragment_ports);
	__uint(max_entries, 8192);
} fragments SEC(".maps");

inlined void fragment_key_of(struct fragment_key *key, const struct packet *p)
{
	key->saddr = p->tuple.saddr;
	key->daddr = p->tuple.daddr;
	key->id = p->fragment_id;
	key->protocol = p->tuple.protocol;
	key->pad[0] = key->pad[1] = key->pad[2] = 0;
}

noinline_subprogram void fragment_remember(const struct packet *p)
{
	struct fragment_key key;
	struct fragment_ports ports = { p->tuple.sport, p->tuple.dport };

	fragment_key_of(&key, p);
	bpf_map_update_elem(&fragments, &key, &ports, BPF_ANY);
}

noinline_subprogram bool fragment_recall(struct packet *p)
{
	struct fragment_key key;
	const struct fragment_ports *ports;

	fragment_key_of(&key, p);
	ports = bpf_map_lookup_elem(&fragments, &key);
	if (!ports)
		return false;
	p->tuple.sport = ports->sport;
	p->tuple.dport = ports->dport;
	return true;
}
