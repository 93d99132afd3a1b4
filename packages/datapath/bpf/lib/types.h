/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* The vocabulary of every program: addresses, verdicts, small macros. */
#pragma once

#include <linux/bpf.h>
#include <linux/types.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/pkt_cls.h>
#include <stdbool.h>
#include <stddef.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>

#define noinline_subprogram static __attribute__((noinline, unused))
#define inlined static __always_inline __attribute__((unused))
#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

/* The same number, of which the verifier no longer knows anything: a global function's result is. Where ways
 * of different packets come together it then sees one way on, not one for each of them. */
__attribute__((noinline)) __u64 hide(__u64 value)
{
	asm volatile("" : "+r"(value));
	return value;
}

/* An address of either family; IPv4 as ::ffff:a.b.c.d (RFC 4291, 2.5.5.2). */
union addr {
	__u8 b[16];
	__be32 w[4];
	__u64 d[2];
};

#define ADDR_V4_PREFIX bpf_htonl(0x0000ffff)

inlined void addr_set_v4(union addr *to, __be32 v4)
{
	to->d[0] = 0;
	to->w[2] = ADDR_V4_PREFIX;
	to->w[3] = v4;
}

inlined bool addr_is_v4(const union addr *a)
{
	return a->d[0] == 0 && a->w[2] == ADDR_V4_PREFIX;
}

inlined bool addr_equal(const union addr *a, const union addr *b)
{
	return a->d[1] == b->d[1] && a->d[0] == b->d[0];
}

inlined bool addr_is_zero(const union addr *a)
{
	return (a->d[0] | a->d[1]) == 0;
}

/* 0.0.0.0 or ::, which stand for all addresses of a node. */
inlined bool addr_is_unspecified(const union addr *a)
{
	return a->d[0] == 0 && (a->d[1] == 0 || (a->w[2] == ADDR_V4_PREFIX && a->w[3] == 0));
}

inlined bool addr_is_link_local_v6(const union addr *a)
{
	return a->b[0] == 0xfe && (a->b[1] & 0xc0) == 0x80;
}

inlined bool addr_is_multicast(const union addr *a)
{
	if (addr_is_v4(a))
		return (a->b[12] & 0xf0) == 0xe0 || a->w[3] == 0xffffffff;
	return a->b[0] == 0xff;
}

/* What a packet program returns. PASS hands the frame to the next program or to the stack, so that
 * others' programs on a shared device still run. */
enum verdict {
	VERDICT_PASS = TC_ACT_UNSPEC,
	VERDICT_DROP = TC_ACT_SHOT,
	VERDICT_REDIRECT = TC_ACT_REDIRECT,
	/* Never leaves a program: the caller answers the sender with packet.error. */
	VERDICT_ERROR = 100,
	/* Nor does this: the packet concerns none of what was looked for. */
	VERDICT_NONE = 101,
	/* Nor this: it is for a pod of this node now, as if it had come so. */
	VERDICT_AGAIN = 102,
};

enum direction {
	DIR_INGRESS = 0, /* towards a pod */
	DIR_EGRESS = 1, /* from a pod */
	DIR_TRANSIT = 2, /* neither end known yet */
	DIR_COUNT = 4,
};

/* Which program saw the packet; stands in events. */
enum hook {
	HOOK_FROM_POD = 1,
	HOOK_TO_POD = 2,
	HOOK_FROM_HOST = 3,
	HOOK_FROM_NETWORK = 4,
	HOOK_TO_NETWORK = 5,
	HOOK_FROM_OVERLAY = 6,
	HOOK_SOCKET = 7,
	HOOK_HOST_POLICY = 8,
};

/* Identities with a fixed meaning (the numbers are those of Cilium's store form). */
enum reserved_identity {
	IDENTITY_UNKNOWN = 0,
	IDENTITY_HOST = 1,
	IDENTITY_WORLD = 2,
	IDENTITY_REMOTE_NODE = 6,
	IDENTITY_KUBE_APISERVER = 7,
	IDENTITY_WORLD_IPV4 = 9,
	IDENTITY_WORLD_IPV6 = 10,
};

/* Each node numbers by itself, beyond what a tunnel's header holds: addresses outside of the cluster, and then nodes,
 * that rules tell apart. */
#define IDENTITY_OUTSIDE_FIRST (1U << 24)
#define IDENTITY_NODE_FIRST (2U << 24)
#define IDENTITY_CLUSTER_FIRST 256

inlined bool identity_is_world(__u32 identity)
{
	return identity == IDENTITY_WORLD || identity == IDENTITY_WORLD_IPV4 || identity == IDENTITY_WORLD_IPV6 ||
	       (identity >= IDENTITY_OUTSIDE_FIRST && identity < IDENTITY_NODE_FIRST);
}

inlined bool identity_is_workload(__u32 identity)
{
	return identity >= IDENTITY_CLUSTER_FIRST && identity < IDENTITY_OUTSIDE_FIRST;
}

/* skb->mark values that our programs leave for one another on one node. The bits stay clear of
 * 0x4000 and 0x8000 (kube-proxy) and of 0x0f00 (others' routing marks). */
enum mark {
	MARK_ROUTED = 0x0c5a0001, /* from_pod decided: leave as it is */
	MARK_MASQUERADE = 0x0c5a0002, /* from_pod decided: masquerade on the way out */
	MARK_HOST = 0x0c5a0003, /* made by this node itself */
	MARK_EGRESS = 0x0c5a0004, /* leaves with the address that an egress policy says */
};
