// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* The two ends of `edge-rate`: frames as fast as XDP can send them, and a place where they end, counted. */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>

#define FRAME 60
#define SOURCE_PORT 34

const volatile __u8 frame[FRAME] = {};
const volatile __u32 device = 0;
const volatile __u32 flows = 1;

__u32 next = 0;
__u64 seen = 0;

/* Frames come back from where they went with whatever was done to them: each is written whole. */
SEC("xdp")
int generate(struct xdp_md *ctx)
{
	__u8 *data = (void *)(long)ctx->data;
	__u32 port;

	if (data + FRAME > (__u8 *)(long)ctx->data_end)
		return XDP_DROP;
	for (int i = 0; i < FRAME; i++)
		data[i] = frame[i];
	port = 1024 + next++ % flows;
	data[SOURCE_PORT] = port >> 8;
	data[SOURCE_PORT + 1] = port;
	return bpf_redirect(device, 0);
}

SEC("xdp")
int sink_frames(struct xdp_md *ctx)
{
	__sync_fetch_and_add(&seen, 1);
	return XDP_DROP;
}

SEC("tc")
int sink_packets(struct __sk_buff *ctx)
{
	__sync_fetch_and_add(&seen, 1);
	return TC_ACT_SHOT;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
