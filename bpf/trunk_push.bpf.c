// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * trunk_push.bpf.c - marks what a pod sends by a member ENI: the member's tag, and its MAC
 *
 * Hook:   tc egress (clsact, direct action) of a trunk ENI, after all others of ours.
 * Reads:  sources.  Writes: losses.
 * Oracle: tests/lab/test_trunk_frames.py looks at the frames that come out.
 *
 *   pod ─► rule 2048, or redirect ─► trunk ENI ─ source address known? ─► tag, MAC ─► the wire
 *                                                 └ no: the trunk's own, as it is
 *
 * The tag stays beside the packet (skb->vlan_tci): segmentation and checksums are the device's as
 * without, the payload may be as long as without, and a device that writes no tags has the kernel
 * write them. The guard of the pod's link has seen to it that the source address is the pod's.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "trunk.h"

#define IPV4_SOURCE_AT (ETH_HLEN + 12)
#define IPV6_SOURCE_AT (ETH_HLEN + 8)
#define MAPPED_IPV4    bpf_htonl(0x0000ffff)

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, struct trunk_source);
	__type(value, struct trunk_member);
	__uint(max_entries, 2 * MEMBERS_MAX); /* two families */
	__uint(map_flags, BPF_F_NO_PREALLOC);
} sources SEC(".maps");

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

static __always_inline long read_source(struct __sk_buff *skb, struct trunk_source *source)
{
	if (skb->protocol == bpf_htons(ETH_P_IPV6))
		return bpf_skb_load_bytes(skb, IPV6_SOURCE_AT, source, sizeof(*source));
	if (skb->protocol != bpf_htons(ETH_P_IP))
		return -1;
	source->word[2] = MAPPED_IPV4;
	return bpf_skb_load_bytes(skb, IPV4_SOURCE_AT, &source->word[3], sizeof(source->word[3]));
}

SEC("tc")
int terway_trunk_push(struct __sk_buff *skb)
{
	struct trunk_source source = {};
	const struct trunk_member *member;
	struct trunk_member found;

	if (skb->vlan_present || read_source(skb, &source))
		return TC_ACT_UNSPEC;
	member = bpf_map_lookup_elem(&sources, &source);
	if (!member)
		return TC_ACT_UNSPEC;
	found = *member;
	if (bpf_skb_store_bytes(skb, ETH_ALEN, found.mac, sizeof(found.mac), 0) ||
	    bpf_skb_vlan_push(skb, bpf_htons(ETH_P_8021Q), found.vlan_id))
		return lose(TRUNK_KERNEL);
	return TC_ACT_UNSPEC;
}

/* The kernel's spelling for the two licences of the headers above. */
char LICENSE[] SEC("license") = "Dual BSD/GPL";
