/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * deliver.h - how does a packet get where it goes, past the host's stack
 *
 * What is too large, or has travelled too far, is not taken: the stack cuts it, or says so to the
 * sender.
 */
#ifndef TERWAY_DELIVER_H
#define TERWAY_DELIVER_H

#include <bpf/bpf_endian.h>

#include "passage.h"

#define AF_IPV4 2
#define AF_IPV6 10

/* IPv4: time to live, protocol and checksum are one word, so that one read and write will do. */
struct ttl_word {
	__u8 ttl;
	__u8 protocol;
	__be16 checksum;
};

#define TTL_AT       (ETH_HLEN + 8)
#define HOP_LIMIT_AT (ETH_HLEN + 7)

/* Sum of the header after the time to live is one less (RFC 1624, equation 3). */
static __always_inline __be16 sum_of_older(__be16 checksum)
{
	__u32 sum = (__u32)bpf_ntohs(checksum) + 0x0100;

	return bpf_htons((sum & 0xffff) + (sum >> 16));
}

static __always_inline enum loss age_ipv4(struct __sk_buff *skb)
{
	struct ttl_word word;

	if (bpf_skb_load_bytes(skb, TTL_AT, &word, sizeof(word)))
		return LOSS_KERNEL;
	if (word.ttl <= 1)
		return LOSS_TTL;
	word.ttl--;
	word.checksum = sum_of_older(word.checksum);
	return bpf_skb_store_bytes(skb, TTL_AT, &word, sizeof(word), 0) ? LOSS_KERNEL : LOSS_NONE;
}

static __always_inline enum loss age_ipv6(struct __sk_buff *skb)
{
	__u8 hops;

	if (bpf_skb_load_bytes(skb, HOP_LIMIT_AT, &hops, sizeof(hops)))
		return LOSS_KERNEL;
	if (hops <= 1)
		return LOSS_TTL;
	hops--;
	return bpf_skb_store_bytes(skb, HOP_LIMIT_AT, &hops, sizeof(hops), 0) ? LOSS_KERNEL
									      : LOSS_NONE;
}

/* One hop more, as any router counts it. LOSS_TTL: that was the last. */
static __always_inline enum loss age(struct __sk_buff *skb, __u32 family)
{
	return family == FAMILY_V4 ? age_ipv4(skb) : age_ipv6(skb);
}

/* Bytes of IP of the largest packet that this becomes: the kernel cuts what it has joined. */
static __always_inline __u32 largest_packet(const struct __sk_buff *skb, const struct packet *p)
{
	if (skb->gso_size)
		return p->l4 + p->transport_len - ETH_HLEN + skb->gso_size;
	return skb->len - ETH_HLEN;
}

static __always_inline bool fits(const struct __sk_buff *skb, const struct packet *p, __u16 mtu)
{
	return largest_packet(skb, p) <= mtu;
}

struct hardware {
	__u8 destination[ETH_ALEN];
	__u8 source[ETH_ALEN];
};

static __always_inline enum loss address_frame(struct __sk_buff *skb, const __u8 *to,
					       const __u8 *from)
{
	struct hardware head;

	__builtin_memcpy(head.destination, to, ETH_ALEN);
	__builtin_memcpy(head.source, from, ETH_ALEN);
	return bpf_skb_store_bytes(skb, 0, &head, sizeof(head), 0) ? LOSS_KERNEL : LOSS_NONE;
}

static __always_inline struct bpf_redir_neigh next_hop(__u32 family, __be32 v4,
						       const struct address *v6)
{
	struct bpf_redir_neigh hop = {};

	if (family == FAMILY_V4) {
		hop.nh_family = AF_IPV4;
		hop.ipv4_nh = v4;
	} else {
		hop.nh_family = AF_IPV6;
		__builtin_memcpy(hop.ipv6_nh, v6, sizeof(hop.ipv6_nh));
	}
	return hop;
}

/* Return the verdict that sends the packet out by a link, to the hardware address of a gateway. */
static __always_inline int send_by(__u32 ifindex, __u32 family, __be32 gateway4,
				   const struct address *gateway6)
{
	struct bpf_redir_neigh hop = next_hop(family, gateway4, gateway6);

	return bpf_redirect_neigh(ifindex, &hop, sizeof(hop), 0);
}

#endif
