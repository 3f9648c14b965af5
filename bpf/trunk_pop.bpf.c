// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * trunk_pop.bpf.c - takes the tag off what comes for a member ENI, or drops it
 *
 * Hook:   tc ingress (clsact, direct action) of a trunk ENI, before all others of ours.
 * Reads:  members.  Writes: losses.
 * Oracle: tests/lab/test_trunk_frames.py puts frames in, tagged and not.
 *
 *   the wire ─► tag? ─ no ─► the trunk's own, as it is
 *                └ yes: a member of that number, with that MAC ─► untagged, for this host ─► pods
 *                                                               └► its VLAN device, where it has
 * one anything else is lost, and counted
 *
 * However the tag was written, the kernel has put it beside the packet by now (skb_vlan_untag
 * before the hook). A frame for a member's MAC is one for somebody else to the stack: so its type
 * is changed, as well as the address.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "trunk.h"

/* By VLAN id; `mac` is the member's. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, __u32);
	__type(value, struct trunk_member);
	__uint(max_entries, MEMBERS_MAX);
	__uint(map_flags, BPF_F_NO_PREALLOC);
} members SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, enum trunk_loss);
	__type(value, __u64);
	__uint(max_entries, TRUNK_LOSSES);
} losses SEC(".maps");

static __always_inline int lose(enum trunk_loss why)
{
	__u64 *count = bpf_map_lookup_elem(&losses, &why);

	if (count)
		__sync_fetch_and_add(count, 1);
	return TC_ACT_SHOT;
}

SEC("tc")
int terway_trunk_pop(struct __sk_buff *skb)
{
	const struct trunk_member *member;
	__u8 mac[ETH_ALEN];
	__u32 vlan_id;

	/* Without a number a tag says only how urgent a frame is: it is the trunk's own. */
	if (!skb->vlan_present || !(skb->vlan_tci & VLAN_ID_MASK))
		return TC_ACT_UNSPEC;
	if (skb->vlan_proto != bpf_htons(ETH_P_8021Q) || skb->protocol == bpf_htons(ETH_P_8021Q) ||
	    skb->protocol == bpf_htons(ETH_P_8021AD))
		return lose(TRUNK_TAGS);
	vlan_id = skb->vlan_tci & VLAN_ID_MASK;
	member = bpf_map_lookup_elem(&members, &vlan_id);
	if (!member)
		return lose(TRUNK_UNKNOWN_VLAN);
	if (bpf_skb_load_bytes(skb, 0, mac, sizeof(mac)) || differs(mac, member->mac))
		return lose(TRUNK_OTHER_MAC);
	if (member->vlan_id & MEMBER_DEVICE)
		return TC_ACT_UNSPEC;
	if (bpf_skb_vlan_pop(skb) || bpf_skb_change_type(skb, PACKET_HOST))
		return lose(TRUNK_KERNEL);
	return TC_ACT_UNSPEC;
}

/* The kernel's spelling for the two licences of the headers above. */
char LICENSE[] SEC("license") = "Dual BSD/GPL";
