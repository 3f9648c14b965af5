/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * packet.h - what is in this packet: addresses, protocol, ports, fragment
 *
 * Everything is read by bpf_skb_load_bytes, which reaches paged data too, so that no packet is
 * misread for how its memory lies.
 */
#ifndef TERWAY_PACKET_H
#define TERWAY_PACKET_H

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <stdbool.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "fabric.h"

#define EXTENSION_HEADERS_MAX 6 /* RFC 8200 names six kinds; each SHOULD appear once */

#define IPV4_OFFSET_MASK  0x1fff
#define IPV4_MORE         0x2000
#define IPV6_OFFSET_MASK  0xfff8
#define IPV6_MORE         0x0001
#define IPPROTO_AH_HEADER 51

#define ICMP_ECHO_REPLY   0
#define ICMP_UNREACHABLE  3
#define ICMP_ECHO_REQUEST 8
#define ICMP_TIME_EXCEED  11
#define ICMP_PARAMETER    12

#define ICMP6_UNREACHABLE    1
#define ICMP6_PARAMETER      4 /* 2 is packet too big, 3 is time exceeded */
#define ICMP6_ECHO_REQUEST   128
#define ICMP6_ECHO_REPLY     129
#define ICMP6_GROUP_QUERY    130 /* 131: report, 132: done */
#define ICMP6_ROUTER_SOLICIT 133
#define ICMP6_SOLICITATION   135
#define ICMP6_ADVERTISEMENT  136
#define ICMP6_REDIRECT       137
#define ICMP6_GROUP_REPORT2  143

#define TCP_FIN 0x01
#define TCP_SYN 0x02
#define TCP_RST 0x04
#define TCP_ACK 0x10

struct packet {
	struct address source;
	struct address destination;
	__u32 l4;    /* offset of the transport header in the frame */
	__u32 limit; /* offset that nothing is read beyond: of the frame, or of what quotes it */
	__u32 end;   /* offset of the first byte after the IP packet */
	__be32 fragment_id;
	__be16 source_port;
	__be16 destination_port;
	__u16 family;
	__u8 protocol;
	__u8 icmp_type;
	__u8 icmp_code;
	__u8 tcp_flags;
	__u8 transport_len; /* bytes of TCP or UDP header */
	bool is_fragment;   /* any fragment */
	bool is_later;      /* a fragment without a transport header */
	bool is_quoted;     /* inside an ICMP error: may be cut off after 8 bytes */
	__u8 ttl;           /* or hop limit */
	__u8 zero;
};
_Static_assert(sizeof(struct packet) == 64, "packet has padding: the verifier minds");

struct fragment_header {
	__u8 next;
	__u8 reserved;
	__be16 offset;
	__be32 id;
};

struct tcp_start {
	__be16 source_port;
	__be16 destination_port;
	__be32 sequence;
	__be32 acknowledgment;
	__u8 data_offset; /* upper half, in words */
	__u8 flags;
};

struct icmp_start {
	__u8 type;
	__u8 code;
	__be16 checksum;
	__be16 id;
	__be16 sequence;
};

static __always_inline bool has_bytes(const struct packet *p, __u32 offset, __u32 bytes)
{
	return offset + bytes <= p->end;
}

static __always_inline bool is_icmp(const struct packet *p)
{
	return p->protocol == (p->family == FAMILY_V4 ? IPPROTO_ICMP : IPPROTO_ICMPV6);
}

/* Whether the packet reports an error about another packet, which it quotes. */
static __always_inline bool is_icmp_error(const struct packet *p)
{
	if (!is_icmp(p) || p->is_later)
		return false;
	if (p->family == FAMILY_V6)
		return p->icmp_type >= ICMP6_UNREACHABLE && p->icmp_type <= ICMP6_PARAMETER;
	return p->icmp_type == ICMP_UNREACHABLE || p->icmp_type == ICMP_TIME_EXCEED ||
	       p->icmp_type == ICMP_PARAMETER;
}

static __always_inline bool is_echo_request(const struct packet *p)
{
	return is_icmp(p) && !p->is_later &&
	       p->icmp_type == (p->family == FAMILY_V4 ? ICMP_ECHO_REQUEST : ICMP6_ECHO_REQUEST);
}

static __always_inline bool is_neighbour_discovery(const struct packet *p)
{
	return p->family == FAMILY_V6 && p->protocol == IPPROTO_ICMPV6 && !p->is_later &&
	       p->icmp_type >= ICMP6_ROUTER_SOLICIT && p->icmp_type <= ICMP6_REDIRECT;
}

/* Neighbours, routers and their groups: RFC 4861, 2710 and 3810. */
static __always_inline bool is_neighbour_talk(const struct packet *p)
{
	return p->family == FAMILY_V6 && p->protocol == IPPROTO_ICMPV6 && !p->is_later &&
	       ((p->icmp_type >= ICMP6_GROUP_QUERY && p->icmp_type <= ICMP6_REDIRECT) ||
		p->icmp_type == ICMP6_GROUP_REPORT2);
}

/* 224.0.0.0/3 (multicast, reserved, broadcast) and ff00::/8. */
static __always_inline bool is_multicast(const struct packet *p)
{
	__u8 first = bpf_ntohl(p->destination.word[0]) >> 24;

	return p->family == FAMILY_V4 ? first >= 0xe0 : first == 0xff;
}

/* The side that asks has the identifier as its port, so that an answer's key is the mirror. */
static __always_inline void set_icmp_ports(struct packet *p, const struct icmp_start *icmp)
{
	bool is_reply = icmp->type == (p->family == FAMILY_V4 ? ICMP_ECHO_REPLY : ICMP6_ECHO_REPLY);

	p->icmp_type = icmp->type;
	p->icmp_code = icmp->code;
	p->source_port = is_echo_request(p) ? icmp->id : 0;
	p->destination_port = is_reply ? icmp->id : 0;
}

static __always_inline enum drop_reason parse_icmp(struct __sk_buff *skb, struct packet *p)
{
	struct icmp_start icmp;

	if (!has_bytes(p, p->l4, sizeof(icmp)) ||
	    bpf_skb_load_bytes(skb, p->l4, &icmp, sizeof(icmp)))
		return DROP_MALFORMED;
	p->transport_len = sizeof(icmp);
	set_icmp_ports(p, &icmp);
	return DROP_NONE;
}

static __always_inline enum drop_reason parse_udp(struct __sk_buff *skb, struct packet *p)
{
	struct {
		__be16 source, destination, length, checksum;
	} udp;

	if (!has_bytes(p, p->l4, sizeof(udp)) || bpf_skb_load_bytes(skb, p->l4, &udp, sizeof(udp)))
		return DROP_MALFORMED;
	p->source_port = udp.source;
	p->destination_port = udp.destination;
	p->transport_len = sizeof(udp);
	return DROP_NONE;
}

static __always_inline enum drop_reason parse_tcp(struct __sk_buff *skb, struct packet *p)
{
	struct tcp_start tcp = {};
	/* RFC 792 promises 8 bytes of the quoted packet: the ports are among them. */
	__u32 need = p->is_quoted ? 8 : sizeof(struct tcp_start);

	if (!has_bytes(p, p->l4, p->is_quoted ? need : 20))
		return DROP_MALFORMED;
	if (p->is_quoted ? bpf_skb_load_bytes(skb, p->l4, &tcp, 8)
			 : bpf_skb_load_bytes(skb, p->l4, &tcp, sizeof(tcp)))
		return DROP_MALFORMED;
	p->source_port = tcp.source_port;
	p->destination_port = tcp.destination_port;
	p->tcp_flags = tcp.flags;
	p->transport_len = (tcp.data_offset >> 4) * 4;
	return DROP_NONE;
}

static __always_inline enum drop_reason parse_transport(struct __sk_buff *skb, struct packet *p)
{
	if (p->is_later)
		return DROP_NONE;
	if (is_icmp(p))
		return parse_icmp(skb, p);
	if (p->protocol == IPPROTO_TCP)
		return parse_tcp(skb, p);
	if (p->protocol == IPPROTO_UDP)
		return parse_udp(skb, p);
	return DROP_NONE;
}

/* Only a quoted packet may be longer than what is there of it. */
static __always_inline bool set_end(struct packet *p, __u32 end)
{
	p->end = end < p->limit ? end : p->limit;
	return end <= p->limit || p->is_quoted;
}

static __always_inline enum drop_reason parse_ipv4(struct __sk_buff *skb, __u32 offset,
						   struct packet *p)
{
	struct iphdr ip;
	__u32 header, total;
	__u16 fragment;

	if (offset + sizeof(ip) > p->limit || bpf_skb_load_bytes(skb, offset, &ip, sizeof(ip)))
		return DROP_MALFORMED;
	header = ip.ihl * 4;
	total = bpf_ntohs(ip.tot_len);
	if (ip.version != 4 || header < sizeof(ip) || total < header || !set_end(p, offset + total))
		return DROP_MALFORMED;
	fragment = bpf_ntohs(ip.frag_off);
	p->is_fragment = fragment & (IPV4_OFFSET_MASK | IPV4_MORE);
	p->is_later = fragment & IPV4_OFFSET_MASK;
	p->fragment_id = ip.id;
	p->family = FAMILY_V4;
	p->protocol = ip.protocol;
	p->ttl = ip.ttl;
	p->source.word[0] = ip.saddr;
	p->destination.word[0] = ip.daddr;
	p->l4 = offset + header;
	return DROP_NONE;
}

/* Read one extension header, and return the number of the next, or -1 if it is cut off. */
static __always_inline int skip_extension(struct __sk_buff *skb, struct packet *p)
{
	struct fragment_header header;
	__u32 bytes = 8;

	if (!has_bytes(p, p->l4, sizeof(header)) ||
	    bpf_skb_load_bytes(skb, p->l4, &header, sizeof(header)))
		return -1;
	if (p->protocol == IPPROTO_FRAGMENT) {
		__u16 offset = bpf_ntohs(header.offset);

		p->is_fragment = true;
		p->is_later = offset & IPV6_OFFSET_MASK;
		p->fragment_id = header.id;
	} else if (p->protocol == IPPROTO_AH_HEADER) {
		bytes = (header.reserved + 2) * 4; /* RFC 4302: words, less two */
	} else {
		bytes = (header.reserved + 1) * 8; /* RFC 8200: the second byte is the length */
	}
	p->l4 += bytes;
	return header.next;
}

static __always_inline bool is_extension(__u8 protocol)
{
	return protocol == IPPROTO_HOPOPTS || protocol == IPPROTO_ROUTING ||
	       protocol == IPPROTO_DSTOPTS || protocol == IPPROTO_FRAGMENT ||
	       protocol == IPPROTO_AH_HEADER;
}

static __always_inline enum drop_reason skip_extensions(struct __sk_buff *skb, struct packet *p)
{
	for (int i = 0; i < EXTENSION_HEADERS_MAX; i++) {
		int next;

		if (!is_extension(p->protocol) || p->is_later)
			return p->l4 <= p->end ? DROP_NONE : DROP_MALFORMED;
		next = skip_extension(skb, p);
		if (next < 0)
			return DROP_MALFORMED;
		p->protocol = next;
	}
	return (is_extension(p->protocol) && !p->is_later) || p->l4 > p->end ? DROP_MALFORMED
									     : DROP_NONE;
}

static __always_inline enum drop_reason parse_ipv6(struct __sk_buff *skb, __u32 offset,
						   struct packet *p)
{
	struct ipv6hdr ip;

	if (offset + sizeof(ip) > p->limit || bpf_skb_load_bytes(skb, offset, &ip, sizeof(ip)))
		return DROP_MALFORMED;
	if (ip.version != 6 || !set_end(p, offset + sizeof(ip) + bpf_ntohs(ip.payload_len)))
		return DROP_MALFORMED;
	p->family = FAMILY_V6;
	p->protocol = ip.nexthdr;
	p->ttl = ip.hop_limit;
	__builtin_memcpy(&p->source, &ip.saddr, sizeof(p->source));
	__builtin_memcpy(&p->destination, &ip.daddr, sizeof(p->destination));
	p->l4 = offset + sizeof(ip);
	return skip_extensions(skb, p);
}

/*
 * Read the IP packet at `offset` into `p`, which is zero but for `limit` and `is_quoted`.
 *
 * Static, though the verifier checks a global function but once: that such a one takes a packet's
 * context is believed only by a kernel with BTF of itself. Where much follows, `p` is in a map.
 */
static __attribute__((noinline)) enum drop_reason parse_packet(struct __sk_buff *skb, __u32 offset,
							       __u32 family, struct packet *p)
{
	enum drop_reason reason;

	if (!p)
		return DROP_KERNEL;
	reason = family == FAMILY_V4 ? parse_ipv4(skb, offset, p) : parse_ipv6(skb, offset, p);
	return reason ? reason : parse_transport(skb, p);
}

#endif
