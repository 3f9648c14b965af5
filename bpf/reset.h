/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * reset.h - tells a client that its connection is cut: a reset in the load balancer's name
 *
 * As RFC 9293 section 3.10.7.1 answers for a connection that does not exist: the number that the
 * client waits for. Segments without one, and those behind IP options, are dropped in silence.
 */
#ifndef TERWAY_RESET_H
#define TERWAY_RESET_H

#include "answers.h"

#define RESET_TTL 64

struct reset_tcp {
	__be16 source;
	__be16 destination;
	__be32 seq;
	__be32 ack;
	__u8 offset; /* in words, in the upper half */
	__u8 flags;
	__be16 window;
	__be16 checksum;
	__be16 urgent;
};

struct reset_v4 {
	struct ethhdr eth;
	struct iphdr ip;
	struct reset_tcp tcp;
} __attribute__((packed));

struct reset_v6 {
	struct ethhdr eth;
	struct ipv6hdr ip;
	struct reset_tcp tcp;
} __attribute__((packed));

/* What the checksum covers, in both families: an IPv4 address is followed by zeros. */
struct reset_sum {
	struct address source, destination;
	__be32 length, next;
	struct reset_tcp tcp;
};

static __always_inline bool may_reset(const struct packet *p, __u32 ip_bytes)
{
	return !p->is_fragment && p->l4 == sizeof(struct ethhdr) + ip_bytes &&
	       (p->tcp_flags & (TCP_ACK | TCP_RST)) == TCP_ACK;
}

/* Turn what the client sent into what it is answered. */
static __always_inline void make_reset(struct reset_tcp *tcp, const struct packet *p)
{
	tcp->source = p->destination_port;
	tcp->destination = p->source_port;
	tcp->seq = tcp->ack;
	tcp->ack = 0;
	tcp->offset = sizeof(*tcp) / 4 << 4;
	tcp->flags = TCP_RST;
	tcp->window = 0;
	tcp->urgent = 0;
	tcp->checksum = 0;
	struct reset_sum sum = {
		.source = p->destination,
		.destination = p->source,
		.length = bpf_htonl(sizeof(*tcp)),
		.next = bpf_htonl(IPPROTO_TCP),
		.tcp = *tcp,
	};

	tcp->checksum = fold(bpf_csum_diff(NULL, 0, (void *)&sum, sizeof(sum), 0));
}

static __attribute__((noinline)) int reset_v4(struct __sk_buff *skb, const struct packet *p,
					      __u32 number)
{
	struct reset_v4 head = {};
	struct reset_tcp tcp;
	struct arrival in;

	if (!p || !find_arrival(&in, number) || !may_reset(p, sizeof(head.ip)) ||
	    bpf_skb_load_bytes(skb, p->l4, &tcp, sizeof(tcp)) ||
	    bpf_skb_change_tail(skb, sizeof(head), 0))
		return TC_ACT_SHOT;
	make_reset(&tcp, p);
	head.eth.h_proto = bpf_htons(ETH_P_IP);
	set_macs(&head.eth, in.port->mac);
	head.ip.version = 4;
	head.ip.ihl = sizeof(head.ip) / 4;
	head.ip.tot_len = bpf_htons(sizeof(head.ip) + sizeof(head.tcp));
	head.ip.ttl = RESET_TTL;
	head.ip.protocol = IPPROTO_TCP;
	head.ip.saddr = p->destination.word[0];
	head.ip.daddr = p->source.word[0];
	struct iphdr ip = head.ip;

	head.ip.check = fold(bpf_csum_diff(NULL, 0, (void *)&ip, sizeof(ip), 0));
	head.tcp = tcp;
	if (bpf_skb_store_bytes(skb, 0, &head, sizeof(head), 0))
		return TC_ACT_SHOT;
	return answer(skb, &in);
}

static __attribute__((noinline)) int reset_v6(struct __sk_buff *skb, const struct packet *p,
					      __u32 number)
{
	struct reset_v6 head = {};
	struct reset_tcp tcp;
	struct arrival in;

	if (!p || !find_arrival(&in, number) || !may_reset(p, sizeof(head.ip)) ||
	    bpf_skb_load_bytes(skb, p->l4, &tcp, sizeof(tcp)) ||
	    bpf_skb_change_tail(skb, sizeof(head), 0))
		return TC_ACT_SHOT;
	make_reset(&tcp, p);
	head.eth.h_proto = bpf_htons(ETH_P_IPV6);
	set_macs(&head.eth, in.port->mac);
	head.ip.version = 6;
	head.ip.payload_len = bpf_htons(sizeof(head.tcp));
	head.ip.nexthdr = IPPROTO_TCP;
	head.ip.hop_limit = RESET_TTL;
	__builtin_memcpy(&head.ip.saddr, &p->destination, sizeof(head.ip.saddr));
	__builtin_memcpy(&head.ip.daddr, &p->source, sizeof(head.ip.daddr));
	head.tcp = tcp;
	if (bpf_skb_store_bytes(skb, 0, &head, sizeof(head), 0))
		return TC_ACT_SHOT;
	return answer(skb, &in);
}

/* Drop a packet of a connection that is cut, and tell its sender. */
static __always_inline int drop_cut(struct __sk_buff *skb, const struct packet *p, __u32 number)
{
	int done = drop(number, DROP_CUT);

	if (!may_reset(p, p->family == FAMILY_V4 ? sizeof(struct iphdr) : sizeof(struct ipv6hdr)))
		return done;
	return p->family == FAMILY_V4 ? reset_v4(skb, p, number) : reset_v6(skb, p, number);
}

#endif
