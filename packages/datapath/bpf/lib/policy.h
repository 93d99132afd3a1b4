/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Who may speak to whom. A compiled set of rules (policy_id) is shared by all endpoints it selects. Its
 * entries stand for themselves: any deny wins, else any allow, else the default. So a rule that comes or
 * goes touches its own entries alone. A look-up asks for {this identity, any} with {protocol at each port
 * prefix length in use, any protocol}: a number that depends on the shape of the rules, not on how many
 * there are, and only once per connection and policy revision. */
#pragma once

#include "config.h"
#include "endpoints.h"
#include "events.h"
#include "parse.h"

struct policy_key {
	__u32 policy_id;
	__u32 identity; /* 0: any */
	__u8 direction; /* enum direction */
	__u8 protocol; /* 0: any */
	__u8 port_bits; /* prefix length of port, 0 to 16 */
	__u8 pad;
	__be16 port; /* ICMP: the type; bits beyond port_bits are zero */
	__u16 pad2;
};

enum policy_flag {
	POLICY_DENY = 1,
	/* The rule belongs to a policy on trial: it changes no verdict, but what would come out differently
	 * is counted and told as "audit". */
	POLICY_AUDIT = 2,
};

struct policy_entry {
	__u32 flags;
	__u32 rule;
	__u64 hits; /* new connections */
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, struct policy_key);
	__type(value, struct policy_entry);
	__uint(max_entries, 262144);
	__uint(map_flags, BPF_F_NO_PREALLOC);
} policy SEC(".maps");

enum policy_info_flag {
	POLICY_DEFAULT_DENY_INGRESS = 1,
	POLICY_DEFAULT_DENY_EGRESS = 2,
	POLICY_DEFAULT_AUDIT_INGRESS = 4, /* default deny by policies on trial only */
	POLICY_DEFAULT_AUDIT_EGRESS = 8,
};

struct policy_info {
	__u32 revision;
	__u32 flags;
	__u32 port_bits[2]; /* by direction: bit n: some entry with a protocol has port prefix length n */
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, __u32); /* policy_id */
	__type(value, struct policy_info);
	__uint(max_entries, 16384);
	__uint(map_flags, BPF_F_NO_PREALLOC);
} policy_info SEC(".maps");

/* The best match of each kind so far. */
struct policy_match {
	struct policy_entry *deny;
	struct policy_entry *allow;
	struct policy_entry *trial_deny;
	struct policy_entry *trial_allow;
};

inlined void policy_consider(struct policy_match *m, struct policy_entry *entry)
{
	if (!entry)
		return;
	switch (entry->flags & (POLICY_DENY | POLICY_AUDIT)) {
	case 0:
		if (!m->allow)
			m->allow = entry;
		break;
	case POLICY_DENY:
		if (!m->deny)
			m->deny = entry;
		break;
	case POLICY_AUDIT:
		if (!m->trial_allow)
			m->trial_allow = entry;
		break;
	default:
		if (!m->trial_deny)
			m->trial_deny = entry;
	}
}

#define POLICY_PORT_BITS_MAX 16

noinline_subprogram void policy_find(struct policy_match *m, struct policy_key *key, __be16 port,
				     __u32 protocol, __u32 port_bits)
{
	for (int bits = POLICY_PORT_BITS_MAX; bits >= 0; bits--) {
		if (!(port_bits & (1U << bits)))
			continue;
		key->protocol = (__u8)protocol;
		key->port_bits = (__u8)bits;
		key->port = port & bpf_htons((__u16)(0xffff0000U >> bits));
		policy_consider(m, bpf_map_lookup_elem(&policy, key));
	}
	key->protocol = 0;
	key->port_bits = 0;
	key->port = 0;
	policy_consider(m, bpf_map_lookup_elem(&policy, key));
}

inlined void policy_hit(struct packet *p, struct policy_entry *entry)
{
	p->rule = entry->rule;
	__sync_fetch_and_add(&entry->hits, 1);
}

/* 0, or the reason of the drop; counts and tells the verdict. p->rule is the rule that decided, 0 for a
 * default. `peer` is the identity at the other end. */
noinline_subprogram int policy_check(struct __sk_buff *ctx, struct packet *p, struct endpoint *ep,
				     __u32 direction, __u32 peer)
{
	__u32 enforced = direction == DIR_EGRESS ? ENDPOINT_EGRESS_ENFORCED : ENDPOINT_INGRESS_ENFORCED;
	__u32 audit = direction == DIR_EGRESS ? ENDPOINT_AUDIT_EGRESS : ENDPOINT_AUDIT_INGRESS;
	__u32 policy_id = ep->policy_id, flags = ep->flags, defaults = 0, outcome;
	struct policy_match m = {};
	struct policy_info *info;
	bool default_deny, trial_deny;

	p->rule = 0;
	p->endpoint = ep->id;
	info = policy_id ? bpf_map_lookup_elem(&policy_info, &policy_id) : NULL;
	if (info) {
		struct policy_key key = {
			.policy_id = policy_id,
			.identity = peer,
			.direction = (__u8)direction,
		};
		__u32 port_bits = info->port_bits[direction & 1];
		__be16 port = protocol_is_icmp(p) ? bpf_htons(p->icmp_type) : p->tuple.dport;
		__u32 protocol = p->tuple.protocol;

		defaults = info->flags;
		policy_find(&m, &key, port, protocol, port_bits);
		key.identity = 0;
		policy_find(&m, &key, port, protocol, port_bits);
	}
	/* The flags of both directions stand side by side: shift those of egress onto those of ingress. */
	default_deny = (flags & enforced) ||
		       (defaults >> (direction & 1) & POLICY_DEFAULT_DENY_INGRESS);
	trial_deny = defaults >> (direction & 1) & POLICY_DEFAULT_AUDIT_INGRESS;

	if (m.deny) {
		policy_hit(p, m.deny);
		outcome = DROP_POLICY_DENY;
	} else if (m.allow) {
		policy_hit(p, m.allow);
		outcome = COUNT_POLICY_ALLOW;
	} else if (default_deny) {
		outcome = DROP_POLICY_DEFAULT;
	} else {
		outcome = COUNT_POLICY_UNENFORCED;
	}
	if (outcome < COUNT_POLICY_ALLOW) {
		if (!(flags & audit))
			return (int)outcome;
		outcome = COUNT_POLICY_AUDIT;
	} else if (m.trial_deny) {
		policy_hit(p, m.trial_deny);
		outcome = COUNT_POLICY_AUDIT;
	} else if (outcome == COUNT_POLICY_UNENFORCED) {
		if (m.trial_allow) {
			policy_hit(p, m.trial_allow);
			outcome = COUNT_POLICY_ALLOW;
		} else if (trial_deny) {
			outcome = COUNT_POLICY_AUDIT;
		}
	}
	decided(ctx, p, outcome);
	return 0;
}
