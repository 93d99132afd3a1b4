/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Answers to "who has": a pod's whole world lies behind the host side of its veth, so every ARP request
 * and every neighbour solicitation is answered with that MAC address. Duplicate address detection,
 * router solicitations and multicast listener reports are for nobody and end here. */
#pragma once

#include "devices.h"
#include "endpoints.h"
#include "events.h"
#include "rewrite.h"

#define ARPHRD_ETHER 1
#define ARPOP_REQUEST 1
#define ARPOP_REPLY 2

#define NDP_ROUTER_SOLICIT 133
#define NDP_ROUTER_ADVERT 134
#define NDP_SOLICIT 135
#define NDP_ADVERT 136
#define NDP_REDIRECT 137
#define MLD_QUERY 130
#define MLD_DONE 132
#define MLD_REPORT_V2 143
#define NDP_OPTION_TARGET_MAC 2

struct arp_frame {
	struct ethhdr eth;
	__be16 hardware;
	__be16 protocol;
	__u8 hardware_size;
	__u8 protocol_size;
	__be16 operation;
	__u8 sender_mac[ETH_ALEN];
	__u8 sender_ip[4];
	__u8 target_mac[ETH_ALEN];
	__u8 target_ip[4];
} __attribute__((packed));

/* Turns a request into its answer; 0 or a drop reason. */
inlined int arp_answer(struct __sk_buff *ctx, const __u8 *mac, __be32 sender, struct packet *p)
{
	struct cursor c;
	struct arp_frame *arp = frame_start(&c, ctx, sizeof(*arp));
	__u8 ip[4];

	if (!arp || arp->hardware != bpf_htons(ARPHRD_ETHER) || arp->protocol != bpf_htons(ETH_P_IP) ||
	    arp->hardware_size != ETH_ALEN || arp->protocol_size != 4)
		return DROP_MALFORMED;
	__builtin_memcpy(&p->tuple.saddr.w[3], arp->sender_ip, 4);
	__builtin_memcpy(&p->tuple.daddr.w[3], arp->target_ip, 4);
	/* Answers, announcements and probes for a duplicate want nothing from us. */
	if (arp->operation != bpf_htons(ARPOP_REQUEST) || p->tuple.saddr.w[3] == 0 ||
	    p->tuple.saddr.w[3] == p->tuple.daddr.w[3])
		return DROP_NEIGHBOUR_QUIET;
	if (sender && p->tuple.saddr.w[3] != sender)
		return DROP_SPOOFED_SOURCE;
	__builtin_memcpy(ip, arp->target_ip, 4);
	arp->operation = bpf_htons(ARPOP_REPLY);
	__builtin_memcpy(arp->target_mac, arp->sender_mac, ETH_ALEN);
	__builtin_memcpy(arp->target_ip, arp->sender_ip, 4);
	__builtin_memcpy(arp->sender_mac, mac, ETH_ALEN);
	__builtin_memcpy(arp->sender_ip, ip, 4);
	__builtin_memcpy(arp->eth.h_dest, arp->target_mac, ETH_ALEN);
	__builtin_memcpy(arp->eth.h_source, mac, ETH_ALEN);
	return 0;
}

/* Reads the type of an ICMPv6 message ahead of the rest of L4: these end before policy is asked. Others keep type 0.
 * 0 or a drop reason. */
inlined int parse_discovery(struct __sk_buff *ctx, struct packet *p)
{
	if (!p->ipv6 || p->tuple.protocol != IPPROTO_ICMPV6 || p->flags & PACKET_FRAGMENT)
		return 0;
	return bpf_skb_load_bytes(ctx, p->l4, &p->icmp_type, 1) ? DROP_MALFORMED : 0;
}

inlined bool is_neighbour_message(const struct packet *p)
{
	return p->icmp_type >= NDP_ROUTER_SOLICIT && p->icmp_type <= NDP_REDIRECT;
}

inlined bool is_listener_message(const struct packet *p)
{
	return (p->icmp_type >= MLD_QUERY && p->icmp_type <= MLD_DONE) || p->icmp_type == MLD_REPORT_V2;
}

/* What a link is kept by, in a few words. */
enum link_message {
	LINK_NONE = 0,
	LINK_NEIGHBOUR = -1,
	LINK_LISTENER = -2,
};

/* Reads the packet's addresses and whether it is one of neighbour discovery or of a multicast listener: those end
 * before policy is asked. LINK_NONE, one of the negative numbers, or a drop reason. */
inlined int parse_link(struct __sk_buff *ctx, struct packet *p)
{
	int reason = parse_l3(ctx, p);

	if (unlikely(reason))
		return reason;
	reason = parse_discovery(ctx, p);
	if (unlikely(reason))
		return reason;
	if (is_listener_message(p))
		return LINK_LISTENER;
	return is_neighbour_message(p) ? LINK_NEIGHBOUR : LINK_NONE;
}

struct ndp_advert {
	struct ipv6hdr ip;
	struct icmp6hdr icmp;
	struct in6_addr target;
	__u8 option;
	__u8 option_length;
	__u8 mac[ETH_ALEN];
};

/* Turns a solicitation into the advertisement that answers it (RFC 4861, 7.2.4); 0 or a drop reason. */
noinline_subprogram int ndp_answer(struct __sk_buff *ctx, const struct packet *p, const __u8 *mac)
{
	struct ndp_advert advert = {
		.ip = {
			.version = 6,
			.payload_len = bpf_htons(32),
			.nexthdr = IPPROTO_ICMPV6,
			.hop_limit = 255,
		},
		.icmp = { .icmp6_type = NDP_ADVERT },
		.option = NDP_OPTION_TARGET_MAC,
		.option_length = 1,
	};
	__be32 pseudo[2] = { bpf_htonl(32), bpf_htonl(IPPROTO_ICMPV6) };
	__u8 requester[ETH_ALEN];
	__s64 sum;

	/* Hop limit 255: sent from this link (RFC 4861, 7.1.1). */
	if (p->ttl != 255 || bpf_skb_load_bytes(ctx, p->l4 + 8, &advert.target, 16))
		return DROP_MALFORMED;
	if (addr_is_zero(&p->tuple.saddr))
		return DROP_NEIGHBOUR_QUIET; /* duplicate address detection */
	if (p->l4 != ETH_HLEN + IP6_HLEN || advert.target.s6_addr[0] == 0xff)
		return DROP_MALFORMED;
	if (bpf_skb_load_bytes(ctx, ETH_ALEN, requester, ETH_ALEN))
		return DROP_MALFORMED;
	__builtin_memcpy(advert.mac, mac, ETH_ALEN);
	__builtin_memcpy(&advert.ip.saddr, &advert.target, 16);
	__builtin_memcpy(&advert.ip.daddr, &p->tuple.saddr, 16);
	advert.icmp.icmp6_dataun.un_data8[0] = 0xe0; /* router, solicited, override */
	sum = bpf_csum_diff(NULL, 0, pseudo, sizeof(pseudo), 0);
	sum = bpf_csum_diff(NULL, 0, (__be32 *)&advert.ip.saddr, 32, (__wsum)sum);
	sum = bpf_csum_diff(NULL, 0, (__be32 *)&advert.icmp, 32, (__wsum)sum);
	__u32 s = (__u32)sum;
	s = (s & 0xffff) + (s >> 16);
	s = (s & 0xffff) + (s >> 16);
	advert.icmp.icmp6_cksum = (__be16)~s;
	if (bpf_skb_change_tail(ctx, ETH_HLEN + sizeof(advert), 0) ||
	    bpf_skb_store_bytes(ctx, ETH_HLEN, &advert, sizeof(advert), BPF_F_RECOMPUTE_CSUM) ||
	    address_frame(ctx, mac, requester))
		return DROP_WRITE_FAILED;
	bpf_skb_change_type(ctx, 0 /* PACKET_HOST */);
	return 0;
}
