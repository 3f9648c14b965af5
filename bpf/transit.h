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
	__u32 out_ifindex;
	__u32 sender; /* the port of the ENI that has the source address, or 0 */
};

/* The wire of a port may be bad in both directions. */
static __always_inline bool is_lost(const struct port *port)
{
	return port && port->loss && bpf_get_prandom_u32() <= port->loss;
}

/* Into the receiver's namespace. Nothing else of the packet changes. */
static __always_inline int deliver(struct __sk_buff *skb, const struct passage *way)
{
	__u8 macs[2 * ETH_ALEN];

	if (is_lost(way->in.port) || is_lost(way->out))
		return drop(way->in.ifindex, DROP_FAULT);
	__builtin_memcpy(macs, way->out->mac, ETH_ALEN);
	__builtin_memcpy(macs + ETH_ALEN, ROUTER_MAC, ETH_ALEN);
	if (bpf_skb_store_bytes(skb, 0, macs, sizeof(macs), 0))
		return drop(way->in.ifindex, DROP_KERNEL);
	count_egress(way->in.ifindex, skb->len);
	count_ingress(way->out_ifindex, skb->len);
	return bpf_redirect_peer(way->out_ifindex, 0);
}

static __always_inline __u32 path_mtu(const struct passage *way)
{
	__u32 in = way->in.port->mtu;

	return in < way->out->mtu ? in : way->out->mtu;
}

#endif
