/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * renumber.h - puts another address and port into a packet, and mends its checksums
 *
 * Step by step, as the oracle does, and not by a difference of all: kernels fold that differently.
 */
#ifndef TERWAY_RENUMBER_H
#define TERWAY_RENUMBER_H

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <stddef.h>
#include <bpf/bpf_helpers.h>

#include "fabric.h"
#include "packet.h"

#define ADDRESS_WORDS    4
#define TCP_CHECKSUM_AT  16
#define UDP_CHECKSUM_AT  6
#define IPV4_CHECKSUM_AT 10
#define IPV4_SOURCE_AT   12
#define IPV6_SOURCE_AT   8

static __always_inline long replace_address(struct __sk_buff *skb, const struct packet *p,
					    const struct address *old, const struct address *new,
					    bool is_source)
{
	__u32 ip = ETH_HLEN;

	if (p->family == FAMILY_V4) {
		__u32 at = ip + IPV4_SOURCE_AT + (is_source ? 0 : sizeof(__be32));

		return bpf_l3_csum_replace(skb, ip + IPV4_CHECKSUM_AT, old->word[0], new->word[0],
					   sizeof(__be32)) ||
		       bpf_skb_store_bytes(skb, at, new, sizeof(__be32), 0);
	}
	return bpf_skb_store_bytes(skb,
				   ip + IPV6_SOURCE_AT + (is_source ? 0 : sizeof(struct address)),
				   new, sizeof(*new), 0);
}

/* The transport's checksum covers the addresses too; a later fragment has neither it nor ports. */
static __always_inline long replace_port(struct __sk_buff *skb, const struct packet *p,
					 const struct address *old, const struct connection *to,
					 bool is_source)
{
	bool is_udp = p->protocol == IPPROTO_UDP;
	__u32 checksum = p->l4 + (is_udp ? UDP_CHECKSUM_AT : TCP_CHECKSUM_AT);
	__u64 flags = is_udp ? BPF_F_MARK_MANGLED_0 : 0;
	__be16 port = is_source ? p->source_port : p->destination_port;
	long failed = 0;

	if (p->is_later)
		return 0;
#pragma unroll
	for (int i = 0; i < ADDRESS_WORDS; i++) {
		if (i && p->family == FAMILY_V4)
			break;
		failed |= bpf_l4_csum_replace(skb, checksum, old->word[i], to->address.word[i],
					      flags | BPF_F_PSEUDO_HDR | sizeof(__be32));
	}
	failed |= bpf_l4_csum_replace(skb, checksum, port, to->port, flags | sizeof(port));
	return failed | bpf_skb_store_bytes(skb, p->l4 + (is_source ? 0 : sizeof(port)), &to->port,
					    sizeof(port), 0);
}

/* Put another address and port into the packet, as its destination or its source. */
static __attribute__((noinline)) enum drop_reason
translate(struct __sk_buff *skb, const struct packet *p, const struct connection *to)
{
	struct address old;

	if (!p || !to)
		return DROP_KERNEL;
	old = to->is_answer ? p->source : p->destination;
	if (replace_port(skb, p, &old, to, to->is_answer) ||
	    replace_address(skb, p, &old, &to->address, to->is_answer))
		return DROP_KERNEL;
	return DROP_NONE;
}

static __always_inline long replace_quoted_v6(struct __sk_buff *skb, __u32 checksum, __u32 ip,
					      const struct packet *quoted,
					      const struct connection *to)
{
	long failed = 0;

#pragma unroll
	for (int i = 0; i < ADDRESS_WORDS; i++)
		failed |= bpf_l4_csum_replace(skb, checksum, quoted->destination.word[i],
					      to->address.word[i], sizeof(__be32));
	return failed | bpf_skb_store_bytes(skb, ip + IPV6_SOURCE_AT + sizeof(struct address),
					    &to->address, sizeof(to->address), 0);
}

/*
 * Put another destination into the packet that an ICMP error quotes: what its receiver had sent.
 * An IPv4 header sums up to the same after as before, so the error's checksum sees the port alone.
 */
static __always_inline long translate_quoted(struct __sk_buff *skb, const struct packet *error,
					     const struct packet *quoted,
					     const struct connection *to)
{
	__u32 ip = error->l4 + sizeof(struct icmp_start);
	__u32 checksum = error->l4 + offsetof(struct icmp_start, checksum);
	long failed = 0;

	if (error->family == FAMILY_V4)
		failed |=
			bpf_l3_csum_replace(skb, ip + IPV4_CHECKSUM_AT, quoted->destination.word[0],
					    to->address.word[0], sizeof(__be32)) ||
			bpf_skb_store_bytes(skb, ip + IPV4_SOURCE_AT + sizeof(__be32), &to->address,
					    sizeof(__be32), 0);
	else
		failed |= replace_quoted_v6(skb, checksum, ip, quoted, to);
	failed |= bpf_l4_csum_replace(skb, checksum, quoted->destination_port, to->port,
				      sizeof(to->port));
	failed |= bpf_skb_store_bytes(skb, quoted->l4 + sizeof(to->port), &to->port,
				      sizeof(to->port), 0);
	return failed;
}

#endif
