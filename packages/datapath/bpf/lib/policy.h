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
	/* Denied on trial, but another rule in force allows the same key. */
	POLICY_ALSO_ALLOW = 4,
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

/* Kinds of match, by rising rank: of two, the higher one decides. Trial ones are of POLICY_AUDIT rules. */
enum policy_kind {
	MATCH_TRIAL_ALLOW = 1,
	MATCH_ALLOW = 2,
	MATCH_TRIAL_DENY = 4,
	MATCH_DENY = 8,
};

#define POLICY_PORT_BITS_MAX 16

inlined __u32 policy_kind(const struct policy_entry *entry)
{
	if (entry->flags & POLICY_DENY)
		return entry->flags & POLICY_AUDIT ? MATCH_TRIAL_DENY : MATCH_DENY;
	return entry->flags & POLICY_AUDIT ? MATCH_TRIAL_ALLOW : MATCH_ALLOW;
}

struct policy_search {
	struct policy_key key;
	__u32 rank; /* of the best so far */
	__u32 kinds;
	__u32 rule;
	/* Where the best stands: found again at the end to count the hit. (The verifier would have to follow a
	 * kept pointer through every turn of the loop.) */
	struct policy_key best;
};

inlined void policy_consider(struct policy_search *search)
{
	struct policy_entry *entry = bpf_map_lookup_elem(&policy, &search->key);
	__u32 kind;

	if (!entry)
		return;
	kind = policy_kind(entry);
	search->kinds |= kind;
	if (entry->flags & POLICY_ALSO_ALLOW)
		search->kinds |= MATCH_ALLOW;
	/* The first of a rank is the most specific one. */
	if (kind > search->rank) {
		search->rank = kind;
		search->rule = entry->rule;
		search->best = search->key;
	}
}

/* Kinds found (enum policy_kind, or-ed) in the upper half, the deciding entry's rule in the lower. A global
 * function of numbers alone: the verifier looks at its loops once, whatever calls it.
 * `way` is direction | protocol << 8. */
__attribute__((noinline)) __u64 policy_search(__u32 policy_id, __u32 identity, __u32 way, __u32 port, __u32 port_bits)
{
	struct policy_search search = {
		.key = { .policy_id = policy_id, .identity = identity, .direction = (__u8)way },
	};
	struct policy_entry *best;

	for (int any = 0; any < 2; any++) {
		for (int bits = POLICY_PORT_BITS_MAX; bits >= 0; bits--) {
			if (!(port_bits & (1U << bits)))
				continue;
			search.key.protocol = (__u8)(way >> 8);
			search.key.port_bits = (__u8)bits;
			search.key.port = (__be16)port & bpf_htons((__u16)(0xffff0000U >> bits));
			policy_consider(&search);
		}
		search.key.protocol = 0;
		search.key.port_bits = 0;
		search.key.port = 0;
		policy_consider(&search);
		search.key.identity = 0;
	}
	if (!search.kinds)
		return 0;
	best = bpf_map_lookup_elem(&policy, &search.best);
	if (best)
		__sync_fetch_and_add(&best->hits, 1);
	return (__u64)search.kinds << 32 | search.rule;
}

/* 0, or the reason of the drop; counts and tells the verdict. p->rule is the rule that decided, 0 for a
 * default. `peer` is the identity at the other end. */
noinline_subprogram int policy_check(struct __sk_buff *ctx, struct packet *p, struct endpoint *ep,
				     __u32 direction, __u32 peer)
{
	__u32 enforced = direction == DIR_EGRESS ? ENDPOINT_EGRESS_ENFORCED : ENDPOINT_INGRESS_ENFORCED;
	__u32 audit = direction == DIR_EGRESS ? ENDPOINT_AUDIT_EGRESS : ENDPOINT_AUDIT_INGRESS;
	__u32 policy_id = ep->policy_id, flags = ep->flags, defaults = 0, kinds = 0, rule = 0, outcome;
	const struct policy_info *info;
	bool default_deny, trial_deny;

	p->rule = 0;
	p->endpoint = ep->id;
	direction &= 1;
	info = policy_id ? bpf_map_lookup_elem(&policy_info, &policy_id) : NULL;
	if (info) {
		__be16 port = protocol_is_icmp(p) ? bpf_htons(p->icmp_type) : p->tuple.dport;
		__u64 found = policy_search(policy_id, peer, direction | (__u32)p->tuple.protocol << 8, port,
					    info->port_bits[direction]);

		kinds = (__u32)(found >> 32);
		rule = (__u32)found;
		/* The flags of both directions stand side by side: shift those of egress onto those of ingress. */
		defaults = info->flags >> direction;
	}
	default_deny = (flags & enforced) || (defaults & POLICY_DEFAULT_DENY_INGRESS);
	trial_deny = defaults & POLICY_DEFAULT_AUDIT_INGRESS;

	if (kinds & MATCH_DENY)
		outcome = DROP_POLICY_DENY;
	else if (kinds & MATCH_ALLOW)
		outcome = kinds & MATCH_TRIAL_DENY ? COUNT_POLICY_AUDIT : COUNT_POLICY_ALLOW;
	else if (default_deny)
		outcome = DROP_POLICY_DEFAULT;
	else if (kinds & MATCH_TRIAL_DENY)
		outcome = COUNT_POLICY_AUDIT;
	else
		outcome = trial_deny && !(kinds & MATCH_TRIAL_ALLOW) ? COUNT_POLICY_AUDIT : COUNT_POLICY_UNENFORCED;

	/* The rule that decided; none for a default. */
	if (outcome != DROP_POLICY_DEFAULT && (kinds & ~(__u32)MATCH_TRIAL_ALLOW))
		p->rule = rule;
	if (outcome == DROP_POLICY_DENY || outcome == DROP_POLICY_DEFAULT) {
		if (!(flags & audit))
			return (int)outcome;
		outcome = COUNT_POLICY_AUDIT;
	}
	decided(ctx, p, outcome);
	return 0;
}
