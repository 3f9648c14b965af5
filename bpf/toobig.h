/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * toobig.h - does a packet fit through, and what its sender is told if not
 *
 * A VPC does not fragment. IPv4 packets without "don't fragment" get the answer too: a sender
 * that learns the MTU fragments by itself (RFC 1191 section 3 allows to send it, Linux obeys).
 */
#ifndef TERWAY_TOOBIG_H
#define TERWAY_TOOBIG_H

#include "answers.h"

/* How much of the packet is quoted. More than the 8 bytes of RFC 792: the kernel refuses to cut
 * a packet before the checksum field that the sender left to hardware, behind any options. */
#define QUOTE_V4 80
#define QUOTE_V6 120

#define ICMP_FRAGMENTATION_NEEDED 4
#define ICMP6_TOO_BIG             2

struct icmp_too_big {
	__u8 type;
	__u8 code;
	__be16 checksum;
	__be32 mtu; /* IPv4: the lower half (RFC 1191) */
};

struct too_big_v4 {
	struct ethhdr eth;
	struct iphdr ip;
	struct icmp_too_big icmp;
} __attribute__((packed));

struct too_big_v6 {
	struct ethhdr eth;
	struct ipv6hdr ip;
	struct icmp_too_big icmp;
} __attribute__((packed));

/* Bytes of IP in the largest packet that this becomes on the wire: one segment, if it is GSO. */
static __always_inline __u32 wire_bytes(const struct __sk_buff *skb, const struct packet *p)
{
	if (!skb->gso_size)
		return skb->len - sizeof(struct ethhdr);
	return p->l4 - sizeof(struct ethhdr) + p->transport_len + skb->gso_size;
}

/* No answer to errors and later fragments (RFC 1122 section 3.2.2, RFC 4443 section 2.4). */
static __always_inline bool may_answer(const struct packet *p)
{
	return !p->is_later && !is_icmp_error(p);
}

static __attribute__((noinline)) int
answer_too_big_v4(struct __sk_buff *skb, const struct packet *p, __u32 number, __u32 mtu)
{
	struct too_big_v4 head = {};
	struct arrival in;
	__u8 quote[QUOTE_V4];
	__u32 sum;

	if (!p || !find_arrival(&in, number))
		return TC_ACT_SHOT;
	if (bpf_skb_change_tail(skb, sizeof(struct ethhdr) + QUOTE_V4, 0) ||
	    bpf_skb_load_bytes(skb, sizeof(struct ethhdr), quote, sizeof(quote)) ||
	    bpf_skb_adjust_room(skb, sizeof(head.ip) + sizeof(head.icmp), BPF_ADJ_ROOM_MAC, 0))
		return TC_ACT_SHOT;
	head.eth.h_proto = bpf_htons(ETH_P_IP);
	set_macs(&head.eth, in.port->mac);
	head.ip.version = 4;
	head.ip.ihl = sizeof(head.ip) / 4;
	head.ip.tot_len = bpf_htons(sizeof(head.ip) + sizeof(head.icmp) + QUOTE_V4);
	head.ip.ttl = 64;
	head.ip.protocol = IPPROTO_ICMP;
	head.ip.saddr = in.port->vswitch[0].gateway.word[0];
	head.ip.daddr = p->source.word[0];
	head.icmp.type = ICMP_UNREACHABLE;
	head.icmp.code = ICMP_FRAGMENTATION_NEEDED;
	head.icmp.mtu = bpf_htonl(mtu);
	struct iphdr ip = head.ip;
	struct icmp_too_big icmp = head.icmp;

	head.ip.check = fold(bpf_csum_diff(NULL, 0, (void *)&ip, sizeof(ip), 0));
	sum = bpf_csum_diff(NULL, 0, (void *)&icmp, sizeof(icmp), 0);
	head.icmp.checksum = fold(bpf_csum_diff(NULL, 0, (void *)quote, sizeof(quote), sum));
	if (bpf_skb_store_bytes(skb, 0, &head, sizeof(head), 0))
		return TC_ACT_SHOT;
	return answer(skb, &in);
}

static __always_inline __be16 too_big_v6_checksum(const struct too_big_v6 *head, __u8 *quote)
{
	struct {
		struct address source, destination;
		__be32 length, next;
		struct icmp_too_big icmp;
	} pseudo = {
		.length = bpf_htonl(sizeof(head->icmp) + QUOTE_V6),
		.next = bpf_htonl(IPPROTO_ICMPV6),
	};
	__u32 sum;

	__builtin_memcpy(&pseudo.source, &head->ip.saddr, sizeof(pseudo.source));
	__builtin_memcpy(&pseudo.destination, &head->ip.daddr, sizeof(pseudo.destination));
	__builtin_memcpy(&pseudo.icmp, &head->icmp, sizeof(pseudo.icmp));
	sum = bpf_csum_diff(NULL, 0, (void *)&pseudo, sizeof(pseudo), 0);
	return fold(bpf_csum_diff(NULL, 0, (void *)quote, QUOTE_V6, sum));
}

static __attribute__((noinline)) int
answer_too_big_v6(struct __sk_buff *skb, const struct packet *p, __u32 number, __u32 mtu)
{
	struct too_big_v6 head = {};
	struct arrival in;
	__u8 quote[QUOTE_V6];

	if (!p || !find_arrival(&in, number))
		return TC_ACT_SHOT;
	if (bpf_skb_change_tail(skb, sizeof(struct ethhdr) + QUOTE_V6, 0) ||
	    bpf_skb_load_bytes(skb, sizeof(struct ethhdr), quote, sizeof(quote)) ||
	    bpf_skb_adjust_room(skb, sizeof(head.ip) + sizeof(head.icmp), BPF_ADJ_ROOM_MAC, 0))
		return TC_ACT_SHOT;
	head.eth.h_proto = bpf_htons(ETH_P_IPV6);
	set_macs(&head.eth, in.port->mac);
	head.ip.version = 6;
	head.ip.payload_len = bpf_htons(sizeof(head.icmp) + QUOTE_V6);
	head.ip.nexthdr = IPPROTO_ICMPV6;
	head.ip.hop_limit = 64;
	__builtin_memcpy(&head.ip.saddr, &in.port->vswitch[1].gateway, sizeof(head.ip.saddr));
	__builtin_memcpy(&head.ip.daddr, &p->source, sizeof(head.ip.daddr));
	head.icmp.type = ICMP6_TOO_BIG;
	head.icmp.mtu = bpf_htonl(mtu);
	head.icmp.checksum = too_big_v6_checksum(&head, quote);
	if (bpf_skb_store_bytes(skb, 0, &head, sizeof(head), 0))
		return TC_ACT_SHOT;
	return answer(skb, &in);
}

/* Drop a packet that does not fit, and tell its sender what would. */
static __always_inline int drop_too_big(struct __sk_buff *skb, const struct packet *p, __u32 number,
					__u32 mtu)
{
	count_drop(number, DROP_TOO_BIG);
	if (!may_answer(p))
		return TC_ACT_SHOT;
	if (p->family == FAMILY_V4)
		return answer_too_big_v4(skb, p, number, mtu);
	return answer_too_big_v6(skb, p, number, mtu);
}

#endif
