/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * guard.h - every struct and number that the guard's program and the agent both read
 *
 * The agent's half is src/terway/linux/guard_contract.py; tests/bpf/test_guard_contract.py compares
 * the two, field by field, against the BTF of the built object. Change them together.
 */
#ifndef TERWAY_GUARD_H
#define TERWAY_GUARD_H

#include <linux/types.h>

/* Why a pod's packet was not let through. Append only: readers know the numbers. */
enum guard_reason {
	GUARD_NONE = 0,
	GUARD_UNKNOWN_LINK,   /* the link is guarded, and nobody said for whom */
	GUARD_MALFORMED,      /* headers are cut off or contradict each other */
	GUARD_VLAN,           /* a VLAN tag: a pod's link is no trunk */
	GUARD_ETHERTYPE,      /* neither IPv4, IPv6 nor ARP */
	GUARD_SOURCE_MAC,     /* not the MAC of the pod's link */
	GUARD_SOURCE_ADDRESS, /* not an address of the pod */
	GUARD_LINK_LOCAL,     /* a link-local address that is not the pod's, or leaves the link */
	GUARD_ARP,            /* ARP that claims another address or MAC than the pod's */
	GUARD_ND,             /* neighbour discovery that does, or that only a router may say */
	GUARD_REASONS,        /* how many there are */
};

struct guard_address {
	__be32 word[4];
};

/* Whom a link belongs to. An address that is all zero is none. */
struct guard_owner {
	struct guard_address v6;
	struct guard_address link_local;
	__be32 v4;
	__u8 mac[6];
	__u8 zero[2];
};
_Static_assert(sizeof(struct guard_owner) == 44, "guard_owner has padding");

struct guard_drops_key {
	__u32 ifindex;
	enum guard_reason reason;
};
_Static_assert(sizeof(struct guard_drops_key) == 8, "guard_drops_key has padding");

struct guard_drops_value {
	__u64 packets;
	__u64 told_ns; /* when the agent was last told, CLOCK_MONOTONIC */
};
_Static_assert(sizeof(struct guard_drops_value) == 16, "guard_drops_value has padding");

#endif
