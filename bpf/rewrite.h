/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * rewrite.h - gives a packet other ends: addresses, ports, and every checksum that covers them
 *
 * Oracle: tests/support/translation_oracle.py makes the same packet from nothing.
 *
 * Checksums are updated by what changed (RFC 1624), so one that was wrong stays wrong. Where the
 * sender left a checksum to the device, the helpers see it and change the part that is there.
 */
#ifndef TERWAY_REWRITE_H
#define TERWAY_REWRITE_H

#include <stddef.h>

#include "passage.h"

#define IPV4_SUM_AT       10
#define IPV4_ADDRESSES_AT 12
#define IPV6_ADDRESSES_AT 8
#define TCP_SUM_AT        16
#define UDP_SUM_AT        6
#define ICMP_SUM_AT       2
#define SCTP_SUM_AT       8

#define ADDRESSES_BYTES 32 /* `source` and `destination` lie side by side, in both structs */
#define PORTS_BYTES     4

_Static_assert(offsetof(struct packet, destination) == 16, "addresses are not side by side");
_Static_assert(offsetof(struct flow_tuple, destination) == 16, "addresses are not side by side");
_Static_assert(offsetof(struct packet, destination_port) ==
		       offsetof(struct packet, source_port) + 2,
	       "ports are not side by side");

#define CRC32C_POLYNOMIAL 0x82f63b78 /* RFC 9260, appendix A; lowest bit first */
#define CRC32C_X8         0x00800000 /* x^8 */
#define CRC32C_ONE        0x80000000

/* ---- what changes ------------------------------------------------------------------------ */

static __always_inline __u32 addresses_difference(const struct packet *p,
						  const struct flow_tuple *to)
{
	return bpf_csum_diff((__be32 *)&p->source, ADDRESSES_BYTES, (__be32 *)&to->source,
			     ADDRESSES_BYTES, 0);
}

static __always_inline __u32 ports_difference(const struct packet *p, const struct flow_tuple *to)
{
	return bpf_csum_diff((__be32 *)&p->source_port, PORTS_BYTES, (__be32 *)&to->source_port,
			     PORTS_BYTES, 0);
}

static __always_inline void take_ends(struct packet *p, const struct flow_tuple *to)
{
	p->source = to->source;
	p->destination = to->destination;
	p->source_port = to->source_port;
	p->destination_port = to->destination_port;
}

static __always_inline bool has_ports(const struct packet *p)
{
	return !p->is_later && (p->protocol == IPPROTO_TCP || p->protocol == IPPROTO_UDP ||
				p->protocol == IPPROTO_SCTP);
}

/* Where in the transport header the checksum is that covers the addresses; 0: there is none. */
static __always_inline __u32 sum_offset(const struct packet *p)
{
	if (p->is_later)
		return 0;
	switch (p->protocol) {
	case IPPROTO_TCP:
		return TCP_SUM_AT;
	case IPPROTO_UDP:
		return UDP_SUM_AT;
	case IPPROTO_ICMPV6:
		return p->family == FAMILY_V6 ? ICMP_SUM_AT : 0;
	default:
		return 0;
	}
}

/* ---- SCTP -------------------------------------------------------------------------------- */

/* Product of two polynomials, modulo that of CRC32c. */
static __always_inline __u32 crc_product(__u32 a, __u32 b)
{
	__u32 product = 0;

	for (int i = 0; i < 32; i++) {
		product ^= b & -(a >> 31);
		a <<= 1;
		b = (b >> 1) ^ (CRC32C_POLYNOMIAL & -(b & 1));
	}
	return product;
}

/*
 * Return what a difference at the start of a message of so many bytes makes in its CRC32c.
 *
 * Global, so that the verifier walks the loops but once: it takes numbers only.
 */
__attribute__((noinline)) __u32 crc_difference(__u32 difference, __u32 bytes)
{
	__u32 power = CRC32C_X8, shift = CRC32C_ONE;

	for (int i = 0; i < 16; i++) {
		__u32 is_set = -(bytes & 1);

		shift = (crc_product(shift, power) & is_set) | (shift & ~is_set);
		power = crc_product(power, power);
		bytes >>= 1;
	}
	return crc_product(difference, shift);
}

/*
 * The ports are the first four bytes of what CRC32c covers, and addresses are not in it.
 *
 * All zero: left to the device, which counts it as zero. Of a packet in fragments nobody knows the
 * length here; SCTP finds out what fits, and sends none.
 */
static __always_inline enum loss rewrite_sctp(struct __sk_buff *skb, const struct packet *p,
					      const struct flow_tuple *to)
{
	__u32 before, after, sum;

	__builtin_memcpy(&before, &p->source_port, sizeof(before));
	__builtin_memcpy(&after, &to->source_port, sizeof(after));
	if (before == after)
		return LOSS_NONE;
	if (p->is_fragment)
		return LOSS_FRAGMENT;
	if (bpf_skb_load_bytes(skb, p->l4 + SCTP_SUM_AT, &sum, sizeof(sum)))
		return LOSS_MALFORMED;
	if (!sum)
		return LOSS_NONE;
	sum ^= crc_difference(before ^ after, p->end - p->l4);
	return bpf_skb_store_bytes(skb, p->l4 + SCTP_SUM_AT, &sum, sizeof(sum), 0) ? LOSS_KERNEL
										   : LOSS_NONE;
}

/* ---- a packet ---------------------------------------------------------------------------- */

static __always_inline enum loss put_addresses(struct __sk_buff *skb, __u32 ip, __u32 family,
					       const struct flow_tuple *to, __u32 difference,
					       __u64 flags)
{
	__be32 v4[2] = {to->source.word[0], to->destination.word[0]};
	long failed;

	if (family == FAMILY_V6) {
		failed = bpf_skb_store_bytes(skb, ip + IPV6_ADDRESSES_AT, &to->source,
					     ADDRESSES_BYTES, flags);
	} else {
		failed = bpf_l3_csum_replace(skb, ip + IPV4_SUM_AT, 0, difference, 0) ||
			 bpf_skb_store_bytes(skb, ip + IPV4_ADDRESSES_AT, v4, sizeof(v4), flags);
	}
	return failed ? LOSS_KERNEL : LOSS_NONE;
}

/* UDP over IPv4 may have no checksum: then zero it stays. */
static __always_inline __u64 sum_flags(const struct packet *p)
{
	return p->protocol == IPPROTO_UDP ? BPF_F_MARK_MANGLED_0 : 0;
}

static __always_inline enum loss put_transport(struct __sk_buff *skb, const struct packet *p,
					       const struct flow_tuple *to, __u32 addresses)
{
	__u32 at = p->l4 + sum_offset(p);
	__u64 flags = sum_flags(p);

	if (at != p->l4 &&
	    (bpf_l4_csum_replace(skb, at, 0, addresses, BPF_F_PSEUDO_HDR | flags) ||
	     (has_ports(p) && bpf_l4_csum_replace(skb, at, 0, ports_difference(p, to), flags))))
		return LOSS_KERNEL;
	if (has_ports(p) &&
	    bpf_skb_store_bytes(skb, p->l4, &to->source_port, PORTS_BYTES, BPF_F_INVALIDATE_HASH))
		return LOSS_KERNEL;
	return LOSS_NONE;
}

/* In IPv6 no checksum of the header makes up for addresses in what the device has summed. */
static __always_inline __u64 addresses_flags(const struct packet *p)
{
	return BPF_F_INVALIDATE_HASH | (p->family == FAMILY_V6 ? BPF_F_RECOMPUTE_CSUM : 0);
}

/* Give the packet `p`, which is at the start of the frame, the ends of `to`. */
SUBPROGRAM enum loss rewrite(struct __sk_buff *skb, struct packet *p, const struct flow_tuple *to)
{
	enum loss lost = LOSS_NONE;
	__u32 addresses;

	if (!p || !to)
		return LOSS_KERNEL;
	addresses = addresses_difference(p, to);
	if (p->protocol == IPPROTO_SCTP && !p->is_later)
		lost = rewrite_sctp(skb, p, to);
	if (!lost)
		lost = put_transport(skb, p, to, addresses);
	if (!lost)
		lost = put_addresses(skb, ETH_HLEN, p->family, to, addresses, addresses_flags(p));
	if (!lost)
		take_ends(p, to);
	return lost;
}

/* ---- a packet that an ICMP error quotes -------------------------------------------------- */

/* Update the quoted transport checksum, if it was quoted and there is one. Return whether. */
static __always_inline bool put_quoted_sum(struct __sk_buff *skb, const struct packet *quoted,
					   __u32 difference)
{
	__u32 at = quoted->l4 + sum_offset(quoted);
	__be16 sum;

	if (at == quoted->l4 || !has_bytes(quoted, at, sizeof(sum)) ||
	    bpf_skb_load_bytes(skb, at, &sum, sizeof(sum)) ||
	    (!sum && quoted->protocol == IPPROTO_UDP))
		return false;
	return !bpf_l4_csum_replace(skb, at, 0, difference, sum_flags(quoted));
}

/*
 * How the sum of all quoted bytes changes: in IPv4 the header's checksum makes up for addresses,
 * and in both a transport checksum for addresses and ports.
 */
static __always_inline __u32 quote_difference(__u32 family, __u32 addresses, __u32 ports,
					      bool has_sum)
{
	__u64 both = (__u64)addresses + ports;

	if (family == FAMILY_V4)
		return has_sum ? ~addresses : ports;
	return has_sum ? 0 : (__u32)both + (__u32)(both >> 32);
}

/* Give the packet that the ICMP error `p` quotes the ends of `to`. */
SUBPROGRAM enum loss rewrite_quoted(struct __sk_buff *skb, const struct packet *p,
				    struct packet *quoted, const struct flow_tuple *to)
{
	__u32 addresses, ports = 0, sum = 0;
	bool has_sum;
	__u64 both;

	if (!p || !quoted || !to)
		return LOSS_KERNEL;
	addresses = addresses_difference(quoted, to);
	if (has_ports(quoted)) {
		ports = ports_difference(quoted, to);
		if (bpf_skb_store_bytes(skb, quoted->l4, &to->source_port, PORTS_BYTES, 0))
			return LOSS_KERNEL;
	}
	both = (__u64)addresses + ports;
	has_sum = put_quoted_sum(skb, quoted, (__u32)both + (__u32)(both >> 32));
	sum = quote_difference(quoted->family, addresses, ports, has_sum);
	if (put_addresses(skb, p->l4 + sizeof(struct icmp_start), quoted->family, to, addresses,
			  0) ||
	    bpf_l4_csum_replace(skb, p->l4 + ICMP_SUM_AT, 0, sum, 0))
		return LOSS_KERNEL;
	take_ends(quoted, to);
	return LOSS_NONE;
}

#endif
