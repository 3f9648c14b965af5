/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * transit.h - a packet on its way through the fabric, and how it leaves it
 */
#ifndef TERWAY_TRANSIT_H
#define TERWAY_TRANSIT_H

#include "maps.h"
#include "packet.h"
#include "router.h"

/* A packet on its way: where from, and, once it is known, where to. */
struct passage {
	struct arrival in;
	const struct port *out;
	__u32 out_number;
	__u32 sender; /* the port of the ENI that has the source address, or 0 */
};

/* The wire of a port may be bad in both directions. */
static __always_inline bool is_lost(const struct port *port)
{
	return port && port->loss && bpf_get_prandom_u32() <= port->loss;
}

/*
 * Into the receiver's namespace. Nothing else of the packet changes but a member's tag.
 *
 * A member's goes the long way, through the veth: to Linux a frame for another MAC than the link's
 * is another host's, and its instance, whose program or VLAN device knows better, shall find it
 * so. bpf_redirect_peer scrubs the frame in newer kernels, which makes it this host's.
 */
static __always_inline int deliver(struct __sk_buff *skb, const struct passage *way)
{
	__u8 macs[2 * ETH_ALEN];

	if (is_lost(way->in.port) || is_lost(way->out))
		return drop(way->in.number, DROP_FAULT);
	__builtin_memcpy(macs, way->out->mac, ETH_ALEN);
	__builtin_memcpy(macs + ETH_ALEN, ROUTER_MAC, ETH_ALEN);
	if (bpf_skb_store_bytes(skb, 0, macs, sizeof(macs), 0) || put_tag(skb, way->out_number))
		return drop(way->in.number, DROP_KERNEL);
	count_egress(way->in.number, skb->len);
	count_ingress(way->out_number, skb->len);
	if (vlan_of(way->out_number))
		return bpf_redirect(link_of(way->out_number), 0);
	return bpf_redirect_peer(way->out_number, 0);
}

static __always_inline __u32 path_mtu(const struct passage *way)
{
	__u32 in = way->in.port->mtu;

	return in < way->out->mtu ? in : way->out->mtu;
}

#endif
