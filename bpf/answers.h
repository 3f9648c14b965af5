/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * answers.h - what the virtual router itself says: ARP, neighbour discovery, echo, "too big"
 *
 * Each answer is made of the packet it answers and leaves by the port it came from.
 */
#ifndef TERWAY_ANSWERS_H
#define TERWAY_ANSWERS_H

#include "flows.h"
#include "packet.h"
#include "router.h"

#define ARP_ETHERNET 1
#define ARP_REQUEST  1
#define ARP_REPLY    2

struct arp_packet {
	struct ethhdr eth;
	__be16 hardware;
	__be16 protocol;
	__u8 hardware_len;
	__u8 protocol_len;
	__be16 operation;
	__u8 sender_mac[ETH_ALEN];
	__be32 sender;
	__u8 target_mac[ETH_ALEN];
	__be32 target;
} __attribute__((packed));

/* RFC 4861 sections 4.3 and 4.4, with the one option that we write. */
struct nd_packet {
	struct ethhdr eth;
	struct ipv6hdr ip;
	__u8 type;
	__u8 code;
	__be16 checksum;
	__be32 flags;
	struct address target;
	__u8 option;
	__u8 option_len; /* in units of 8 bytes */
	__u8 mac[ETH_ALEN];
} __attribute__((packed));

#define ND_LEN               (sizeof(struct nd_packet) - sizeof(struct ethhdr) - sizeof(struct ipv6hdr))
#define ND_SOLICITATION_LEN  (ND_LEN - 8) /* the option may be absent */
#define ND_ROUTER            0x80000000
#define ND_SOLICITED         0x40000000
#define ND_OVERRIDE          0x20000000
#define ND_TARGET_LINK_LAYER 2
#define ND_HOP_LIMIT         255

static __always_inline __u16 fold(__u32 sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	return ~((sum & 0xffff) + (sum >> 16));
}

static __always_inline bool in_subnet(const struct subnet *subnet, const struct address *address)
{
	__u32 differs = 0;

#pragma unroll
	for (int i = 0; i < 4; i++)
		differs |= (address->word[i] ^ subnet->network.word[i]) & subnet->mask.word[i];
	return !differs;
}

static __always_inline int answer(struct __sk_buff *skb, const struct arrival *in)
{
	if (put_tag(skb, in->number))
		return drop(in->number, DROP_KERNEL);
	count_answer(in->number);
	return bpf_redirect(link_of(in->number), 0);
}

/* The router answers for every address of the vSwitch but the ENI's own: see DAD. */
static __always_inline enum drop_reason check_target(const struct arrival *in, enum family family,
						     const struct address *target)
{
	const struct owner *owner;

	if (!in_subnet(&in->port->vswitch[family == FAMILY_V6], target))
		return DROP_UNANSWERED;
	owner = find_owner(in->port->vpc, family, target);
	return owner && owner->port == in->number ? DROP_UNANSWERED : DROP_NONE;
}

static __always_inline enum drop_reason check_arp(const struct arrival *in,
						  const struct arp_packet *arp)
{
	struct address target = {.word = {arp->target}};

	if (arp->hardware != bpf_htons(ARP_ETHERNET) || arp->protocol != bpf_htons(ETH_P_IP) ||
	    arp->hardware_len != ETH_ALEN || arp->protocol_len != sizeof(arp->sender))
		return DROP_MALFORMED;
	if (!is_same_mac(arp->sender_mac, in->port->mac))
		return DROP_SOURCE_MAC;
	if (arp->operation != bpf_htons(ARP_REQUEST))
		return DROP_UNANSWERED;
	return check_target(in, FAMILY_V4, &target);
}

static __always_inline int answer_arp(struct __sk_buff *skb, const struct arrival *in)
{
	struct arp_packet arp;
	__be32 target;
	enum drop_reason reason;

	if (bpf_skb_load_bytes(skb, 0, &arp, sizeof(arp)))
		return drop(in->number, DROP_MALFORMED);
	reason = check_arp(in, &arp);
	if (reason)
		return drop(in->number, reason);
	target = arp.target;
	set_macs(&arp.eth, in->port->mac);
	arp.operation = bpf_htons(ARP_REPLY);
	__builtin_memcpy(arp.target_mac, arp.sender_mac, ETH_ALEN);
	arp.target = arp.sender;
	__builtin_memcpy(arp.sender_mac, ROUTER_MAC, ETH_ALEN);
	arp.sender = target;
	if (bpf_skb_store_bytes(skb, 0, &arp, sizeof(arp), 0))
		return drop(in->number, DROP_KERNEL);
	return answer(skb, in);
}

static __always_inline bool is_unspecified(const struct address *address)
{
	return !(address->word[0] | address->word[1] | address->word[2] | address->word[3]);
}

static __always_inline enum drop_reason
check_solicitation(const struct arrival *in, const struct packet *p, const struct nd_packet *nd)
{
	struct address target;

	if (nd->ip.hop_limit != ND_HOP_LIMIT || nd->code)
		return DROP_MALFORMED;
	/* A DAD probe for an address that is free gets no answer; for a taken one, nobody asks. */
	if (is_unspecified(&p->source))
		return DROP_UNANSWERED;
	__builtin_memcpy(&target, &nd->target, sizeof(target));
	return check_target(in, FAMILY_V6, &target);
}

static __always_inline __be16 nd_checksum(struct nd_packet *nd)
{
	struct {
		struct address source, destination;
		__be32 length, next;
	} pseudo = {
		.length = bpf_htonl(ND_LEN),
		.next = bpf_htonl(IPPROTO_ICMPV6),
	};
	struct {
		__be32 head[ND_LEN / 4];
	} message;
	__u32 sum;

	__builtin_memcpy(&pseudo.source, &nd->ip.saddr, sizeof(pseudo.source));
	__builtin_memcpy(&pseudo.destination, &nd->ip.daddr, sizeof(pseudo.destination));
	__builtin_memcpy(&message, &nd->type, sizeof(message));
	sum = bpf_csum_diff(NULL, 0, (void *)&pseudo, sizeof(pseudo), 0);
	return fold(bpf_csum_diff(NULL, 0, (void *)&message, sizeof(message), sum));
}

static __always_inline void make_advertisement(struct nd_packet *nd, const struct packet *p,
					       const struct arrival *in)
{
	set_macs(&nd->eth, in->port->mac);
	nd->ip.payload_len = bpf_htons(ND_LEN);
	__builtin_memcpy(&nd->ip.saddr, &nd->target, sizeof(nd->target));
	__builtin_memcpy(&nd->ip.daddr, &p->source, sizeof(p->source));
	nd->type = ICMP6_ADVERTISEMENT;
	nd->flags = bpf_htonl(ND_ROUTER | ND_SOLICITED | ND_OVERRIDE);
	nd->option = ND_TARGET_LINK_LAYER;
	nd->option_len = 1;
	__builtin_memcpy(nd->mac, ROUTER_MAC, ETH_ALEN);
	nd->checksum = 0;
	nd->checksum = nd_checksum(nd);
}

/* Neighbour solicitations are answered; the router neither sends nor forwards the other kinds. */
static __attribute__((noinline)) int answer_nd(struct __sk_buff *skb, const struct packet *p,
					       __u32 number)
{
	const __u32 offset = sizeof(struct ethhdr) + sizeof(struct ipv6hdr);
	const __u32 known = sizeof(struct nd_packet) - 8;
	struct nd_packet nd = {};
	enum drop_reason reason;
	struct arrival in;

	if (!p || !find_arrival(&in, number))
		return drop(number, DROP_UNKNOWN_PORT);
	if (p->icmp_type != ICMP6_SOLICITATION)
		return drop(number, DROP_UNANSWERED);
	if (p->l4 != offset || p->end < known || bpf_skb_load_bytes(skb, 0, &nd, known))
		return drop(number, DROP_MALFORMED);
	reason = check_solicitation(&in, p, &nd);
	if (reason)
		return drop(number, reason);
	make_advertisement(&nd, p, &in);
	if (bpf_skb_change_tail(skb, sizeof(nd), 0) ||
	    bpf_skb_store_bytes(skb, 0, &nd, sizeof(nd), 0))
		return drop(number, DROP_KERNEL);
	return answer(skb, &in);
}

static __always_inline bool is_plain_echo(const struct packet *p)
{
	return is_echo_request(p) && !p->icmp_code && !p->is_fragment;
}

/* Swapped addresses leave both checksums as they are; only the ICMP type changes its own. */
static __always_inline int swap_addresses(struct __sk_buff *skb, const struct packet *p)
{
	const __u32 start = sizeof(struct ethhdr);

	if (p->family == FAMILY_V4) {
		__be32 swapped[2] = {p->destination.word[0], p->source.word[0]};

		return bpf_skb_store_bytes(skb, start + offsetof(struct iphdr, saddr), swapped,
					   sizeof(swapped), 0);
	}
	struct address swapped[2] = {p->destination, p->source};

	return bpf_skb_store_bytes(skb, start + offsetof(struct ipv6hdr, saddr), swapped,
				   sizeof(swapped), 0);
}

/* For an address of the router: it answers echo requests, past all security groups. */
static __always_inline int answer_gateway(struct __sk_buff *skb, const struct arrival *in,
					  const struct packet *p)
{
	bool v4 = p->family == FAMILY_V4;
	__u8 reply = v4 ? ICMP_ECHO_REPLY : ICMP6_ECHO_REPLY;
	__be16 before = bpf_htons(p->icmp_type << 8);
	__be16 after = bpf_htons(reply << 8);
	struct ethhdr eth;

	if (!is_plain_echo(p))
		return drop(in->number, DROP_GATEWAY);
	eth.h_proto = bpf_htons(v4 ? ETH_P_IP : ETH_P_IPV6);
	set_macs(&eth, in->port->mac);
	if (swap_addresses(skb, p) ||
	    bpf_l4_csum_replace(skb, p->l4 + offsetof(struct icmp_start, checksum), before, after,
				sizeof(after)) ||
	    bpf_skb_store_bytes(skb, p->l4, &reply, sizeof(reply), 0) ||
	    bpf_skb_store_bytes(skb, 0, &eth, sizeof(eth), 0))
		return drop(in->number, DROP_KERNEL);
	return answer(skb, in);
}

#endif
