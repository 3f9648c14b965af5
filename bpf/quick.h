/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * quick.h - may this packet go as those of its connection went before it?
 *
 * Reads: flows, locals, endpoints, policy_generation.
 *
 *   plain TCP or UDP ─► its connection: open, both ways seen, not translated, approved by the
 *   policies as they are now, by the very endpoints that are here ─► aged, addressed, redirected
 *
 * Most packets are like this, and all the rest of the program would say nothing new about them.
 * Whatever is not plain, or changes what is remembered, is NOT_QUICK, and taken as if nobody had
 * asked. Nothing is written before that is sure.
 */
#ifndef TERWAY_QUICK_H
#define TERWAY_QUICK_H

#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/ipv6.h>

#include "deliver.h"
#include "passage.h"
#include "policy.h"
#include "tables.h"
#include "track.h"

#define NOT_QUICK    (-2) /* no verdict of tc has this number */
#define TCP_FLAGS_AT 13

/* What must be so of a connection's flags, and what may not. */
#define QUICK_MASK                                                                                 \
	(FLOW_ANSWERED | FLOW_OPENER_FIN | FLOW_OTHER_FIN | FLOW_RST | FLOW_AT_CLIENT |            \
	 FLOW_AT_NODE | FLOW_SOURCE | FLOW_BY_UPLINK | FLOW_HAIRPIN)

struct plain {
	struct flow_tuple sent;
	__u32 header; /* bytes of IP and transport */
	__u32 total;  /* bytes of the packet, by its own account */
};

/* Read ports and length of a transport header that changes nothing of its connection. */
static __always_inline bool read_plain_transport(const struct __sk_buff *skb, const __u8 *l4,
						 __u8 protocol, struct plain *plain)
{
	const void *end = (const void *)(long)skb->data_end;
	__u32 least = plain->header + (protocol == IPPROTO_UDP ? 8 : 20);

	if (protocol == IPPROTO_UDP) {
		if (l4 + 8 > (const __u8 *)end)
			return false;
		plain->header += 8;
	} else {
		if (protocol != IPPROTO_TCP || l4 + 20 > (const __u8 *)end ||
		    l4[TCP_FLAGS_AT] & (TCP_FIN | TCP_SYN | TCP_RST))
			return false;
		plain->header += (l4[TCP_FLAGS_AT - 1] >> 4) * 4;
	}
	plain->sent.source_port = *(const __be16 *)l4;
	plain->sent.destination_port = *(const __be16 *)(l4 + 2);
	plain->sent.protocol = protocol;
	return plain->total >= least && plain->total + ETH_HLEN <= skb->len;
}

static __always_inline bool read_plain_ipv4(const struct __sk_buff *skb, struct plain *plain)
{
	const void *end = (const void *)(long)skb->data_end;
	const struct iphdr *ip = (const void *)(long)skb->data + ETH_HLEN;
	const __u8 *l4 = (const __u8 *)(ip + 1);

	if ((const void *)l4 > end || ip->version != 4 || ip->ihl != 5 || ip->ttl <= 1 ||
	    ip->frag_off & bpf_htons(IPV4_OFFSET_MASK | IPV4_MORE))
		return false;
	plain->sent.source.word[0] = ip->saddr;
	plain->sent.destination.word[0] = ip->daddr;
	plain->sent.family = FAMILY_V4;
	plain->total = bpf_ntohs(ip->tot_len);
	plain->header = sizeof(*ip);
	return read_plain_transport(skb, l4, ip->protocol, plain);
}

static __always_inline bool read_plain_ipv6(const struct __sk_buff *skb, struct plain *plain)
{
	const void *end = (const void *)(long)skb->data_end;
	const struct ipv6hdr *ip = (const void *)(long)skb->data + ETH_HLEN;
	const __u8 *l4 = (const __u8 *)(ip + 1);

	if ((const void *)l4 > end || ip->version != 6 || ip->hop_limit <= 1)
		return false;
	__builtin_memcpy(&plain->sent.source, &ip->saddr, sizeof(struct address));
	__builtin_memcpy(&plain->sent.destination, &ip->daddr, sizeof(struct address));
	plain->sent.family = FAMILY_V6;
	plain->total = sizeof(*ip) + bpf_ntohs(ip->payload_len);
	plain->header = sizeof(*ip);
	return read_plain_transport(skb, l4, ip->nexthdr, plain);
}

/* Return the packet's connection if nothing about it can be new. */
static __always_inline const struct flow_state *settled_flow(const struct flow_tuple *sent,
							     bool *is_forth)
{
	const __u32 only = 0;
	const __u32 *generation = bpf_map_lookup_elem(&policy_generation, &only);
	struct flow_tuple key = {};
	bool is_turned = make_flow_key_of(&key, sent);
	const struct flow_state *flow = bpf_map_lookup_elem(&flows, &key);

	if (!flow || !generation || (flow->flags & QUICK_MASK) != FLOW_ANSWERED ||
	    !flow->approved || flow->approved != *generation ||
	    flow->seen_ns + TRACK_NS_PER_S < clock_ns())
		return NULL;
	*is_forth = is_turned == !!(flow->flags & FLOW_SECOND);
	return flow;
}

static __always_inline bool fits_quickly(const struct __sk_buff *skb, const struct plain *plain,
					 __u16 mtu)
{
	__u32 largest = skb->gso_size ? plain->header + skb->gso_size : skb->len - ETH_HLEN;

	return largest <= mtu;
}

/* Is the endpoint with this number the end that sends, or (`is_in`) gets the packet? */
static __always_inline bool is_end(const struct flow_state *flow, bool is_forth, bool is_in,
				   __u32 number)
{
	return (is_forth != is_in ? flow->opener : flow->other) == number;
}

static __always_inline bool is_quick_receiver(const struct endpoint *to)
{
	return to->kind == ENDPOINT_VETH && !(to->flags & ENDPOINT_QUEUED);
}

static __always_inline int enter_quickly(struct __sk_buff *skb, const struct plain *plain,
					 const struct endpoint *to)
{
	if (!is_quick_receiver(to) || !fits_quickly(skb, plain, to->mtu))
		return NOT_QUICK;
	if (age(skb, plain->sent.family) || address_frame(skb, to->pod_mac, to->link_mac))
		return TC_ACT_SHOT;
	return bpf_redirect_peer(to->link, 0);
}

static __always_inline int leave_quickly(struct __sk_buff *skb, const struct plain *plain,
					 const struct endpoint *from)
{
	if (!from->eni || !fits_quickly(skb, plain, from->mtu) ||
	    is_for_host_stack(&plain->sent.destination, plain->sent.family))
		return NOT_QUICK;
	if (age(skb, plain->sent.family))
		return TC_ACT_SHOT;
	return send_by(from->eni, plain->sent.family, from->gateway4, &from->gateway6);
}

/*
 * Return the verdict for a packet of an endpoint (`number`; 0: from elsewhere), or NOT_QUICK.
 *
 * Its stack is its own: in older kernels each frame counts as a multiple of 32 bytes, and what the
 * slow way needs below the caller's would be more than 512.
 */
SUBPROGRAM int go_quickly(struct __sk_buff *skb, __u32 family, __u32 number)
{
	const struct endpoint *from, *to;
	const struct flow_state *flow;
	struct plain plain = {};
	bool is_forth;
	__u32 receiver;

	if (!(family == FAMILY_V4 ? read_plain_ipv4(skb, &plain) : read_plain_ipv6(skb, &plain)))
		return NOT_QUICK;
	flow = settled_flow(&plain.sent, &is_forth);
	if (!flow || !is_end(flow, is_forth, false, number))
		return NOT_QUICK;
	receiver = local_of(&plain.sent.destination, family);
	if (!is_end(flow, is_forth, true, receiver))
		return NOT_QUICK;
	if (receiver) {
		to = endpoint_of(receiver);
		return to ? enter_quickly(skb, &plain, to) : NOT_QUICK;
	}
	from = endpoint_of(number);
	return from ? leave_quickly(skb, &plain, from) : NOT_QUICK;
}

#endif
