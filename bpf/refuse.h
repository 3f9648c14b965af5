/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * refuse.h - says to a client that nobody answers, in the place of whom it asked
 *
 * TCP is reset, everything else told by ICMP that the port is unreachable, as the host's own stack
 * and kube-proxy's REJECT do, or (policies: `network_policy_denied: reject`) that it is prohibited:
 * who is told at once need not wait for a time-out. The answer is made of the packet that it
 * answers. ICMP, headers with options or extensions, and fragments get none.
 */
#ifndef TERWAY_REFUSE_H
#define TERWAY_REFUSE_H

#include "passage.h"

#define REFUSAL_TTL       64
#define IPV4_PLAIN        20
#define IPV6_PLAIN        40
#define IPV4_DONT_CUT     0x4000
#define TCP_PLAIN_WORDS   5
#define ICMP_PORT         3 /* codes of "unreachable" */
#define ICMP_PROHIBITED   13
#define ICMP6_PORT        4
#define ICMP6_PROHIBITED  1
#define QUOTED_OF_PAYLOAD 8 /* RFC 792; IPv6 would like more, and takes it */

struct reset_segment {
	__be16 source;
	__be16 destination;
	__be32 sequence;
	__be32 acknowledgment;
	__be16 flags; /* and the header's length, in words, above them */
	__be16 window;
	__be16 checksum;
	__be16 urgent;
};

struct unreachable {
	__u8 type;
	__u8 code;
	__be16 checksum;
	__be32 unused;
};

/* What checksums of transport headers cover besides: in IPv4 the rest of addresses is zero. */
struct covered_ends {
	struct address source;
	struct address destination;
	__be32 bytes;
	__be32 protocol;
};

static __always_inline __be16 folded(__u32 sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	return ~((sum & 0xffff) + (sum >> 16));
}

static __always_inline __u32 sum_of_ends(const struct packet *p, __u32 bytes, __u32 protocol)
{
	struct covered_ends ends = {
		.source = p->destination,
		.destination = p->source,
		.bytes = bpf_htonl(bytes),
		.protocol = bpf_htonl(protocol),
	};

	return bpf_csum_diff(NULL, 0, (__be32 *)&ends, sizeof(ends), 0);
}

static __always_inline enum loss turn_frame(struct __sk_buff *skb)
{
	struct ethhdr eth;
	__u8 mac[ETH_ALEN];

	if (bpf_skb_load_bytes(skb, 0, &eth, sizeof(eth)))
		return LOSS_KERNEL;
	__builtin_memcpy(mac, eth.h_dest, ETH_ALEN);
	__builtin_memcpy(eth.h_dest, eth.h_source, ETH_ALEN);
	__builtin_memcpy(eth.h_source, mac, ETH_ALEN);
	return bpf_skb_store_bytes(skb, 0, &eth, sizeof(eth), 0) ? LOSS_KERNEL : LOSS_NONE;
}

/* Write the IP header of the answer, which has so many bytes behind it. */
static __always_inline enum loss put_answer_head(struct __sk_buff *skb, const struct packet *p,
						 __u32 bytes, __u8 protocol)
{
	long failed;

	if (p->family == FAMILY_V4) {
		struct iphdr ip = {
			.version = 4,
			.ihl = IPV4_PLAIN / 4,
			.tot_len = bpf_htons(IPV4_PLAIN + bytes),
			.frag_off = bpf_htons(IPV4_DONT_CUT),
			.ttl = REFUSAL_TTL,
			.protocol = protocol,
			.saddr = p->destination.word[0],
			.daddr = p->source.word[0],
		};

		ip.check = folded(bpf_csum_diff(NULL, 0, (__be32 *)&ip, sizeof(ip), 0));
		failed = bpf_skb_store_bytes(skb, ETH_HLEN, &ip, sizeof(ip), 0);
	} else {
		struct ipv6hdr ip = {
			.version = 6,
			.payload_len = bpf_htons(bytes),
			.nexthdr = protocol,
			.hop_limit = REFUSAL_TTL,
		};

		__builtin_memcpy(&ip.saddr, &p->destination, sizeof(ip.saddr));
		__builtin_memcpy(&ip.daddr, &p->source, sizeof(ip.daddr));
		failed = bpf_skb_store_bytes(skb, ETH_HLEN, &ip, sizeof(ip), 0);
	}
	return failed ? LOSS_KERNEL : LOSS_NONE;
}

/* RFC 9293, section 3.5.2: a reset is where the other side expects the next byte. */
static __always_inline void make_segment(struct reset_segment *reset, const struct packet *p,
					 const struct tcp_start *asked)
{
	bool has_ack = p->tcp_flags & TCP_ACK;
	__u32 taken = p->end - p->l4 - p->transport_len;

	taken += !!(p->tcp_flags & TCP_SYN) + !!(p->tcp_flags & TCP_FIN);
	reset->source = p->destination_port;
	reset->destination = p->source_port;
	reset->sequence = has_ack ? asked->acknowledgment : 0;
	reset->acknowledgment = has_ack ? 0 : bpf_htonl(bpf_ntohl(asked->sequence) + taken);
	reset->flags = bpf_htons(TCP_PLAIN_WORDS << 12 | TCP_RST | (has_ack ? 0 : TCP_ACK));
	reset->window = 0;
	reset->urgent = 0;
	reset->checksum = 0;
}

SUBPROGRAM enum loss make_reset(struct __sk_buff *skb, const struct packet *p)
{
	struct reset_segment reset = {};
	struct tcp_start asked;
	__u32 sum;

	if (!p || p->tcp_flags & TCP_RST || bpf_skb_load_bytes(skb, p->l4, &asked, sizeof(asked)))
		return LOSS_MALFORMED;
	make_segment(&reset, p, &asked);
	sum = sum_of_ends(p, sizeof(reset), IPPROTO_TCP);
	reset.checksum = folded(bpf_csum_diff(NULL, 0, (__be32 *)&reset, sizeof(reset), sum));
	if (bpf_skb_change_tail(skb, p->l4 + sizeof(reset), 0) ||
	    bpf_skb_store_bytes(skb, p->l4, &reset, sizeof(reset), 0))
		return LOSS_KERNEL;
	return put_answer_head(skb, p, sizeof(reset), IPPROTO_TCP);
}

SUBPROGRAM enum loss make_unreachable4(struct __sk_buff *skb, const struct packet *p, __u8 code)
{
	struct unreachable icmp = {.type = ICMP_UNREACHABLE, .code = code};
	__u8 quote[IPV4_PLAIN + QUOTED_OF_PAYLOAD];
	__u32 sum;

	if (!p || bpf_skb_change_tail(skb, ETH_HLEN + sizeof(quote), 0) ||
	    bpf_skb_load_bytes(skb, ETH_HLEN, quote, sizeof(quote)) ||
	    bpf_skb_adjust_room(skb, IPV4_PLAIN + sizeof(icmp), BPF_ADJ_ROOM_MAC, 0))
		return LOSS_KERNEL;
	sum = bpf_csum_diff(NULL, 0, (__be32 *)&icmp, sizeof(icmp), 0);
	icmp.checksum = folded(bpf_csum_diff(NULL, 0, (__be32 *)quote, sizeof(quote), sum));
	if (bpf_skb_store_bytes(skb, ETH_HLEN + IPV4_PLAIN, &icmp, sizeof(icmp), 0))
		return LOSS_KERNEL;
	return put_answer_head(skb, p, sizeof(icmp) + sizeof(quote), IPPROTO_ICMP);
}

SUBPROGRAM enum loss make_unreachable6(struct __sk_buff *skb, const struct packet *p, __u8 code)
{
	struct unreachable icmp = {.type = ICMP6_UNREACHABLE, .code = code};
	__u8 quote[IPV6_PLAIN + QUOTED_OF_PAYLOAD];
	__u32 sum;

	if (!p || bpf_skb_change_tail(skb, ETH_HLEN + sizeof(quote), 0) ||
	    bpf_skb_load_bytes(skb, ETH_HLEN, quote, sizeof(quote)) ||
	    bpf_skb_adjust_room(skb, IPV6_PLAIN + sizeof(icmp), BPF_ADJ_ROOM_MAC, 0))
		return LOSS_KERNEL;
	sum = sum_of_ends(p, sizeof(icmp) + sizeof(quote), IPPROTO_ICMPV6);
	sum = bpf_csum_diff(NULL, 0, (__be32 *)&icmp, sizeof(icmp), sum);
	icmp.checksum = folded(bpf_csum_diff(NULL, 0, (__be32 *)quote, sizeof(quote), sum));
	if (bpf_skb_store_bytes(skb, ETH_HLEN + IPV6_PLAIN, &icmp, sizeof(icmp), 0))
		return LOSS_KERNEL;
	return put_answer_head(skb, p, sizeof(icmp) + sizeof(quote), IPPROTO_ICMPV6);
}

static __always_inline bool is_plain_packet(const struct packet *p)
{
	__u32 head = p->family == FAMILY_V4 ? IPV4_PLAIN : IPV6_PLAIN;

	return p->l4 == ETH_HLEN + head && !p->is_fragment && has_bytes(p, p->l4, 8) && !is_icmp(p);
}

static __always_inline bool is_by_policy(enum loss lost)
{
	return lost == LOSS_POLICY_EGRESS || lost == LOSS_POLICY_INGRESS;
}

/* Whether the client of a lost packet is to be told. */
static __always_inline bool is_to_be_told(enum loss lost)
{
	const struct settings *node = node_settings();

	if (is_by_policy(lost))
		return node && node->flags & SETTING_REJECT;
	return lost == LOSS_NO_BACKEND || lost == LOSS_BACKEND_GONE;
}

/* Make the refusal of the packet, which is as its client sent it. LOSS_NONE: send it back. */
SUBPROGRAM enum loss refuse(struct __sk_buff *skb, const struct passage *at, enum loss reason)
{
	enum loss lost;

	if (!at || !is_plain_packet(&at->p))
		return LOSS_MALFORMED;
	if (at->p.protocol == IPPROTO_TCP)
		lost = make_reset(skb, &at->p);
	else if (at->p.family == FAMILY_V4)
		lost = make_unreachable4(skb, &at->p,
					 is_by_policy(reason) ? ICMP_PROHIBITED : ICMP_PORT);
	else
		lost = make_unreachable6(skb, &at->p,
					 is_by_policy(reason) ? ICMP6_PROHIBITED : ICMP6_PORT);
	return lost ? lost : turn_frame(skb);
}

#endif
