/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * trunk.h - every struct and number that the programs of a trunk ENI and the agent both read
 *
 * The agent's half is src/terway/linux/trunk_contract.py; tests/bpf/test_trunk_contract.py compares
 * the two, field by field, against the BTF of the built objects. Change them together.
 */
#ifndef TERWAY_TRUNK_H
#define TERWAY_TRUNK_H

#include <linux/if_ether.h>
#include <linux/types.h>
#include <bpf/bpf_helpers.h>

#define MEMBERS_MAX 1024 /* member ENIs of a node: no instance type has more than some hundred */

/* Why a frame of a trunk was lost. Append only: readers know the numbers. */
enum trunk_loss {
	TRUNK_NONE = 0,
	TRUNK_UNKNOWN_VLAN, /* tagged for a member that no pod here has */
	TRUNK_OTHER_MAC,    /* tagged for a member, and not for its MAC */
	TRUNK_TAGS,         /* no 802.1Q tag, or more than one */
	TRUNK_KERNEL,       /* the kernel did not put the tag on, or take it off */
	TRUNK_SPOOFED,      /* a VLAN device's, from no address or MAC of its member */
	TRUNK_LOSSES,       /* how many there are */
};

/* An address of a member; IPv4 as ::ffff:a.b.c.d (RFC 4291, section 2.5.5.2). */
struct trunk_source {
	__be32 word[4];
};

/*
 * The member of a trunk that an address is of, and that a tag is for. MEMBER_DEVICE beside the
 * number: it has a VLAN device, which takes tags off and puts them on by itself.
 */
#define VLAN_ID_MASK  0x0fff
#define MEMBER_DEVICE 0x1000
struct trunk_member {
	__u16 vlan_id;
	__u8 mac[6];
};
_Static_assert(sizeof(struct trunk_member) == 8, "trunk_member has padding");

static __always_inline __u8 differs(const __u8 *a, const __u8 *b)
{
	__u8 found = 0;

#pragma unroll
	for (int i = 0; i < ETH_ALEN; i++)
		found |= a[i] ^ b[i];
	return found;
}

#endif
