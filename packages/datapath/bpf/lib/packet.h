/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* What is known of the packet in hand. One such struct lives on the program's stack and is passed by
 * pointer; offsets count from the start of the Ethernet header. */
#pragma once

#include "types.h"

/* Addresses and ports as they stand in the packet now. ICMP echo: both ports are the identifier.
 * Protocols without ports: zero. */
struct tuple {
	union addr saddr;
	union addr daddr;
	__be16 sport;
	__be16 dport;
	__u8 protocol;
	__u8 pad[3];
};

/* One end of a connection. */
struct socket {
	union addr address;
	__be16 port;
	__u8 pad[6];
};

/* What the sender shall hear of a packet that cannot go on. */
enum packet_error {
	ERROR_NONE = 0,
	ERROR_PORT_UNREACHABLE = 1,
	ERROR_TIME_EXCEEDED = 2,
	ERROR_TOO_BIG = 3,
	ERROR_NO_SUCH_PORT = 4,
};

enum packet_flag {
	PACKET_FRAGMENT = 1,
	PACKET_LATER_FRAGMENT = 2, /* no L4 header in this one */
	PACKET_DONT_FRAGMENT = 4,
	PACKET_ICMP_ERROR = 8,
	PACKET_ECHO = 16,
	PACKET_HAS_PORTS = 32, /* TCP or UDP: ports may be rewritten */
};

struct packet {
	struct tuple tuple;
	__u32 length; /* of the frame */
	__u32 l4; /* offset of the L4 header */
	__u32 fragment_id;
	__u32 source_identity;
	__u32 destination_identity;
	__u32 rule;
	__u32 endpoint; /* id of the endpoint whose policy decided */
	__u32 service; /* id of the service that was translated */
	__u16 error; /* enum packet_error */
	__u16 error_mtu;
	__u8 ipv6;
	__u8 ttl;
	__u8 tcp_flags;
	__u8 icmp_type;
	__u8 flags;
	__u8 hook;
	__u8 direction;
	__u8 l4_length; /* bytes of the TCP or UDP header */
};

enum tcp_flag {
	TCP_FIN = 1,
	TCP_SYN = 2,
	TCP_RST = 4,
	TCP_ACK = 16,
};

#define IP_OFF ETH_HLEN
#define IP6_HLEN 40
