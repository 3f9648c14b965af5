/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * router.h - where a packet came in, whose addresses it names, and how it leaves
 */
#ifndef TERWAY_ROUTER_H
#define TERWAY_ROUTER_H

#include <linux/if_ether.h>
#include <linux/pkt_cls.h>
#include <stddef.h>

#include "maps.h"
#include "packet.h"

/* The MAC of the VPC's router on every vSwitch; the one the cloud's own routers show. */
static const __u8 ROUTER_MAC[ETH_ALEN] = {0xee, 0xff, 0xff, 0xff, 0xff, 0xff};

/* The port by which a packet came in. */
struct arrival {
	const struct port *port;
	__u32 number;
};

/* Fill in the port of that number; false when there is none. */
static __always_inline bool find_arrival(struct arrival *in, __u32 number)
{
	in->number = number;
	in->port = bpf_map_lookup_elem(&ports, &number);
	return in->port;
}

static __always_inline int drop(__u32 number, enum drop_reason reason)
{
	count_drop(number, reason);
	return TC_ACT_SHOT;
}

static __always_inline __u32 link_of(__u32 number)
{
	return number & PORT_LINK_MASK;
}

static __always_inline __u32 vlan_of(__u32 number)
{
	return number >> PORT_LINK_BITS;
}

/*
 * Tag a frame for a member; one for a port with a link of its own stays as it is. The tag is beside
 * the frame, where hardware and veth have it, and goes into the receiver's namespace with it.
 */
static __always_inline long put_tag(struct __sk_buff *skb, __u32 number)
{
	__u32 vlan_id = vlan_of(number);

	return vlan_id ? bpf_skb_vlan_push(skb, bpf_htons(ETH_P_8021Q), vlan_id) : 0;
}

static __always_inline bool is_same_mac(const __u8 *one, const __u8 *other)
{
	__u8 differs = 0;

#pragma unroll
	for (int i = 0; i < ETH_ALEN; i++)
		differs |= one[i] ^ other[i];
	return !differs;
}

/* From the router to the ENI. */
static __always_inline void set_macs(struct ethhdr *eth, const __u8 *destination)
{
	__builtin_memcpy(eth->h_dest, destination, ETH_ALEN);
	__builtin_memcpy(eth->h_source, ROUTER_MAC, ETH_ALEN);
}

static __always_inline const struct owner *find_owner(__u32 vpc, enum family family,
						      const struct address *address)
{
	struct address_key key = {.vpc = vpc, .family = family, .address = *address};
	const struct owner *found = bpf_map_lookup_elem(&addresses, &key);

	if (found)
		return found;
	key.family |= PREFIX_OF;
	if (family == FAMILY_V4) {
		key.address.word[0] &= bpf_htonl(PREFIX_V4_MASK);
	} else {
		key.address.word[2] &= bpf_htonl(PREFIX_V6_WORD2);
		key.address.word[3] = 0;
	}
	return bpf_map_lookup_elem(&addresses, &key);
}

#endif
