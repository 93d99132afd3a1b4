/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* What happened to a packet, for a person: drops and audits (rate limited), verdicts and traces on demand.
 * Mirrored by src/events.ts, checked by BTF. */
#pragma once

#include "clock.h"
#include "metrics.h"
#include "packet.h"
#include "runtime.h"

enum event_type {
	EVENT_DROP = 1,
	EVENT_VERDICT = 2,
	EVENT_TRACE = 3,
	EVENT_AUDIT = 4,
};

struct event {
	__u64 time; /* ns, CLOCK_MONOTONIC */
	union addr saddr;
	union addr daddr;
	__be16 sport;
	__be16 dport;
	__u8 protocol;
	__u8 type;
	__u8 reason;
	__u8 direction;
	__u8 hook;
	__u8 flags; /* enum packet_flag */
	__u8 tcp_flags;
	__u8 icmp_type;
	__u32 ifindex;
	__u32 length;
	__u32 source_identity;
	__u32 destination_identity;
	__u32 rule;
	__u32 endpoint;
	__u32 service;
};

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 20);
} events SEC(".maps");

struct event_budget {
	__u32 tick;
	__u32 used;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32);
	__type(value, struct event_budget);
	__uint(max_entries, 1);
} event_budget SEC(".maps");

/* Needed once for BTF: the ring buffer map names no value type. */
const struct event *event_layout __attribute__((unused)) = 0;

inlined bool event_within_budget(const struct runtime *rt)
{
	__u32 zero = 0, tick = now_ticks();
	struct event_budget *budget = bpf_map_lookup_elem(&event_budget, &zero);

	if (!budget)
		return false;
	if (budget->tick != tick) {
		budget->tick = tick;
		budget->used = 0;
	}
	if (budget->used >= rt->drop_events_per_second)
		return false;
	budget->used++;
	return true;
}

noinline_subprogram void event_emit(const struct __sk_buff *ctx, const struct packet *p, __u32 type,
				    __u32 reason)
{
	struct event *event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);

	if (!event) {
		metric_add(COUNT_EVENT_LOST, DIR_TRANSIT, 0);
		return;
	}
	event->time = now_ns();
	event->saddr = p->tuple.saddr;
	event->daddr = p->tuple.daddr;
	event->sport = p->tuple.sport;
	event->dport = p->tuple.dport;
	event->protocol = p->tuple.protocol;
	event->type = (__u8)type;
	event->reason = (__u8)reason;
	event->direction = p->direction;
	event->hook = p->hook;
	event->flags = p->flags;
	event->tcp_flags = p->tcp_flags;
	event->icmp_type = p->icmp_type;
	event->ifindex = ctx->ifindex;
	event->length = p->length;
	event->source_identity = p->source_identity;
	event->destination_identity = p->destination_identity;
	event->rule = p->rule;
	event->endpoint = p->endpoint;
	event->service = p->service;
	bpf_ringbuf_submit(event, 0);
}

/* The one way to drop: counted, told, and returned. */
noinline_subprogram enum verdict drop(const struct __sk_buff *ctx, const struct packet *p, __u32 reason)
{
	const struct runtime *rt = runtime_get();

	metric_add(reason & 0xff, p->direction & (DIR_COUNT - 1), p->length);
	if (!rt || !(rt->flags & MONITOR_DROP) || reason == DROP_NEIGHBOUR_QUIET)
		return VERDICT_DROP;
	if (event_within_budget(rt))
		event_emit(ctx, p, EVENT_DROP, reason);
	else
		metric_add(COUNT_EVENT_SUPPRESSED, DIR_TRANSIT, 0);
	return VERDICT_DROP;
}

/* Counts a way on; tells of it only when somebody watches. */
inlined void forwarded(const struct __sk_buff *ctx, const struct packet *p, enum reason way)
{
	const struct runtime *rt = runtime_get();

	metric_add(way, p->direction & (DIR_COUNT - 1), p->length);
	if (rt && unlikely(rt->flags & MONITOR_TRACE))
		event_emit(ctx, p, EVENT_TRACE, way);
}

/* Counts a decision; tells of it only when somebody watches. */
inlined void decided(const struct __sk_buff *ctx, const struct packet *p, __u32 outcome)
{
	const struct runtime *rt = runtime_get();
	__u32 type = outcome == COUNT_POLICY_AUDIT ? EVENT_AUDIT : EVENT_VERDICT;

	metric_add(outcome, p->direction & (DIR_COUNT - 1), p->length);
	if (!rt)
		return;
	if (rt->flags & MONITOR_VERDICT)
		event_emit(ctx, p, type, outcome);
	else if (type == EVENT_AUDIT && (rt->flags & MONITOR_AUDIT) && event_within_budget(rt))
		event_emit(ctx, p, type, outcome);
}
